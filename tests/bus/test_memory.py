"""Matches that ended leave the memory of the embedded bus, and are read, replayed, corrected and followed."""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Iterator, Sequence

import pytest

from origin.bus import Gap, Published, Snapshot, Suffix, UpToDate, memory
from origin.bus.memory import ENDED_IN_MEMORY, MemoryBus
from origin.errors import BusBehindError, BusError
from shared_state import DeltaId, Event, Replica, encode_delta
from tests.bus.contract import EPOCH, Heard, real

FIRST = "m0"
LATER = [f"m{number}" for number in range(1, ENDED_IN_MEMORY + 2)]
STEPS = real(FIRST, "LIVE", "HALF_TIME", "FT", "LIVE", "FT")


def publish_ended(bus: MemoryBus, match_id: str) -> None:
    for published, snapshot in real(match_id, "LIVE", "HALF_TIME", "FT"):
        bus.publish(match_id, published, snapshot)


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    """A bus whose first match, ``FIRST``, is in the file."""
    bus = MemoryBus()
    for match_id in (FIRST, *LATER):
        publish_ended(bus, match_id)
    assert FIRST in bus._dormant
    assert FIRST not in bus._channels
    yield bus
    bus.close()


def test_a_match_in_the_file_is_read_as_before(bus: MemoryBus) -> None:
    deltas = [published for published, _ in STEPS[:3]]
    head = DeltaId(EPOCH, 3)
    assert bus.head(FIRST) == head
    assert bus.heads([FIRST]) == {FIRST: head}
    assert bus.snapshot(FIRST) == Snapshot(head, STEPS[2][1])
    assert bus.replay(FIRST, DeltaId(EPOCH, 0)) == Suffix(deltas)
    assert bus.replay(FIRST, DeltaId(EPOCH, 2)) == Suffix(deltas[2:])
    assert bus.replay(FIRST, head) == UpToDate()
    assert bus.replay(FIRST, DeltaId(EPOCH, 9)) == Gap(head)
    assert FIRST in bus.matches()
    row = bus.row_reader().read().rows[FIRST]
    assert row is not None
    assert (row.id, row.status) == (head, "FT")
    assert FIRST in bus._dormant, "reading brings it back into memory"


def test_a_match_in_the_file_is_corrected_and_followed(bus: MemoryBus) -> None:
    reader = bus.row_reader()
    reader.read()
    assert not bus.publish(FIRST, *STEPS[2]), "it stands at that id"
    with pytest.raises(BusBehindError):
        bus.publish(FIRST, *STEPS[4])
    heard = Heard(bus, FIRST)
    assert bus.publish(FIRST, *STEPS[3])
    assert heard.deltas == [STEPS[3][0]]
    assert bus.replay(FIRST, DeltaId(EPOCH, 0)) == Suffix([published for published, _ in STEPS[:4]])
    assert {name: row and row.status for name, row in reader.read().rows.items()} == {FIRST: "LIVE"}
    heard.subscription.close()
    assert bus.publish(FIRST, *STEPS[4])
    for match_id in LATER:
        published, snapshot = real(match_id, "LIVE", "HALF_TIME", "FT", "AWARDED")[3]
        bus.publish(match_id, published, snapshot)
    assert FIRST in bus._dormant
    assert bus.snapshot(FIRST) == Snapshot(DeltaId(EPOCH, 5), STEPS[4][1])


def test_a_match_with_viewers_stays_in_memory() -> None:
    bus = MemoryBus()
    heard = Heard(bus, FIRST)
    for match_id in (FIRST, *LATER):
        publish_ended(bus, match_id)
    assert heard.seqs == [1, 2, 3]
    assert FIRST in bus._channels
    assert LATER[0] in bus._dormant
    bus.close()


def test_a_file_that_cannot_be_written_to_leaves_matches_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may grow to nothing, as on a full disk; SQLite's own limit says so with the same error."""
    bus = MemoryBus()
    db = bus._file._db()
    db.execute("INSERT INTO ended VALUES ('full', zeroblob(3950))")  # the only page that it has
    db.execute("PRAGMA max_page_count=1")
    for match_id in (FIRST, *LATER):
        publish_ended(bus, match_id)
    assert not bus._dormant
    assert bus.snapshot(FIRST) == Snapshot(DeltaId(EPOCH, 3), STEPS[2][1])
    db.execute("PRAGMA max_page_count=1000000")
    monkeypatch.setattr(bus, "_put_again_s", 0.0)
    publish_ended(bus, "one-more")
    assert FIRST in bus._dormant
    assert bus.snapshot(FIRST) == Snapshot(DeltaId(EPOCH, 3), STEPS[2][1])
    bus.close()


def test_a_match_that_cannot_be_read_back_is_refilled(bus: MemoryBus) -> None:
    bus._file._db().execute("UPDATE ended SET data = x'00' WHERE match_id = ?", (FIRST,))
    with pytest.raises(BusError, match=FIRST):
        bus.snapshot(FIRST)
    assert bus.head(FIRST) is None
    deltas = [published for published, _ in STEPS[:4]]
    assert bus.refill(FIRST, deltas, STEPS[3][1]) == 4
    assert bus.snapshot(FIRST) == Snapshot(DeltaId(EPOCH, 4), STEPS[3][1])


def test_dormant_matches_that_were_read_stay_within_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each match of a log can be asked for by anybody, one after another."""
    source, bus = MemoryBus(), MemoryBus()
    names = [f"m{number}" for number in range(10)]
    loads: list[str] = []

    def load(match_id: str) -> tuple[Snapshot, Sequence[Published]]:
        loads.append(match_id)
        snapshot, replay = source.snapshot(match_id), source.replay(match_id, DeltaId(EPOCH, 0))
        assert snapshot is not None
        assert isinstance(replay, Suffix)
        return snapshot, replay.deltas

    for match_id in names:
        publish_ended(source, match_id)
    for match_id, row in source.row_reader().read().rows.items():
        assert row is not None
        bus.adopt(row, functools.partial(load, match_id))
    one_bytes = memory._bytes_of(load(names[0]))
    loads.clear()
    monkeypatch.setattr(memory, "LOADED_MAX_BYTES", 3 * one_bytes + 100)
    for match_id in names:
        for _ in range(2):
            assert bus.snapshot(match_id) == source.snapshot(match_id)
        assert bus._loaded_bytes == sum(map(memory._bytes_of, bus._loaded.values())) <= 3 * one_bytes + 100
    assert loads == names, "what was read a moment ago is not loaded again"
    assert list(bus._loaded) == names[-3:]
    bus.subscribe(names[-1], lambda published: None).close()
    assert bus._loaded_bytes == sum(map(memory._bytes_of, bus._loaded.values()))
    monkeypatch.setattr(memory, "LOADED_MAX_BYTES", 1)
    assert bus.snapshot(names[0]) == source.snapshot(names[0])
    assert list(bus._loaded) == names[:1], "one that is larger than the bound is read all the same"


def test_a_match_that_ended_costs_at_most_four_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a match of 80 events, whose deltas and snapshot are several times that."""
    monkeypatch.setattr("origin.bus.memory.ENDED_IN_MEMORY", 0)
    bus = MemoryBus()

    def play(match_id: str) -> None:
        replica = Replica.begin(match_id, EPOCH)
        deltas = []
        for number in range(80):
            fields = {"match_id": match_id, "event_id": f"e{number}", "rev": 1, "op": "ADD"}
            if number == 79:
                fields |= {"type": "STATUS_CHANGE", "period": "POST", "detail": {"to": "FT"}}
            else:
                fields |= {"type": "NOTE", "minute": number, "detail": {"text": f"A shot by {number}"}}
            made = replica.assign(Event.from_json(fields), EPOCH + number)
            assert made is not None
            deltas.append(Published(made.id, encode_delta(made)))
        bus.refill(match_id, deltas, replica.snapshot())

    play("first")
    bus.row_reader().read()
    tracemalloc.start()
    try:
        for number in range(300):
            play(f"m-{number}")
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(bus._dormant) == 301
    assert grown / 300 < 4_096
    snapshot = bus.snapshot("m-7")
    assert snapshot is not None
    assert len(snapshot.data) > 8_000
    bus.close()
