"""The tables of faults: those between Kafka and the regions, and those of vendors up to a viewer."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared_state.jsontext import JsonObject
from testkit.faults import vendor_faults
from testkit.faults.region_faults import BROKER_FAULTS, FAULTS, play_through
from testkit.faults.vendor_chain import Chain
from testkit.faults.vendor_faults import VENDOR_FAULTS, Played, merged
from testkit.services.kafka import KafkaBroker
from testkit.worlds.regions import Outcome, Regions

__all__ = ["faults", "vendor"]

SCALE = 2.0  # how much longer than in the tests each fault lasts


def faults(repeats: int, report: Callable[[str], None]) -> list[JsonObject]:
    """Every fault of ``tests/regions``, lasting longer; one row each."""
    outcomes: dict[str, list[Outcome]] = {fault.name: [] for fault in (*FAULTS, *BROKER_FAULTS)}
    with _kafka() as (kafka, directory), Regions(kafka, directory) as regions:
        for _ in range(repeats):
            for fault in (*FAULTS, *BROKER_FAULTS):
                outcomes[fault.name].append(play_through(fault, regions, SCALE))
                report(f"  {fault.name}: {outcomes[fault.name][-1]}")
    return [_row(name, of_fault) for name, of_fault in outcomes.items()]


def vendor(repeats: int, report: Callable[[str], None]) -> list[JsonObject]:
    """Every fault of ``testkit/faults/vendor_faults.py``, lasting longer; one row each, of the worst run."""
    played: dict[str, list[dict[str, Played]]] = {fault.name: [] for fault in VENDOR_FAULTS}
    with _kafka() as (kafka, directory), Chain(kafka, directory) as chain:
        for _ in range(repeats):
            for fault in VENDOR_FAULTS:
                ways = vendor_faults.play_through(fault, chain, SCALE)
                played[fault.name].append(ways)
                shown = [text for one in ways.values() for text in one.shown]
                report(f"  {fault.name}: {merged(ways)} {shown or ''}")
    return [_vendor_row(name, of_fault) for name, of_fault in played.items()]


@contextmanager
def _kafka() -> Iterator[tuple[KafkaBroker, Path]]:
    with tempfile.TemporaryDirectory() as name:
        kafka = KafkaBroker(Path(name))
        try:
            yield kafka, Path(name)
        finally:
            kafka.stop()


def _row(name: str, outcomes: Sequence[Outcome]) -> JsonObject:
    return {
        "fault": name,
        "gap_s": round(statistics.median(one.gap_s for one in outcomes), 2),
        "all_gaps_s": [round(one.gap_s, 2) for one in outcomes],
        "deltas": sum(one.deltas for one in outcomes),
        "lost": sum(one.lost for one in outcomes),
        "twice": sum(one.twice for one in outcomes),
        "to_snapshot": sum(one.gaps for one in outcomes),
        "equal": all(one.equal for one in outcomes),
        "same_bytes": all(one.same for one in outcomes),
    }


def _vendor_row(name: str, played: list[dict[str, Played]]) -> JsonObject:
    ways = played[0]
    noted = [(way, what) for way in ways for what in ways[way].notes]
    return _row(name, [merged(one) for one in played]) | {
        "gaps_s_by_way": {way: [round(one[way].outcome.gap_s, 2) for one in played] for way in ways},
        "noted_s": {
            f"{way}: {what}": [round(one[way].notes[what], 2) for one in played] for way, what in noted
        },
        "garbage_shown": sum(len(one[way].shown) for one in played for way in ways),
    }
