"""Long-polls through caches: what the origin is asked, how late a delta comes, what a cache spends.

    python -m bench.cdn [--pollers 1000,10000] [--ways straight,nginx,lua,varnish,sse]

For each way and number of clients a ``touchline serve`` is started on its own (SQLite log, embedded bus, one
worker), in front of it the cache of ``deploy/`` with one worker, and the clients of ``poller.c`` in processes
of at most 5,000. Four deltas come two seconds apart, then nothing for 21 s, which is two turns of a slice of
10 s, then a burst of five. How late a delta comes is from when the log took it, in whole milliseconds by the
clock of the machine; so the row "straight at the origin" has fan-out and the origin's own sending in it, and
the rows below it what a cache adds. ``sse`` is a stream through the same stock nginx. Origin requests are the
origin's own count, of polls and refusals; addresses are those that the clients asked for.

A run of all ways writes ``bench/results/cdn.json``, ``.md`` and ``.svg``.

    python -m bench.cdn --quiet-minutes 20 --ways nginx,lua,varnish --pollers 10000 --name cdn-quiet

The same with so long a silence before the burst: an empty answer for each slice, shared by all.

    python -m bench.cdn --workers 4 --ways lua --pollers 36000 --name cdn-many

As many as a machine holds, by caches of several workers (nginx; each asks the origin once). ``--name`` keeps
the rows as ``bench/results/NAME.*``.

    python -m bench.cdn --bytes

Bytes of a viewer of one real match, by the way that it is told: ``bench/results/cdn-bytes.*``.

    python -m bench.cdn --held

What a held request costs the origin beside a viewer of a stream: ``bench/results/cdn-held.*``.

Origin, cache and clients share the machine, so it has to be idle otherwise.
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

from bench.cdn import match_bytes
from bench.results import RESULTS, keep
from bench.stream import meter
from shared_state.jsontext import JsonObject
from testkit.services.caches import Cache, start_cache
from testkit.services.origin import OriginServer

HERE = Path(__file__).parent
POLLER = HERE.parents[1] / ".cache" / "bench" / "bin" / "cdn-poller"
MATCH = "cdn"
SLICE_MS = 10_000
NONE = "-"
PER_PROCESS = 5_000
# A stream has two open files of the one nginx worker, and many machines allow 20,000.
STREAMS_MAX = 9_000
RAMP_PER_S = 2_500
# Only for ``--held``: nothing is in front of the origin, as in "straight".
STREAM = "stream"
WAYS = {
    "straight": "straight at the origin",
    "nginx": "nginx as it comes",
    "lua": "nginx with Lua",
    "varnish": "Varnish",
    "sse": "SSE through nginx",
}
# Seconds from the first delta.
SINGLES_S = (0.0, 2.0, 4.0, 6.0)
BURST_S = 27.0
END_S = 34.0
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
    counter = r"^touchline_stream_(?:polls|refused)_total\{[^}]*\} ([0-9.e+]+)$"
    found = re.findall(counter, text, re.MULTILINE)
    held = re.search(r"^touchline_stream_polls_held ([0-9.e+]+)$", text, re.MULTILINE)
    return round(sum(map(float, found))), round(float(held[1])) if held else 0


def measure(way: str, clients: int, *, workers: int = 1, quiet_s: float = 0.0) -> JsonObject:
    """One way with so many clients.

    Args:
        way: a key of ``WAYS``, or ``STREAM``.
        clients: how many.
        workers: of the cache, if it is nginx.
        quiet_s: how much longer than two slices nothing comes before the burst, seconds.
    """
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
            if way not in ("straight", STREAM):
                cache = start_cache("nginx" if way == "sse" else way, server.port, workers=workers)
            row = _measure(way, clients, server, head, cache, quiet_s)
            return {**row, "workers": workers, "origin_requests_per_address_and_worker": _each(row, workers)}
        finally:
            if cache is not None:
                cache.__exit__()
            server.kill()


def _each(row: JsonObject, workers: int) -> float | None:
    """Origin requests by address and worker; None for streams."""
    each = row.get("origin_requests_per_address")
    return round(each / workers, 2) if isinstance(each, float) else None


def _measure(
    way: str, clients: int, server: OriginServer, head: str, cache: Cache | None, more_quiet_s: float
) -> JsonObject:
    burst_s, end_s = BURST_S + more_quiet_s, END_S + more_quiet_s
    port = cache.port if cache is not None else server.port
    assert server.process is not None
    origin_pids = meter.tree(server.process.pid)
    cache_pids: set[int] = set()
    if cache is not None and cache.process is not None:
        cache_pids = meter.tree(cache.process.pid)
    load = os.getloadavg()[0]  # what else this machine does, which is in the figures
    ramp_s = clients / RAMP_PER_S + 2
    seconds = math.ceil(ramp_s + end_s + 2)
    slice_ = time.time_ns() // 1_000_000 // SLICE_MS
    streams = way in ("sse", STREAM)
    path = f"/api/match/{MATCH}/deltas/{head}/{slice_}"
    if streams:
        path = f"/stream/{MATCH}?last_event_id={head}"
    kind, per_second = (
        ("sse" if streams else "poll"),
        str(RAMP_PER_S * PER_PROCESS // max(clients, PER_PROCESS)),
    )
    processes = -(-clients // PER_PROCESS)
    shares = [clients // processes] * processes
    before, _ = origin_counts(server)
    memory_before = meter.memory_bytes(origin_pids)
    pollers = [
        subprocess.Popen(
            [str(POLLER), str(port), kind, path, str(share), per_second, str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for share in shares
    ]
    try:
        time.sleep(ramp_s)
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
        time.sleep(max(0.0, began_s + burst_s - 1 - time.monotonic()))
        quiet_requests = origin_counts(server)[0] - quiet_from
        quiet_s = time.monotonic() - began_s - SINGLES_S[-1] - 1.5
        time.sleep(max(0.0, began_s + burst_s - time.monotonic()))
        for number in range(BURST):
            assert server.post(event(len(SINGLES_S) + number)) == 200
        time.sleep(max(0.0, began_s + end_s - time.monotonic()))
        cache_s = meter.cpu(cache_pids).since(cpu).total_s
        origin_s = meter.cpu(origin_pids).since(origin_cpu).total_s
        answered, held_at_last = origin_counts(server)
        asked = answered + held_at_last - before
        memory = meter.memory_bytes(cache_pids)
        origin_memory = meter.memory_bytes(origin_pids) - memory_before
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
    answers = totals["deltas"] if streams else totals["requests"]
    row: JsonObject = {
        "way": way,
        "clients": clients,
        "load_before": round(load, 1),
        "began_into_slice_ms": into_ms,
        "seconds": seconds,
        **totals,
        "refusals": {status: n for report in reports for status, n in report["refusals"].items()},
        "all_deltas_at_all_clients": totals["deltas"] == clients * (len(SINGLES_S) + BURST),
        "late_ms": {"singles": singles, "burst": burst},
        "cache_cpu_s": round(cache_s, 3),
        "cache_cpu_us_per_answer": round(cache_s / answers * 1e6, 1) if cache is not None else None,
        "cache_memory_mib": round(memory / 2**20, 1) if cache is not None else None,
        "origin_cpu_s": round(origin_s, 3),
        "origin_cpu_us_per_answer": round(origin_s / answers * 1e6, 1),
        "origin_bytes_per_client": round(origin_memory / clients),
        "requests_per_client_and_10_s": round(totals["silences"] / clients / seconds * 10, 2),
    }
    if not streams:
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
        (
            "| way | clients | origin requests (addresses) | per address | single deltas, p50 / p99 / max ms "
            "| burst, p50 / p99 ms | cache CPU, µs an answer | cache MiB | origin CPU, s "
            "| every delta at every client |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        late = row["late_ms"]
        assert isinstance(late, dict)
        single, burst = late["singles"], late["burst"]
        assert isinstance(single, dict)
        assert isinstance(burst, dict)
        asked = f"{row['origin_requests']:,} ({row['addresses']})" if "addresses" in row else NONE
        lines.append(
            f"| {WAYS[str(row['way'])]} | {row['clients']:,} | {asked} "
            f"| {row.get('origin_requests_per_address', NONE)} "
            f"| {single['p50']} / {single['p99']} / {single['max']} | {burst['p50']} / {burst['p99']} "
            f"| {row['cache_cpu_us_per_answer'] or NONE} | {row['cache_memory_mib'] or NONE} "
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
        )
        for ms, colour in ((p99, "#b9c8e3"), (p50, "#0b7a4b")):
            length = max(1.0, ms / longest * room)
            parts.append(f'<rect x="{label}" y="{y}" width="{length:.1f}" height="{bar}" fill="{colour}"/>')
        at = label + p99 / longest * room + 6
        parts.append(f'<text x="{at:.1f}" y="{y + 16}" fill="#16191d">{p50} / {p99}</text>')
    height = top + len(values) * (bar + 6) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="20" y="30" font-size="16" font-weight="600" fill="#16191d">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def keep_bytes() -> None:
    """Measure and keep what a viewer of one match costs in bytes."""
    measured = match_bytes.measure()
    path = keep("cdn-bytes", measured)
    sizes, counted = measured["sizes"], measured["bytes"]
    assert isinstance(sizes, dict)
    assert isinstance(counted, dict)
    lines = [
        f"# Bytes of one viewer of one match ({measured['match']}, {measured['changes']} changes)",
        "",
        (match_bytes.__doc__ or "").partition("\n\n")[2],
        "| way | KB per viewer and match |",
        "|---|--:|",
    ]
    lines += [f"| {title} | {counted[way] / 1_000:.1f} |" for way, title in match_bytes.TITLES.items()]
    lines += ["", f"Bytes of one message: {', '.join(f'{name} {size}' for name, size in sizes.items())}.", ""]
    path.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def keep_held(clients: int) -> None:
    """Measure and keep what a held request costs beside a stream."""
    rows = [measure(way, clients) for way in ("straight", STREAM)]
    path = keep("cdn-held", {"rows": rows})
    lines = [
        f"# A held request beside a viewer of a stream, {clients:,} of each straight at the origin",
        "",
        "| | origin CPU, µs an answer | origin memory, bytes a client | single deltas, p50 / p99 ms |",
        "|---|--:|--:|--:|",
    ]
    for row, title in zip(rows, ("held long-poll", "SSE viewer"), strict=True):
        late = row["late_ms"]
        assert isinstance(late, dict)
        single = late["singles"]
        assert isinstance(single, dict)
        lines.append(
            f"| {title} | {row['origin_cpu_us_per_answer']} | {row['origin_bytes_per_client']:,} "
            f"| {single['p50']} / {single['p99']} |"
        )
    path.with_suffix(".md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


def main() -> int:
    """Measure; the exit code is 1 if a client missed a delta."""
    parser = argparse.ArgumentParser(prog="python -m bench.cdn", description="long-polls through caches")
    parser.add_argument("--pollers", default="1000,10000")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--bytes", action="store_true", help="bytes of a viewer of one match, by the way")
    parser.add_argument("--held", action="store_true", help="a held request beside a stream, at the origin")
    parser.add_argument("--quiet-minutes", type=float, default=0.0, help="before the burst, at most 20")
    parser.add_argument("--workers", type=int, default=1, help="of nginx")
    parser.add_argument("--name", help="of the files in bench/results; some ways alone write none")
    options = parser.parse_args()
    if not 0 <= options.quiet_minutes <= 20:
        parser.error(f"--quiet-minutes {options.quiet_minutes}: from 0 to 20")
    if options.bytes:
        keep_bytes()
        return 0
    subprocess.run(["make", "-s", "-C", str(HERE), f"OUT={POLLER.parent}"], check=True)
    if options.held:
        keep_held(10_000)
        return 0
    ways = options.ways.split(",")
    if unknown := set(ways) - set(WAYS):
        parser.error(f"no such way: {', '.join(sorted(unknown))}")
    rows = []
    for clients in map(int, options.pollers.split(",")):
        for way in ways:
            say(f"{WAYS[way]}, {clients:,} clients (load {os.getloadavg()[0]:.1f})")
            count = min(clients, STREAMS_MAX) if way == "sse" else clients
            quiet_s = options.quiet_minutes * 60
            rows.append(measure(way, count, workers=options.workers, quiet_s=quiet_s))
            say(json.dumps(rows[-1]))
    text = table(rows)
    print(text)
    if name := options.name or ("cdn" if set(ways) == set(WAYS) else ""):
        keep(name, {"rows": rows})
        (RESULTS / f"{name}.md").write_text(f"# Long-polls through caches\n\n{text}", encoding="utf-8")
        if name == "cdn":
            (RESULTS / "cdn.svg").write_text(chart(rows), encoding="utf-8")
    return 0 if all(row["all_deltas_at_all_clients"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
