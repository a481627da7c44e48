"""The parts of the loader that need no page, run as they are under Node."""

from __future__ import annotations

import gzip

from shared_state import DeltaId, delay_ms
from testkit.built_widget import DIST, manifest, run_node

LOADER_MAX_BYTES = 10 * 1024  # as sent, by Brotli: the bound that docs/architecture.md names for tier 1


def test_the_loader_is_small() -> None:
    entry = manifest()["files"]["live-score.js"]
    data = (DIST / entry["path"]).read_bytes()
    assert entry["br"] <= LOADER_MAX_BYTES
    assert len(gzip.compress(data, 9)) <= 11 * 1024
    # Nothing else is needed before a match is live at tier 1; what a list needs beside comes with the first
    # list, and what is brought in later are the files of later.js.
    assert data.count(b"import(") == 1
    assert manifest()["files"]["live-list.js"]["path"].encode() in data
    assert b"pyodide" not in data
    assert b"ASSETS" not in data


def test_both_schedules_wait_alike() -> None:
    cases = [
        (attempt, unit, hint)
        for attempt in (0, 1, 2, 5, 6, 31, 400)
        for unit in (0.0, 0.25, 0.5, 0.999999)
        for hint in (None, -5, 0, 1_500, 10**9)
    ]
    script = 'import { delayMs } from "./reconnect.js"; print(input.map((asked) => delayMs(...asked)));'
    assert run_node(script, cases) == [delay_ms(attempt, unit, hint) for attempt, unit, hint in cases]


def test_both_orders_of_ids_agree() -> None:
    ids = ["1-0", "1-2", "1-10", "2-1", "1531666800000-7", "1531666800001-1"]
    script = 'import { isNewer } from "./ids.js"; print(input.map((a) => input.map((b) => isNewer(a, b))));'
    expected = [[DeltaId.parse(a) > DeltaId.parse(b) for b in ids] for a in ids]
    assert run_node(script, ids) == expected
    script = 'import { isNewer } from "./ids.js"; print(input.map((pair) => isNewer(...pair)));'
    assert run_node(script, [["1-1", ""], ["", "1-1"], ["", ""]]) == [True, False, False]


def test_a_stream_is_read_in_pieces_of_any_size() -> None:
    text = (
        'retry: 1500\n\n: a comment\n\nid: 5-1\nevent: score\ndata: {"p":"Mandžukić"}\n\n'
        "event: heartbeat\r\ndata: a\r\ndata: b\r\n\r\nevent: empty\n\ndata:x\n\nid: 5-2\ndata: unfinished"
    )
    script = """
        import { Parser } from "./stream.js";
        print(input.sizes.map((size) => {
          const parser = new Parser(), frames = [];
          for (let at = 0; at < input.text.length; at += size) {
            parser.feed(input.text.slice(at, at + size), (frame) => frames.push(frame));
          }
          return { frames, retryMs: parser.retryMs };
        }));
    """
    sizes = [1, 2, 3, 7, 20, 10_000]
    expected = {
        "frames": [
            {"event": "score", "id": "5-1", "data": '{"p":"Mandžukić"}'},
            {"event": "heartbeat", "id": "", "data": "a\nb"},
            {"event": "message", "id": "", "data": "x"},
        ],
        "retryMs": 1500,
    }
    assert run_node(script, {"text": text, "sizes": sizes}) == [expected] * len(sizes)


def test_the_hint_of_a_busy_server_is_kept() -> None:
    """A 503's ``Retry-After`` and a stream's ``retry:`` are both a floor under the next attempt."""
    script = """
        import http from "node:http";
        import { Stream } from "./stream.js";
        const asked = [];
        const server = http.createServer((request, response) => {
          asked.push([Date.now(), request.url]);
          if (asked.length === 1) {
            response.writeHead(503, { "Retry-After": "1" }).end("busy");
          } else if (asked.length === 2) {
            response.writeHead(200, { "Content-Type": "text/event-stream" });
            response.end("retry: 700\\n\\nid: 5-3\\nevent: score\\ndata: {}\\n\\n");
          } else {
            response.writeHead(200, { "Content-Type": "text/event-stream" });
            response.write("id: 5-4\\nevent: score\\ndata: {}\\n\\n");
          }
        });
        server.listen(0, "127.0.0.1", () => {
          Math.random = () => 0;
          let last = "5-2";
          const seen = [];
          const url = () => `http://127.0.0.1:${server.address().port}/stream/m?last_event_id=${last}`;
          const stream = new Stream(url, (frame) => {
            last = frame.id;
            if (last !== "5-4") return;
            stream.close();
            const waits = asked.slice(1).map(([at], i) => at - asked[i][0]);
            print({ seen, urls: asked.map(([, path]) => path), waits });
            server.closeAllConnections();
            server.close();
          }, () => seen.push(stream.connection), { retryMs: 0 });
          stream.open();
        });
    """
    result = run_node(script)
    assert result["urls"] == [f"/stream/m?last_event_id=5-{n}" for n in (2, 2, 3)]
    assert result["waits"][0] >= 990  # timers may fire a little early
    assert result["waits"][1] >= 690
    assert result["seen"] == [
        *("connecting", "waiting", "connecting", "open", "waiting", "connecting", "open", "closed")
    ]
