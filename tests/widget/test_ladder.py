"""The ways by which frames come, run as they are under Node before a real HTTP server: what is asked when."""

from __future__ import annotations

from itertools import pairwise

from testkit.built_widget import run_node

# A server whose answers the test gives, and every request's time and path.
LADDER = """
    import http from "node:http";
    import { ServerClock } from "./clock.js";
    import { Ladder } from "./ladder.js";
    const began = performance.now();
    const asked = [];
    const answers = { stream: null, state: null, deltas: null };
    const json = (response, status, value, headers = {}) =>
      response
        .writeHead(status, { "Content-Type": "application/json", ...headers })
        .end(JSON.stringify(value));
    const frames = (response, text) => {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write(text);
    };
    const refuse = (request, response) => json(response, 502, {});
    const server = http.createServer((request, response) => {
      asked.push([performance.now() - began, request.url]);
      const [, kind] = request.url.match(/(stream|state$|deltas)/);
      (answers[kind] ?? refuse)(request, response);
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = `http://127.0.0.1:${server.address().port}/`;
    const wanted = new Map();
    const heard = [];
    const onFrame = (frame) => {
      heard.push(frame);
      if (frame.event === "score" || frame.snapshot) wanted.set(frame.match, frame.id);
    };
    const clock = new ServerClock();
    const ladder = new Ladder(base, wanted, { list: null, listId: "" }, clock, onFrame, () => {});
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const finish = (value) => {
      ladder.close();
      server.closeAllConnections();
      server.close();
      print(value);
    };
    const state = (request, response, id = "1-1") => {
      const [epoch, seq] = id.split("-").map(Number);
      const match_id = request.url.split("/")[3];
      json(response, 200, { match_id, epoch, seq, hash: "h" }, { "Touchline-As-Of": String(Date.now()) });
    };
"""


def test_matches_that_do_not_fit_into_one_address_have_streams_of_their_own() -> None:
    script = """
        const name = (n) => `${"long-".repeat(11)}${n}`.padEnd(64, "x");
        for (let n = 0; n < 200; n++) wanted.set(name(n), `1750000000000-${n}`);
        answers.stream = (request, response) => {
          const matches = new URL(request.url, base).searchParams.getAll("m").map((of) => of.split("@"));
          const heads = Object.fromEntries(matches.map(([match, id]) => [match, [id, "h"]]));
          const data = JSON.stringify({ server_ms: Date.now(), matches: heads });
          frames(response, `event: heartbeat\\ndata: ${data}\\n\\n`);
        };
        ladder.update();
        await pause(1_500);
        const live = new Set(heard.map(({ match }) => match)).size;
        const { connection } = ladder;
        const first = asked.splice(0);
        wanted.delete(name(199));
        for (let n = 0; n < 150; n++) wanted.delete(name(n));
        ladder.update();
        await pause(1_500);
        finish({ first, later: asked, live, connection, after: ladder.connection });
    """
    result = run_node(LADDER + script)
    first, later = ([path for _, path in result[when]] for when in ("first", "later"))
    assert len(first) == 3
    assert all(len(path) < 6_100 for path in first)
    named = [part.split("@")[0] for path in first for part in path.partition("?")[2].split("&")]
    assert len(named) == len(set(named)) == 200
    assert result["live"] == 200
    assert result["connection"] == result["after"] == "open"
    assert [path.count("m=") for path in later] == [49]


def test_matches_beyond_all_streams_are_polled() -> None:
    script = """
        for (let n = 0; n < 805; n++) wanted.set(`m${n}`, "1-1");
        answers.stream = (request, response) =>
          frames(response, 'event: heartbeat\\ndata: {"server_ms":1,"matches":{}}\\n\\n');
        answers.state = (request, response) => state(request, response, "1-2");
        ladder.update();
        await pause(2_000);
        finish(asked.map(([, path]) => path));
    """
    paths = run_node(LADDER + script)
    assert sorted(path.count("m=") for path in paths if path.startswith("/stream")) == [200] * 4
    assert {path for path in paths if path.startswith("/api")} == {
        f"/api/match/m{n}/state" for n in range(800, 805)
    }


def test_a_head_is_no_contact() -> None:
    """A scanner passes the head on and keeps the body: that is no stream, and polls begin."""
    script = """
        wanted.set("m", "1-1");
        const seen = new Set();
        ladder.onConnection = () => seen.add(ladder.connection);
        answers.stream = (request, response) => {
          response.writeHead(200, { "Content-Type": "text/event-stream" });
          response.flushHeaders();
        };
        answers.state = state;
        ladder.update();
        for (let n = 0; n < 150 && !seen.has("polling"); n++) await pause(100);
        const streams = asked.map(([, path]) => path).filter((path) => path.startsWith("/stream"));
        finish({ seen: [...seen], streams });
    """
    result = run_node(LADDER + script)
    assert "open" not in result["seen"]
    assert "polling" in result["seen"]
    assert "flush=1" in result["streams"][1]


def test_a_stream_that_falls_silent_is_left_for_another() -> None:
    """The wall clock counts: timers stood still while the device slept."""
    script = """
        wanted.set("m", "1-1");
        answers.stream = (request, response) => {
          const data = JSON.stringify({ epoch: 1, seq: 1, hash: "h", server_ms: Date.now() });
          frames(response, `event: heartbeat\\ndata: ${data}\\n\\n`);
        };
        ladder.update();
        await pause(500);
        const date = Date.now.bind(Date);
        Date.now = () => date() + 600_000;
        ladder.wake();
        const after = ladder.connection;
        await pause(2_000);
        finish([after, ladder.connection, asked.length]);
    """
    assert run_node(LADDER + script) == ["connecting", "open", 2]


def test_a_reader_who_sets_the_clock_back_waits_no_longer_for_a_stream() -> None:
    """Network 230 of the property: ten minutes back, and the next attempt was ten minutes ahead."""
    script = """
        wanted.set("m", "1-1");
        Math.random = () => 0.999;
        ladder.update();
        await pause(1_500);
        const before = asked.filter(([, path]) => path.startsWith("/stream")).length;
        const date = Date.now.bind(Date);
        Date.now = () => date() - 600_000;
        ladder.answered();
        await pause(700);
        finish([before, asked.filter(([, path]) => path.startsWith("/stream")).length]);
    """
    before, after = run_node(LADDER + script)
    assert after > before


def test_nobody_asks_again_for_a_match_that_is_over() -> None:
    """The stream answers 204, and the long-poll says why."""
    script = """
        wanted.set("m", "1-1");
        ladder.onFrame = (frame) => {
          onFrame(frame);
          if (frame.event === "end") setTimeout(() => { wanted.delete("m"); ladder.update(); });
        };
        answers.stream = (request, response) => response.writeHead(204).end();
        answers.state = state;
        answers.deltas = (request, response) => {
          const next = { id: "1-1", slice: Number(request.url.split("/").at(-1)) };
          const answer = { match_id: "m", after: "1-1", deltas: [], next, as_of: Date.now(), ended: true };
          json(response, 200, answer);
        };
        ladder.update();
        for (let n = 0; n < 100 && !heard.some(({ event }) => event === "end"); n++) await pause(100);
        const before = asked.length;
        await pause(6_000);
        finish([heard.map(({ event }) => event), before, asked.length]);
    """
    events, before, after = run_node(LADDER + script)
    assert events == ["heartbeat", "heartbeat", "end"]
    assert before == after


def test_one_address_is_not_asked_for_faster_than_half_a_slice() -> None:
    """A long-poll that fails, and a state that leads to the same one again: a loop, whoever makes it."""
    script = """
        wanted.set("m", "1-1");
        answers.state = state;
        ladder.update();
        await pause(9_000);
        finish(asked);
    """
    asked = run_node(LADDER + script)
    paths = {path for _, path in asked if "/deltas/" in path}
    assert paths
    for path in paths:
        times = [at_ms for at_ms, of in asked if of == path]
        assert all(later - earlier >= 4_900 for earlier, later in pairwise(times))


def test_a_flood_of_answers_ends_the_long_polls() -> None:
    """A cache that makes one delta after the other, without end."""
    script = """
        wanted.set("m", "1-1");
        answers.state = state;
        answers.deltas = (request, response) => {
          const [, after, slice] = request.url.match(/deltas\\/([^/]+)\\/(.+)$/);
          const id = `1-${Number(after.split("-")[1]) + 1}`;
          const next = { id, slice: Number(slice) };
          json(response, 200, { match_id: "m", after, deltas: [[id, {}]], next, as_of: Date.now() });
        };
        ladder.update();
        await pause(6_000);
        finish(asked.filter(([, path]) => path.includes("/deltas/")).length);
    """
    assert 5 < run_node(LADDER + script) < 12


def test_a_poll_waits_as_long_as_the_server_asks() -> None:
    script = """
        wanted.set("m", "1-1");
        answers.state = (request, response) => json(response, 503, {}, { "Retry-After": "3" });
        ladder.update();
        await pause(8_000);
        finish(asked.filter(([, path]) => path.includes("/state")).map(([at]) => at));
    """
    times = run_node(LADDER + script)
    assert len(times) >= 2
    assert all(later - earlier >= 2_990 for earlier, later in pairwise(times))


def test_a_server_without_streams_is_not_asked_again_at_once() -> None:
    """501 advises the next step of the ladder: polls, and a look now and then whether that has changed."""
    script = """
        wanted.set("m", "1-1");
        answers.stream = (request, response) => json(response, 501, {});
        answers.state = state;
        answers.deltas = (request, response) => json(response, 501, {});
        ladder.update();
        await pause(6_000);
        finish({ asked: asked.map(([, path]) => path), connection: ladder.connection });
    """
    result = run_node(LADDER + script)
    assert sum(path.startswith("/stream") for path in result["asked"]) == 1
    assert sum("/deltas/" in path for path in result["asked"]) == 1
    assert sum("/state" in path for path in result["asked"]) >= 2
    assert result["connection"] == "polling"


def test_what_a_poll_says_of_another_match_or_an_earlier_id_is_not_believed() -> None:
    script = """
        wanted.set("m", "2-5");
        const ids = input;
        const states = () => asked.filter(([, path]) => path.includes("/state")).length;
        answers.state = (request, response) => {
          const id = ids[Math.min(states(), ids.length) - 1];
          const other = { match_id: "n", epoch: 2, seq: 9, hash: "h" };
          if (id === "other") json(response, 200, other, { "Touchline-As-Of": "1" });
          else state(request, response, id);
        };
        ladder.update();
        await pause(1_500);
        finish({ heard: heard.map(({ id }) => id), asked: states() });
    """
    for ids in (["2-4", "2-4"], ["1-9", "1-9"], ["other"]):
        assert run_node(LADDER + script, ids)["heard"] == []
    # A later epoch is believed past the caches alone.
    assert run_node(LADDER + script, ["3-1", "3-1"])["heard"][:1] == ["3-1"]
    assert run_node(LADDER + script, ["3-1", "2-5"])["heard"][:1] == ["2-5"]
