"""Long-polls through caches: what the origin is asked, how late a delta comes, what a cache spends.

    python -m bench.cdn [--pollers 1000,10000] [--ways straight,nginx,lua,varnish,sse]

For each way and number of clients a ``touchline serve`` is started on its own (SQLite log, embedded bus, one
worker), in front of it the cache of ``deploy/`` with one worker, and the clients of ``poller.c`` in processes of
at most 5,000. Four deltas come two seconds apart, then nothing for 21 s, which is two turns of a slice of 10 s,
then a burst of five. How late a delta comes is from when the log took it, in whole milliseconds by the clock of
the machine; so the row "straight at the origin" has fan-out and the origin's own sending in it, and the rows
below it what a cache adds. ``sse`` is a stream through the same stock nginx. Origin requests are the origin's own
count, of polls and refusals; addresses are those that the clients asked for.

A run of all ways writes ``bench/results/cdn.json``, ``.md`` and ``.svg``. Origin, cache and clients share the
machine, so it has to be idle otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape

from bench.results import RESULTS, keep
from bench.stream import meter
from shared_state.jsontext import JsonObject
from testkit.services.caches import start_cache
from testkit.services.origin import OriginServer

HERE = Path(__file__).parent
POLLER = HERE.parents[1] / ".cache" / "bench" / "bin" / "cdn-poller"
MATCH = "cdn"
SLICE_MS = 10_000
PER_PROCESS = 5_000
RAMP_PER_S = 2_500
WAYS = {
    "straight": "straight at the origin",
    "nginx": "nginx as it comes",
    "lua": "nginx with Lua",
    "varnish": "Varnish",
    "sse": "SSE through nginx",
}
# Seconds from the first delta. A stop between two slices is in the quiet part, whatever the second it began in.
SINGLES_S = (0.0, 2.0, 4.0, 6.0)
BURST_S = 27.0
END_S = 30.0
BURST = 5


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


def event(number: int) -> JsonObject:
    """A booking: it changes the match and so has a delta."""
    return {
        "match_id": MATCH,
        "event_id": f"b{number}",
        "rev": 1,
        "op": "ADD",
        "type": "YELLOW_CARD",
        "period": "H1",
        "minute": 10,
        "team": "home",
        "player": f"Player {number}",
    }


def origin_counts(server: OriginServer) -> tuple[int, int]:
    """Polls answered and requests refused so far, and polls held now, by the origin's metrics."""
    text = server.get("/metrics")[1].decode()
    found = re.findall(r"^touchline_stream_(?:polls|refused)_total\{[^}]*\} ([0-9.e+]+)$", text, re.M)
    held = re.search(r"^touchline_stream_polls_held ([0-9.e+]+)$", text, re.M)
    return round(sum(map(float, found))), round(float(held[1])) if held else 0


def measure(way: str, clients: int) -> JsonObject:
    """One way with so many clients."""
    with tempfile.TemporaryDirectory() as directory:
        server = OriginServer(Path(directory))
        cache = None
        try:
            server.start()
            teams = {"home": {"name": "Home", "code": "HOM"}, "away": {"name": "Away", "code": "AWY"}}
            info = {"match_id": MATCH, "event_id": "info", "rev": 1, "op": "ADD"}
            assert server.post({**info, "type": "MATCH_INFO", "detail": teams}) == 200
            server.wait_for_seq(MATCH, 1)
            id_ = json.loads(server.get(f"/api/match/{MATCH}/state")[1])
            head = f"{id_['epoch']}-{id_['seq']}"
            if way != "straight":
                cache = start_cache("nginx" if way == "sse" else way, server.port)
            return _measure(way, clients, server, cache.port if cache else server.port, head, cache)
        finally:
            if cache is not None:
                cache.__exit__()
            server.kill()


def _measure(way: str, clients: int, server: OriginServer, port: int, head: str, cache: object) -> JsonObject:
    assert server.process is not None
    origin_pids = meter.tree(server.process.pid)
    cache_pids = meter.tree(cache.process.pid) if cache is not None else set()  # type: ignore[attr-defined]
    ramp_s = clients / RAMP_PER_S + 2
    seconds = math.ceil(ramp_s + END_S + 2)
    slice_ = time.time_ns() // 1_000_000 // SLICE_MS
    path = (
        f"/stream/{MATCH}?last_event_id={head}"
        if way == "sse"
        else f"/api/match/{MATCH}/deltas/{head}/{slice_}"
    )
    processes = -(-clients // PER_PROCESS)
    shares = [clients // processes] * processes
    before, _ = origin_counts(server)
    pollers = [
        subprocess.Popen(
            [POLLER, str(port), "sse" if way == "sse" else "poll", path, str(share)]
            + [str(RAMP_PER_S // processes), str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for share in shares
    ]
    try:
        time.sleep(ramp_s)
        # The deltas begin in the middle of a slice, so that a turn is not in their way.
        into_ms = time.time_ns() // 1_000_000 % SLICE_MS
        began_s = time.monotonic()
        cpu = meter.cpu(cache_pids)
        origin_cpu = meter.cpu(origin_pids)
        first = int(head.partition("-")[2]) + 1
        for number, at_s in enumerate(SINGLES_S):
            time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            assert server.post(event(number)) == 200
        time.sleep(max(0.0, began_s + SINGLES_S[-1] + 1.5 - time.monotonic()))
        quiet_from, held = origin_counts(server)
        time.sleep(max(0.0, began_s + BURST_S - 1 - time.monotonic()))
        quiet_requests = origin_counts(server)[0] - quiet_from
        quiet_s = time.monotonic() - began_s - SINGLES_S[-1] - 1.5
        time.sleep(max(0.0, began_s + BURST_S - time.monotonic()))
        for number in range(BURST):
            assert server.post(event(len(SINGLES_S) + number)) == 200
        time.sleep(max(0.0, began_s + END_S - time.monotonic()))
        cache_s = meter.cpu(cache_pids).since(cpu).total_s
        origin_s = meter.cpu(origin_pids).since(origin_cpu).total_s
        answered, held_at_last = origin_counts(server)
        asked = answered + held_at_last - before
        memory = meter.memory_bytes(cache_pids)
        reports = [json.loads(one.communicate(timeout=60)[0]) for one in pollers]
    finally:
        for one in pollers:
            one.kill()
            one.wait()
    totals = {
        key: sum(report[key] for report in reports)
        for key in (
            "requests",
            "deltas",
            "silences",
            "refused",
            "resets",
            "twice",
            "holes",
            "bytes_in",
            "bytes_out",
        )
    }
    addresses = {path for report in reports for path in report["addresses"]}
    singles = _late(reports, range(first, first + len(SINGLES_S)))
    burst = _late(reports, range(first + len(SINGLES_S), first + len(SINGLES_S) + BURST))
    answers = totals["deltas"] if way == "sse" else totals["requests"]
    row: JsonObject = {
        "way": way,
        "clients": clients,
        "began_into_slice_ms": into_ms,
        "seconds": seconds,
        **totals,
        "all_deltas_at_all_clients": totals["deltas"] == clients * (len(SINGLES_S) + BURST),
        "late_ms": {"singles": singles, "burst": burst},
        "cache_cpu_s": round(cache_s, 3),
        "cache_cpu_us_per_answer": round(cache_s / answers * 1e6, 1) if way != "straight" else None,
        "cache_memory_mib": round(memory / 2**20, 1) if way != "straight" else None,
        "origin_cpu_s": round(origin_s, 3),
        "requests_per_client_and_10_s": round(totals["silences"] / clients / seconds * 10, 2),
    }
    if way != "sse":
        row |= {
            "origin_requests": asked,
            "addresses": len(addresses),
            "origin_requests_per_address": round(asked / len(addresses), 2),
            "origin_held": held,
            "quiet_s": round(quiet_s, 1),
            "quiet_origin_requests": quiet_requests,
        }
    return row


def _late(reports: list[JsonObject], seqs: range) -> JsonObject:
    """Quantiles over all deltas and clients, in milliseconds."""
    counts: Counter[int] = Counter()
    for report in reports:
        late = report["late_ms"]
        assert isinstance(late, dict)
        for seq in seqs:
            found = late.get(str(seq), {})
            assert isinstance(found, dict)
            counts.update({int(ms): count for ms, count in found.items() if isinstance(count, int)})
    total = counts.total()

    def at(share: float) -> int | None:
        seen = 0
        for ms in sorted(counts):
            seen += counts[ms]
            if seen >= share * total:
                return ms
        return None

    return {"count": total, "p50": at(0.5), "p99": at(0.99), "max": max(counts, default=None)}


def table(rows: list[JsonObject]) -> str:
    """The rows as Markdown."""
    lines = [
        "| way | clients | origin requests (addresses) | per address | single deltas, p50 / p99 / max ms "
        "| burst, p50 / p99 ms | cache CPU, µs an answer | cache MiB | origin CPU, s | every delta at every client |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        late = row["late_ms"]
        assert isinstance(late, dict)
        single, burst = late["singles"], late["burst"]
        assert isinstance(single, dict)
        assert isinstance(burst, dict)
        asked = f"{row['origin_requests']:,} ({row['addresses']})" if "addresses" in row else "–"
        lines.append(
            f"| {WAYS[str(row['way'])]} | {row['clients']:,} | {asked} "
            f"| {row.get('origin_requests_per_address', '–')} "
            f"| {single['p50']} / {single['p99']} / {single['max']} | {burst['p50']} / {burst['p99']} "
            f"| {row['cache_cpu_us_per_answer'] or '–'} | {row['cache_memory_mib'] or '–'} "
            f"| {row['origin_cpu_s']} | {'yes' if row['all_deltas_at_all_clients'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def chart(rows: list[JsonObject]) -> str:
    """How late single deltas come, as bars: the median solid, the 99th percentile light."""
    width, label, top, bar = 760, 260, 56, 24
    values = []
    for row in rows:
        late = row["late_ms"]
        assert isinstance(late, dict)
        single = late["singles"]
        assert isinstance(single, dict)
        values.append((row, single["p50"] or 0, single["p99"] or 0))
    longest = max((p99 for _, _, p99 in values), default=1) or 1
    room = width - label - 110
    title = "How late a single delta comes: median and 99th percentile, ms"
    parts = []
    for number, (row, p50, p99) in enumerate(values):
        y = top + number * (bar + 6)
        text = f"{WAYS[str(row['way'])]}, {row['clients']:,}"
        parts.append(
            f'<text x="{label - 8}" y="{y + 16}" text-anchor="end" fill="#16191d">{escape(text)}</text>'
            f'<rect x="{label}" y="{y}" width="{max(1.0, p99 / longest * room):.1f}" height="{bar}" fill="#b9c8e3"/>'
            f'<rect x="{label}" y="{y}" width="{max(1.0, p50 / longest * room):.1f}" height="{bar}" fill="#0b7a4b"/>'
            f'<text x="{label + p99 / longest * room + 6:.1f}" y="{y + 16}" fill="#16191d">{p50} / {p99}</text>'
        )
    height = top + len(values) * (bar + 6) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="20" y="30" font-size="16" font-weight="600" fill="#16191d">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def main() -> int:
    """Measure; the exit code is 1 if a client missed a delta."""
    parser = argparse.ArgumentParser(prog="python -m bench.cdn", description="long-polls through caches")
    parser.add_argument("--pollers", default="1000,10000")
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE), f"OUT={POLLER.parent}"], check=True)
    ways = options.ways.split(",")
    if unknown := set(ways) - set(WAYS):
        parser.error(f"no such way: {', '.join(sorted(unknown))}")
    rows = []
    for clients in map(int, options.pollers.split(",")):
        for way in ways:
            say(f"{WAYS[way]}, {clients:,} clients (load {os.getloadavg()[0]:.1f})")
            rows.append(measure(way, clients))
            say(json.dumps(rows[-1]))
    text = table(rows)
    print(text)
    if set(ways) == set(WAYS):
        keep("cdn", {"rows": rows})
        (RESULTS / "cdn.md").write_text(f"# Long-polls through caches\n\n{text}", encoding="utf-8")
        (RESULTS / "cdn.svg").write_text(chart(rows), encoding="utf-8")
    return 0 if all(row["all_deltas_at_all_clients"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
