"""What every event log does. ``test_eventlog.py`` runs this suite against each implementation."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from origin.eventlog import Consumer, EventLog, LogRecord, MatchSize, SignedBy
from origin.eventlog.codec import encode_event
from origin.eventlog.deadletter import DeadLetter
from shared_state import Event

__all__ = ["DurableContract", "EventLogContract", "KeysContract", "SharedContract", "drain", "ids", "note"]

# A test waits so long only when it fails.
PATIENCE_S = 30.0
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def note(event_id: str, match_id: str = "m1", text: str = "Anstoß ⚽") -> Event:
    """An event that differs from those of other numbers."""
    return Event(
        match_id=match_id, event_id=event_id, rev=1, op="ADD", type="NOTE", period="H1", detail={"text": text}
    )


def notes(count: int, match_id: str = "m1") -> list[Event]:
    """So many events of one match."""
    return [note(f"e{number}", match_id) for number in range(count)]


def ids(records: Sequence[LogRecord]) -> list[str]:
    """The ids of their events."""
    return [record.event.event_id for record in records]


def ids_of(events: Sequence[Event]) -> list[str]:
    return [event.event_id for event in events]


def drain(consumer: Consumer, count: int) -> list[LogRecord]:
    """Poll and commit until so many records have come; fails if fewer or more come."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came"
        polled = consumer.poll(0.2)
        consumer.commit(polled)
        records += polled
    assert len(records) == count
    return records


def drain_without_commit(consumer: Consumer, count: int) -> list[LogRecord]:
    """Poll until so many records have come."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records came"
        records += consumer.poll(0.2)
    return records


@dataclass(frozen=True)
class Somewhere:
    """A position in a log."""

    partition: int
    offset: int


class EventLogContract:
    """The suite. A subclass supplies how the log of one test is opened, and opened again."""

    @pytest.fixture
    def open_again(self) -> Iterator[Callable[[], EventLog]]:
        """Opens one and the same log, of this test alone; all are closed at its end."""
        raise NotImplementedError

    @pytest.fixture
    def log(self, open_again: Callable[[], EventLog]) -> EventLog:
        return open_again()

    def test_new_log_is_empty(self, log: EventLog) -> None:
        assert list(log.read_match("m1")) == []
        with closing(log.consumer("g")) as consumer:
            assert consumer.poll(0.1) == []

    def test_what_was_appended_is_read_in_order(self, log: EventLog) -> None:
        events = [
            note("e1", text="Mandžukić \U0001f1ed\U0001f1f7 \x00 \u2028"),
            Event(match_id="m1", event_id="e1", rev=2, op="RETRACT", reason="VAR: offside"),
            note("é" * 128, text="x" * 2_000),
        ]
        appended = log.append(events)
        assert (appended.fresh, appended.count) == (True, 3)
        records = list(log.read_match("m1"))
        assert [record.event for record in records] == events
        assert [record.offset for record in records] == sorted({record.offset for record in records})

    def test_nothing_to_append(self, log: EventLog) -> None:
        assert log.append([]).count == 0
        assert list(log.read_match("m1")) == []

    def test_matches_are_apart_and_each_is_in_one_partition(self, log: EventLog) -> None:
        matches = [f"match-{number}" for number in range(12)]
        log.append([note(f"e{number}", match_id) for number in range(5) for match_id in matches])
        for match_id in matches:
            records = list(log.read_match(match_id))
            assert ids(records) == ["e0", "e1", "e2", "e3", "e4"]
            assert {record.event.match_id for record in records} == {match_id}
            assert len({record.partition for record in records}) == 1
        assert list(log.read_match("match-1x")) == []

    def test_large_batch(self, log: EventLog) -> None:
        events = notes(3_000)
        assert log.append(events).count == 3_000
        assert [record.event for record in log.read_match("m1")] == events

    def test_a_match_is_read_from_an_offset_on(self, log: EventLog) -> None:
        log.append([note(f"e{number}", f"m{number % 2}") for number in range(1_200)])
        records = list(log.read_match("m1"))
        for index in (0, 1, 250, 598, 599):
            assert list(log.read_match("m1", records[index].offset)) == records[index + 1 :]
        between = records[3].offset + 1  # where both are in one partition, it is of the other match
        assert list(log.read_match("m1", between)) == [one for one in records if one.offset > between]

    def test_an_offset_without_a_record_can_be_committed(self, log: EventLog) -> None:
        log.append(notes(3))
        with closing(log.consumer("g")) as consumer:
            first, *_ = sorted(drain_without_commit(consumer, 3), key=lambda record: record.offset)
            consumer.commit([Somewhere(first.partition, first.offset)])
        with closing(log.consumer("g")) as successor:
            assert ids(drain(successor, 2)) == ["e1", "e2"]

    def test_the_size_of_a_match(self, log: EventLog) -> None:
        assert log.size_of("m1") == MatchSize(0, 0)
        log.append([note("e1"), note("e1", "m2"), note("e2", text="Mandžukić")])
        sizes = [len(encode_event(event)) for event in (note("e1"), note("e2", text="Mandžukić"))]
        assert log.size_of("m1") == MatchSize(2, sum(sizes))
        log.append([note("e1")])
        assert log.size_of("m1") == MatchSize(3, sum(sizes) + sizes[0])
        assert log.size_of("m2") == MatchSize(1, sizes[0])

    def test_time_is_the_log_s_and_never_goes_back(self, log: EventLog) -> None:
        before_ms = time.time_ns() // 1_000_000
        for event in notes(5):
            log.append([event])
        times = [record.appended_ms for record in log.read_match("m1")]
        assert times == sorted(times)
        assert before_ms - 1 <= times[0] <= times[-1] <= time.time_ns() // 1_000_000 + 1

    def test_all_readers_see_the_same_records(
        self, log: EventLog, open_again: Callable[[], EventLog]
    ) -> None:
        log.append(notes(20))
        expected = list(log.read_match("m1"))
        other = open_again()
        assert list(other.read_match("m1")) == expected
        with closing(other.consumer("g")) as one, closing(log.consumer(None)) as two:
            assert drain(one, 20) == expected
            assert drain(two, 20) == expected

    def test_key_is_taken_once(self, log: EventLog) -> None:
        assert log.count_under("msg_é") is None
        assert log.append(notes(2), key="msg_é").fresh
        assert log.count_under("msg_é") == 2
        again = log.append([note("other")], key="msg_é")
        assert (again.fresh, again.count) == (False, 2)
        assert log.append([note("e3")], key="msg_2").fresh
        assert ids(list(log.read_match("m1"))) == ["e0", "e1", "e3"]

    def test_who_signed_a_record_stays_with_it(self, open_again: Callable[[], EventLog]) -> None:
        log = open_again()
        mine, other = SignedBy("scout-1", "msg_1"), SignedBy("scout-2", "msg_2")
        log.append([note("e0"), note("e1"), note("e0", "m2")], key="canonical:msg_1", signed_by=mine)
        log.append([note("e2")], key="canonical:msg_2", signed_by=other)
        log.append([note("e3")], key="dlq:0-7")
        log.append([note("e4")])
        again = open_again()
        for reading in (log, again):
            records = list(reading.read_match("m1"))
            assert [record.signed_by for record in records] == [mine, mine, other, None, None]
            assert [record.signed_by for record in reading.read_match("m2")] == [mine]
        with closing(again.consumer("g")) as consumer:
            read = drain(consumer, 6)
        by_id = {record.event.event_id: record.signed_by for record in read if record.event.match_id == "m1"}
        assert by_id == {"e0": mine, "e1": mine, "e2": other, "e3": None, "e4": None}

    def test_the_trace_of_a_record_stays_with_it(self, open_again: Callable[[], EventLog]) -> None:
        log = open_again()
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        log.append([note("e0")], traceparent=trace)
        log.append([note("e1")], key="canonical:msg_1", signed_by=SignedBy("scout-1", "msg_1"))
        log.append([note("e2")], signed_by=SignedBy("scout-1", "msg_2"), traceparent=trace)
        again = open_again()
        for reading in (log, again):
            assert [record.traceparent for record in reading.read_match("m1")] == [trace, None, trace]
        with closing(again.consumer("g")) as consumer:
            read = drain(consumer, 3)
        assert {record.event.event_id: record.traceparent for record in read} == {
            "e0": trace,
            "e1": None,
            "e2": trace,
        }

    def test_repeated_batch_adds_no_fact(self, open_again: Callable[[], EventLog]) -> None:
        """True of every log, also if another process gets the repetition."""
        open_again().append(notes(3), key="k")
        log = open_again()
        log.append(notes(3), key="k")
        facts = dict.fromkeys(encode_event(record.event) for record in log.read_match("m1"))
        assert list(facts) == [encode_event(event) for event in notes(3)]

    def test_new_group_starts_at_the_oldest(self, log: EventLog) -> None:
        log.append(notes(3))
        with closing(log.consumer("late")) as consumer:
            log.append([note("e3")])
            assert ids(drain(consumer, 4)) == ["e0", "e1", "e2", "e3"]

    def test_group_goes_on_after_its_commit(self, open_again: Callable[[], EventLog]) -> None:
        log = open_again()
        log.append(notes(10))
        with closing(log.consumer("g")) as consumer:
            records: list[LogRecord] = []
            while len(records) < 10:
                records += consumer.poll(0.5, limit=10 - len(records))
            consumer.commit(records[:4])
        with closing(open_again().consumer("g")) as successor:
            assert ids(drain(successor, 6)) == ["e4", "e5", "e6", "e7", "e8", "e9"]
            successor.commit([])

    def test_commit_does_not_go_back(self, log: EventLog) -> None:
        log.append(notes(4))
        with closing(log.consumer("g")) as consumer:
            records = drain(consumer, 4)
            consumer.commit(records[:1])
        log.append([note("e4")])
        with closing(log.consumer("g")) as successor:
            assert ids(drain(successor, 1)) == ["e4"]

    def test_groups_are_apart(self, log: EventLog) -> None:
        log.append(notes(3))
        with closing(log.consumer("eu")) as europe, closing(log.consumer("us")) as america:
            assert ids(drain(europe, 3)) == ids(drain(america, 3))

    def test_reader_without_group_keeps_nothing_and_reaches_the_end(self, log: EventLog) -> None:
        log.append(notes(700))
        for _ in range(2):
            with closing(log.consumer(None)) as reader:
                read: list[LogRecord] = []
                # An empty answer means the end, however short the wait: restoring a bus relies on this.
                while records := reader.poll(0.01):
                    read += records
                    reader.commit(records)
            assert ids(read) == [event.event_id for event in notes(700)]

    def test_limit(self, log: EventLog) -> None:
        log.append(notes(25))
        with closing(log.consumer(None)) as reader:
            sizes = []
            while records := reader.poll(0.2, limit=10):
                sizes.append(len(records))
            assert sum(sizes) == 25
            assert max(sizes) <= 10

    def test_limit_of_nothing_takes_nothing(self, log: EventLog) -> None:
        log.append(notes(5))
        with closing(log.consumer("g")) as consumer:
            assert ids(drain(consumer, 5)) == ids_of(notes(5))
            log.append([note("next")])
            for _ in range(20):
                assert consumer.poll(0.0, 0) == []
            assert ids(drain(consumer, 1)) == ["next"]

    def test_waiting_reader_is_woken(self, log: EventLog) -> None:
        with closing(log.consumer("g")) as consumer:
            log.append([note("first")])
            drain(consumer, 1)  # it has joined the group
            timer = threading.Timer(0.2, log.append, [[note("second")]])
            timer.start()
            started = time.monotonic()
            assert ids(consumer.poll(PATIENCE_S)) == ["second"]
            assert time.monotonic() - started < PATIENCE_S / 2
            timer.join()

    def test_reader_misses_nothing_of_many_writers(self, open_again: Callable[[], EventLog]) -> None:
        """Offsets must become visible in order, or a reader misses one that appears behind it."""
        log, reading = open_again(), open_again()

        def write(writer: int) -> None:
            for number in range(25):
                log.append([note(f"{writer}-{number}-a"), note(f"{writer}-{number}-b", f"m{writer}")])

        writers = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
        with closing(reading.consumer("g")) as consumer:
            for thread in writers:
                thread.start()
            records = drain(consumer, 4 * 25 * 2)
            for thread in writers:
                thread.join()
            assert consumer.poll(0.2) == []
        assert len(set(ids(records))) == len(records)
        shared = [record for record in records if record.event.match_id == "m1"]
        assert shared == list(log.read_match("m1"))
        for writer in range(4):
            mine = [name for name in ids(records) if name.startswith(f"{writer}-")]
            assert [name for name in mine if name.endswith("a")] == [f"{writer}-{n}-a" for n in range(25)]

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        batches=st.lists(
            st.lists(
                st.tuples(st.integers(0, 3), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
            )
        )
    )
    def test_any_batches(self, log: EventLog, batches: list[list[tuple[int, str]]]) -> None:
        run = uuid.uuid4().hex[:12]
        expected: dict[str, list[Event]] = {f"{run}-{match}": [] for match in range(4)}
        for batch in batches:
            events = [note(f"e-{text}", f"{run}-{match}", text) for match, text in batch]
            log.append(events)
            for event in events:
                expected[event.match_id].append(event)
        for match_id, events in expected.items():
            assert [record.event for record in log.read_match(match_id)] == events

    def test_dead_letters_are_kept_until_removed(self, open_again: Callable[[], EventLog]) -> None:
        letters = open_again().dead_letters()
        one = DeadLetter(0, 7, 1_531_666_800_000, "not JSON: é", b"\xff\x00{")
        two = DeadLetter(0, 11, 1_531_666_800_001, "other", b"")
        for letter in (two, one, one):
            letters.add(letter)
        pending = open_again().dead_letters().pending()
        assert [(letter.id, letter.reason, letter.payload) for letter in pending] == [
            ("0-7", "not JSON: é", b"\xff\x00{"),
            ("0-11", "other", b""),
        ]
        letters.remove(one)
        letters.remove(one)
        for again in (letters, open_again().dead_letters()):
            again.add(one)  # a reader that meets the record later does not add it again
        assert [letter.id for letter in letters.pending()] == ["0-11"]

    def test_old_documents_are_forgotten_and_dead_letters_of_records_are_not(
        self, open_again: Callable[[], EventLog]
    ) -> None:
        letters = open_again().dead_letters()
        record = DeadLetter(0, 7, 1, "not JSON", b"{")
        dropped, document = (DeadLetter.of_document("feed", 1, "bad", text) for text in (b"<1", b"<2"))
        for letter in (record, dropped, document):
            letters.add(letter)
        letters.remove(dropped)
        letters.forget_documents(1)
        assert {letter.id for letter in letters.pending()} == {record.id, document.id}
        letters.forget_documents(2**53)
        for again in (letters, open_again().dead_letters()):
            assert [letter.id for letter in again.pending()] == [record.id]
        open_again().dead_letters().add(document)  # a vendor that sends it once more is heard
        assert {letter.id for letter in letters.pending()} == {record.id, document.id}

    def test_everything_may_be_called_after_an_append_elsewhere(
        self, open_again: Callable[[], EventLog]
    ) -> None:
        here, there = open_again(), open_again()
        assert list(here.read_match("m1")) == []
        for number in range(3):
            there.append([note(f"e{number}")])
            assert ids(list(here.read_match("m1"))) == [f"e{n}" for n in range(number + 1)]


class KeysContract(EventLogContract):
    """Logs that know the keys of all processes."""

    def test_key_is_taken_once_by_all(self, open_again: Callable[[], EventLog]) -> None:
        logs = [open_again() for _ in range(3)]
        fresh: list[bool] = []

        def send(log: EventLog) -> None:
            fresh.append(log.append(notes(3), key="k").fresh)

        threads = [threading.Thread(target=send, args=[log]) for log in logs * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(fresh) == [False] * 8 + [True]
        assert ids(list(logs[0].read_match("m1"))) == ["e0", "e1", "e2"]
        assert [log.count_under("k") for log in logs] == [3, 3, 3]


class DurableContract(EventLogContract):
    """Logs that outlive their processes. A subclass supplies the URL, and a way to append garbage."""

    @pytest.fixture
    def own_url(self) -> str:
        """The URL of this test's log."""
        raise NotImplementedError

    def write_rubbish(self, url: str, payload: str, match_id: str) -> None:
        """Append something that is no event to the partition of a match, by another client."""
        raise NotImplementedError

    def test_appended_events_survive_closing(self, open_again: Callable[[], EventLog]) -> None:
        log = open_again()
        log.append(notes(5))
        before = list(log.read_match("m1"))
        log.close()
        assert list(open_again().read_match("m1")) == before

    def test_acknowledged_events_survive_the_death_of_the_process(
        self, own_url: str, open_again: Callable[[], EventLog]
    ) -> None:
        open_again()
        acknowledged: list[str] = []
        for round_ in range(2):
            with subprocess.Popen(
                [sys.executable, "-m", "testkit.appender", own_url, f"m{round_}"],
                stdout=subprocess.PIPE,
                text=True,
            ) as child:
                assert child.stdout is not None
                while len(acknowledged) < 20:
                    acknowledged.append(child.stdout.readline().strip())
                child.kill()
                acknowledged += child.stdout.read().split()
            found = ids(list(open_again().read_match(f"m{round_}")))
            # One more may be in the log: it was stored, and the process died before it printed its id.
            assert found[: len(acknowledged)] == acknowledged
            assert len(found) <= len(acknowledged) + 1
            acknowledged.clear()

    def test_rubbish_is_set_aside_and_blocks_nothing(
        self, own_url: str, open_again: Callable[[], EventLog]
    ) -> None:
        log = open_again()
        log.append([note("e0")])
        self.write_rubbish(own_url, '{"not": "an event"}', "m1")
        self.write_rubbish(own_url, "{{{", "m1")
        log.append([note("e1")])
        with closing(log.consumer("g")) as consumer:
            records = drain(consumer, 2)
        assert ids(records) == ids(list(log.read_match("m1"))) == ["e0", "e1"]
        letters = log.dead_letters().pending()
        assert [letter.payload for letter in letters] == [b'{"not": "an event"}', b"{{{"]
        assert "match_id" in letters[0].reason
        assert [letter.offset for letter in letters] == [records[0].offset + 1, records[0].offset + 2]
        assert {letter.partition for letter in letters} == {records[0].partition}

    def test_rubbish_at_the_end_is_met_once(self, own_url: str, open_again: Callable[[], EventLog]) -> None:
        log = open_again()
        log.append([note("e0")])
        with closing(log.consumer("g")) as consumer:
            drain(consumer, 1)
            self.write_rubbish(own_url, "rubbish", "m1")
            deadline = time.monotonic() + PATIENCE_S
            while not (letters := log.dead_letters().pending()):
                assert consumer.poll(0.2) == []
                assert time.monotonic() < deadline
        log.dead_letters().remove(letters[0])
        with closing(open_again().consumer("g")) as successor:
            log.append([note("e1")])
            assert ids(drain(successor, 1)) == ["e1"]
        assert log.dead_letters().pending() == []


class SharedContract(EventLogContract):
    """Logs of several partitions, which the readers of a group share."""

    def test_two_readers_share_a_group(self, open_again: Callable[[], EventLog]) -> None:
        log = open_again()
        matches = [f"m{number}" for number in range(24)]
        with closing(log.consumer("g")) as one, closing(open_again().consumer("g")) as two:
            seen: tuple[list[LogRecord], list[LogRecord]] = ([], [])
            deadline = time.monotonic() + PATIENCE_S
            appended: list[tuple[str, str]] = []
            # Events keep coming until both readers have received some for a while.
            while min(map(len, seen)) < 40:
                assert time.monotonic() < deadline, f"the readers had {len(seen[0])} and {len(seen[1])}"
                batch = [note(f"e{len(appended)}-{match_id}", match_id) for match_id in matches]
                log.append(batch)
                appended += [(event.match_id, event.event_id) for event in batch]
                for consumer, records in zip((one, two), seen, strict=True):
                    polled = consumer.poll(0.1)
                    consumer.commit(polled)
                    records += polled
            for records in seen:
                records.clear()
            # From here on the group is stable: no record comes to both, and each partition has one reader.
            settled = [
                note(f"settled{number}-{match_id}", match_id) for number in range(5) for match_id in matches
            ]
            log.append(settled)
            wanted = {event.event_id for event in settled}
            while wanted - {*ids(seen[0]), *ids(seen[1])}:
                assert time.monotonic() < deadline
                for consumer, records in zip((one, two), seen, strict=True):
                    polled = consumer.poll(0.1)
                    consumer.commit(polled)
                    records += polled
            assert not {*ids(seen[0])} & {*ids(seen[1])}
            partitions = [{record.partition for record in records} for records in seen]
            assert partitions[0]
            assert partitions[1]
            assert not partitions[0] & partitions[1]
            # One leaves; the other gets all.
            two.close()
            log.append([note("last", match_id) for match_id in matches])
            last: set[str] = set()
            while len(last) < len(matches):
                assert time.monotonic() < deadline
                polled = one.poll(0.2)
                one.commit(polled)
                last |= {record.event.match_id for record in polled if record.event.event_id == "last"}

    def test_commit_for_a_partition_that_was_lost_is_left_to_its_new_reader(
        self, open_again: Callable[[], EventLog]
    ) -> None:
        log = open_again()
        log.append([note("e", f"m{number}") for number in range(24)])
        with closing(log.consumer("g")) as one:
            records: list[LogRecord] = []
            deadline = time.monotonic() + PATIENCE_S
            while len(records) < 24:
                assert time.monotonic() < deadline
                records += one.poll(0.2)
            with closing(open_again().consumer("g")) as two:
                again: list[LogRecord] = []
                while not again:  # ``two`` has partitions now, and reads them from the last commit: the start
                    assert time.monotonic() < deadline
                    assert one.poll(0.1) == []
                    again = two.poll(0.1)
                one.commit(records)
                two.commit(again)
