"""What every bus does. ``test_bus.py`` runs this suite against each implementation."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.bus import Bus, BusHealth, Gap, Published, RowUpdate, Snapshot, Suffix, UpToDate
from origin.bus.memory import MemoryBus
from origin.errors import BusBehindError
from origin.provenance import Provenance
from shared_state import DeltaId, Event, Replica, encode_delta
from shared_state.view import summary_row

__all__ = ["BusContract", "Heard", "eventually", "real", "run_of"]

EPOCH = 1_531_666_800_000
# A test waits so long only when it fails.
PATIENCE_S = 20.0


def delta(seq: int, epoch: int = EPOCH) -> Published:
    """Some delta with that id."""
    return Published(DeltaId(epoch, seq), b'{"e":"g%d","s":[%d,0]}' % (seq, seq))


def run_of(first: int, last: int, epoch: int = EPOCH) -> list[Published]:
    """The deltas from ``first`` to ``last``."""
    return [delta(seq, epoch) for seq in range(first, last + 1)]


def snapshot_at(seq: int, epoch: int = EPOCH) -> bytes:
    """A snapshot that differs from those of other seqs."""
    return b'{"epoch":%d,"seq":%d,"status":"LIVE"}' % (epoch, seq)


def publish(bus: Bus, match_id: str, *seqs: int, epoch: int = EPOCH) -> list[bool]:
    """Publish these one after the other."""
    return [bus.publish(match_id, delta(seq, epoch), snapshot_at(seq, epoch)) for seq in seqs]


def eventually(check: Callable[[], bool], what: str = "") -> None:
    """Wait until the check is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s {what}"
        time.sleep(0.005)


class Heard:
    """A subscriber that remembers what it received."""

    def __init__(self, bus: Bus, match_id: str) -> None:
        self.deltas: list[Published] = []
        self.gaps: list[DeltaId] = []
        self.subscription = bus.subscribe(match_id, self.deltas.append, self.gaps.append)

    @property
    def seqs(self) -> list[int]:
        return [published.id.seq for published in self.deltas]

    def wait_for(self, seqs: Sequence[int]) -> None:
        """Wait until as many have come, and compare."""
        eventually(lambda: len(self.deltas) >= len(seqs), f"for {list(seqs)}, have {self.seqs}")
        assert self.seqs == list(seqs)


def real(match_id: str, *statuses: str, epoch: int = EPOCH) -> list[tuple[Published, bytes]]:
    """The deltas and snapshots of a real match that goes through these statuses."""
    replica = Replica.begin(match_id, epoch)
    steps = []
    for number, status in enumerate(statuses, 1):
        fields = {"match_id": match_id, "event_id": f"s{number}", "rev": 1, "op": "ADD"}
        fields |= {"type": "STATUS_CHANGE", "period": "H1", "minute": number, "detail": {"to": status}}
        made = replica.assign(Event.from_json(fields), epoch + number)
        assert made is not None
        steps.append((Published(made.id, encode_delta(made)), replica.snapshot()))
    return steps


class BusContract:
    """Subclasses supply ``open_again``: another client of the same bus, as another process would have."""

    @pytest.fixture
    def open_again(self) -> Callable[[], Bus]:
        raise NotImplementedError

    @pytest.fixture
    def bus(self, open_again: Callable[[], Bus]) -> Bus:
        return open_again()

    @pytest.fixture
    def match_id(self) -> str:
        return f"m-{uuid.uuid4()}"

    # Publishing

    def test_a_match_nobody_published_is_unknown(self, bus: Bus, match_id: str) -> None:
        assert bus.head(match_id) is None
        assert bus.snapshot(match_id) is None
        assert bus.replay(match_id, DeltaId(EPOCH, 0)) == Gap(None)
        assert match_id not in bus.matches()

    def test_what_was_published_is_there_for_everybody(
        self, bus: Bus, open_again: Callable[[], Bus], match_id: str
    ) -> None:
        assert publish(bus, match_id, 1, 2) == [True, True]
        other = open_again()
        assert other.head(match_id) == DeltaId(EPOCH, 2)
        assert other.heads([match_id, f"not-{match_id}"]) == {
            match_id: DeltaId(EPOCH, 2),
            f"not-{match_id}": None,
        }
        assert other.snapshot(match_id) == Snapshot(DeltaId(EPOCH, 2), snapshot_at(2))
        assert match_id in other.matches()

    def test_a_row_changes_with_its_match(
        self, bus: Bus, open_again: Callable[[], Bus], match_id: str
    ) -> None:
        reader = open_again().row_reader()
        assert reader.read() == RowUpdate({})
        other = f"other-{match_id}"
        for name in (match_id, other):
            for published, snapshot in real(name, "LIVE"):
                bus.publish(name, published, snapshot)
        first = reader.read()
        assert first.complete
        assert {name: row and (row.id, row.status) for name, row in first.rows.items()} == {
            match_id: (DeltaId(EPOCH, 1), "LIVE"),
            other: (DeltaId(EPOCH, 1), "LIVE"),
        }
        published, snapshot = real(match_id, "LIVE", "FT")[1]
        bus.publish(match_id, published, snapshot)
        row = reader.read().rows[match_id]
        assert row is not None
        assert (row.id, row.status, row.ended) == (DeltaId(EPOCH, 2), "FT", True)
        assert row.summary == summary_row(Replica.restore(snapshot).match)
        assert row.hash == Replica.restore(snapshot).hash()
        newcomer = open_again().row_reader().read()
        assert newcomer.rows[match_id] == row
        assert set(newcomer.rows) == {match_id, other}

    def test_bytes_come_back_as_they_were(self, bus: Bus, match_id: str) -> None:
        odd = '{"p":"Mandžukić \\u0000 ⚽"}'.encode() + b" \r\n\x00\xff"
        heard = Heard(bus, match_id)
        bus.publish(match_id, Published(DeltaId(EPOCH, 1), odd), odd * 10_000)
        assert bus.snapshot(match_id) == Snapshot(DeltaId(EPOCH, 1), odd * 10_000)
        assert bus.replay(match_id, DeltaId(EPOCH, 0)) == Suffix([Published(DeltaId(EPOCH, 1), odd)])
        heard.wait_for([1])
        assert heard.deltas[0].delta == odd

    def test_where_a_delta_comes_from_travels_beside_it(self, bus: Bus, match_id: str) -> None:
        """Live and in a replay; of a run some deltas may have it. A delta's own bytes stay as they are."""
        mine, odd = Provenance("msg_é ⚽", "scout-1", ""), b" 12 34\x00\xff"
        run = [
            Published(DeltaId(EPOCH, 1), b"{}", mine),
            Published(DeltaId(EPOCH, 2), odd),
            Published(
                DeltaId(EPOCH, 3), odd, Provenance(traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
            ),
        ]
        heard = Heard(bus, match_id)
        assert bus.refill(match_id, run, b"state") == 3
        bus.publish(match_id, delta(4), snapshot_at(4))
        heard.wait_for([1, 2, 3, 4])
        replay = bus.replay(match_id, DeltaId(EPOCH, 0))
        assert isinstance(replay, Suffix)
        for found in (heard.deltas, list(replay.deltas)):
            assert [(one.id, one.delta) for one in found[:3]] == [(one.id, one.delta) for one in run]
            assert [one.provenance for one in found] == [*(one.provenance for one in run), None]

    def test_a_run_that_is_partly_known_keeps_each_provenance_with_its_delta(
        self, bus: Bus, match_id: str
    ) -> None:
        run = [Published(DeltaId(EPOCH, seq), b"{}", Provenance(f"msg_{seq}")) for seq in range(1, 5)]
        bus.refill(match_id, run[:2], b"state")
        heard = Heard(bus, match_id)
        assert bus.refill(match_id, run, b"state") == 2
        heard.wait_for([3, 4])
        assert [one.provenance for one in heard.deltas] == [Provenance("msg_3"), Provenance("msg_4")]

    def test_ids_may_be_as_large_as_json_integers(self, bus: Bus, match_id: str) -> None:
        epoch = 2**53 - 1
        assert publish(bus, match_id, 1, 2, epoch=epoch) == [True, True]
        assert bus.replay(match_id, DeltaId(epoch, 1)) == Suffix([delta(2, epoch)])

    def test_redelivery_changes_nothing_and_tells_nobody(self, bus: Bus, match_id: str) -> None:
        heard = Heard(bus, match_id)
        publish(bus, match_id, 1, 2, 3)
        assert publish(bus, match_id, 3, 1, 2) == [False, False, False]
        assert bus.publish(match_id, delta(9, EPOCH - 1), b"older epoch") is False
        assert bus.snapshot(match_id) == Snapshot(DeltaId(EPOCH, 3), snapshot_at(3))
        assert bus.replay(match_id, DeltaId(EPOCH, 0)) == Suffix(run_of(1, 3))
        publish(bus, match_id, 4)
        heard.wait_for([1, 2, 3, 4])

    @pytest.mark.parametrize(("known", "offered"), [(0, 2), (0, 500), (3, 5), (3, 2**31)])
    def test_a_hole_is_refused_with_the_head(self, bus: Bus, match_id: str, known: int, offered: int) -> None:
        publish(bus, match_id, *range(1, known + 1))
        with pytest.raises(BusBehindError) as refused:
            publish(bus, match_id, offered)
        head = DeltaId(EPOCH, known) if known else None
        assert refused.value.head == head
        assert bus.head(match_id) == head
        assert (match_id in bus.matches()) == bool(known)

    def test_a_newer_epoch_replaces_the_older(self, bus: Bus, match_id: str) -> None:
        heard = Heard(bus, match_id)
        publish(bus, match_id, 1, 2, 3)
        assert publish(bus, match_id, 1, 2, epoch=EPOCH + 1) == [True, True]
        assert bus.head(match_id) == DeltaId(EPOCH + 1, 2)
        assert bus.replay(match_id, DeltaId(EPOCH, 2)) == Gap(DeltaId(EPOCH + 1, 2))
        assert bus.replay(match_id, DeltaId(EPOCH, 3)) == Gap(DeltaId(EPOCH + 1, 2))
        assert bus.replay(match_id, DeltaId(EPOCH + 1, 0)) == Suffix(run_of(1, 2, EPOCH + 1))
        assert publish(bus, match_id, 4) == [False]
        heard.wait_for([1, 2, 3, 1, 2])
        assert heard.gaps == []

    def test_a_newer_epoch_begins_at_its_first_delta(self, bus: Bus, match_id: str) -> None:
        publish(bus, match_id, 1)
        with pytest.raises(BusBehindError) as refused:
            publish(bus, match_id, 2, epoch=EPOCH + 1)
        assert refused.value.head == DeltaId(EPOCH, 1)

    def test_two_workers_publish_every_delta_once(
        self, bus: Bus, open_again: Callable[[], Bus], match_id: str
    ) -> None:
        heard = Heard(open_again(), match_id)
        done: list[bool] = []

        def work(worker: Bus) -> None:
            for seq in range(1, 61):
                done.extend(publish(worker, match_id, seq))

        threads = [threading.Thread(target=work, args=[worker]) for worker in (bus, open_again())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [False] * 60 + [True] * 60
        heard.wait_for(range(1, 61))
        assert bus.replay(match_id, DeltaId(EPOCH, 0)) == Suffix(run_of(1, 60))

    # Refilling

    def test_refill_brings_what_is_lacking(self, bus: Bus, match_id: str) -> None:
        heard = Heard(bus, match_id)
        assert bus.refill(match_id, run_of(1, 5), snapshot_at(5)) == 5
        assert bus.refill(match_id, run_of(1, 8), snapshot_at(8)) == 3
        assert bus.refill(match_id, run_of(7, 9), snapshot_at(9)) == 1
        assert bus.refill(match_id, run_of(2, 4), snapshot_at(4)) == 0
        assert bus.snapshot(match_id) == Snapshot(DeltaId(EPOCH, 9), snapshot_at(9))
        assert bus.replay(match_id, DeltaId(EPOCH, 0)) == Suffix(run_of(1, 9))
        assert match_id in bus.matches()
        heard.wait_for(range(1, 10))

    def test_refill_refuses_a_hole_before_it(self, bus: Bus, match_id: str) -> None:
        publish(bus, match_id, 1, 2)
        with pytest.raises(BusBehindError) as refused:
            bus.refill(match_id, run_of(4, 6), snapshot_at(6))
        assert refused.value.head == bus.head(match_id) == DeltaId(EPOCH, 2)

    @pytest.mark.parametrize(
        "deltas",
        [[], [delta(1), delta(3)], [delta(1), delta(1)], [delta(1), delta(2, EPOCH + 1)], [delta(0)]],
        ids=["none", "hole", "twice", "two epochs", "seq 0"],
    )
    def test_refill_refuses_what_is_no_run(self, bus: Bus, match_id: str, deltas: list[Published]) -> None:
        with pytest.raises(ValueError, match=r"delta|to come"):
            bus.refill(match_id, deltas, b"{}")
        assert bus.head(match_id) is None

    # Replay

    def test_replay_has_three_answers(self, bus: Bus, match_id: str) -> None:
        publish(bus, match_id, 1, 2, 3, 4)
        for seen in range(4):
            assert bus.replay(match_id, DeltaId(EPOCH, seen)) == Suffix(run_of(seen + 1, 4))
        assert bus.replay(match_id, DeltaId(EPOCH, 4)) == UpToDate()
        head = DeltaId(EPOCH, 4)
        for strange in (DeltaId(EPOCH, 5), DeltaId(EPOCH - 1, 2), DeltaId(EPOCH + 1, 2), DeltaId(0, 0)):
            assert bus.replay(match_id, strange) == Gap(head)

    def test_a_replay_that_was_trimmed_is_a_gap_and_never_a_part(self, bus: Bus, match_id: str) -> None:
        bus.refill(match_id, run_of(1, 3_000), snapshot_at(3_000))
        head = DeltaId(EPOCH, 3_000)
        assert bus.replay(match_id, DeltaId(EPOCH, 0)) == Gap(head)
        assert bus.replay(match_id, DeltaId(EPOCH, 100)) == Gap(head)
        assert bus.replay(match_id, DeltaId(EPOCH, 2_900)) == Suffix(run_of(2_901, 3_000))

    # Subscribing

    def test_subscribers_are_told_in_order(
        self, bus: Bus, open_again: Callable[[], Bus], match_id: str
    ) -> None:
        publish(bus, match_id, 1)
        elsewhere = open_again()
        heard = [Heard(bus, match_id), Heard(bus, match_id), Heard(elsewhere, match_id)]
        publish(bus, match_id, *range(2, 60))
        publish(elsewhere, match_id, *range(60, 80))
        for subscriber in heard:
            subscriber.wait_for(range(2, 80))
            assert subscriber.deltas == run_of(2, 79)

    def test_a_closed_subscription_is_silent(self, bus: Bus, match_id: str) -> None:
        heard, witness = Heard(bus, match_id), Heard(bus, match_id)
        publish(bus, match_id, 1)
        heard.wait_for([1])
        heard.subscription.close()
        heard.subscription.close()
        publish(bus, match_id, 2)
        witness.wait_for([1, 2])
        assert heard.seqs == [1]

    def test_one_may_come_back(self, bus: Bus, match_id: str) -> None:
        for seq in range(1, 12):
            heard = Heard(bus, match_id)
            publish(bus, match_id, seq)
            heard.wait_for([seq])
            heard.subscription.close()

    def test_a_callback_may_close_its_subscription(self, bus: Bus, match_id: str) -> None:
        received: list[Published] = []

        def once(published: Published) -> None:
            received.append(published)
            subscription.close()

        subscription = bus.subscribe(match_id, once)
        witness = Heard(bus, match_id)
        publish(bus, match_id, 1, 2)
        witness.wait_for([1, 2])
        assert received == [delta(1)]

    def test_matches_do_not_mix(self, bus: Bus, match_id: str) -> None:
        others = [f"{match_id[:40]}-{number}" for number in range(8)]
        heard = {other: Heard(bus, other) for other in others}
        for number, other in enumerate(others):
            publish(bus, other, *range(1, number + 2))
        for number, other in enumerate(others):
            heard[other].wait_for(range(1, number + 2))
        assert set(others) <= set(bus.matches())

    def test_subscribe_then_replay_loses_nothing(
        self, bus: Bus, open_again: Callable[[], Bus], match_id: str
    ) -> None:
        """Viewers come while deltas are published; each ends with all of them, once."""
        last = 150
        viewer_bus = open_again()
        publisher = threading.Thread(target=publish, args=[bus, match_id, *range(1, last + 1)])
        publisher.start()
        seen: list[tuple[list[Published], Heard]] = []
        while publisher.is_alive() or len(seen) < 3:
            heard = Heard(viewer_bus, match_id)
            answer = viewer_bus.replay(match_id, DeltaId(EPOCH, 0))
            seen.append((list(answer.deltas) if isinstance(answer, Suffix) else [], heard))
            time.sleep(0.01)
        publisher.join()
        for missed, heard in seen:

            def all_of_it(missed: list[Published] = missed, heard: Heard = heard) -> list[Published]:
                at = missed[-1].id.seq if missed else 0
                return missed + [published for published in heard.deltas if published.id.seq > at]

            eventually(lambda all_of_it=all_of_it: len(all_of_it()) >= last)  # type: ignore[misc]
            assert all_of_it() == run_of(1, last)

    def test_a_mark_is_there_for_everybody(self, open_again: Callable[[], Bus]) -> None:
        bus = open_again()
        assert not bus.is_complete()
        bus.mark_complete()
        assert bus.is_complete()
        assert open_again().is_complete()

    def test_a_bus_that_works_is_healthy(self, bus: Bus, match_id: str) -> None:
        publish(bus, match_id, 1)
        heard = Heard(bus, match_id)
        publish(bus, match_id, 2)
        heard.wait_for([2])
        eventually(lambda: bus.health() == BusHealth())

    # All of it against the reference

    def test_it_agrees_with_the_reference(self, bus: Bus) -> None:
        """Any mixture of publishing and refilling gives what it gives in memory."""

        @settings(max_examples=15)
        @given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(0, 3)), max_size=25))
        def agree(steps: list[tuple[int, int, int]]) -> None:
            match_id = f"m-{uuid.uuid4()}"
            model = MemoryBus()
            heard, expected = Heard(bus, match_id), Heard(model, match_id)
            for age, first, more in steps:
                deltas = run_of(first, first + more, EPOCH + age)
                answers = []
                for each in (bus, model):
                    try:
                        answers.append(str(each.refill(match_id, deltas, snapshot_at(first + more))))
                    except BusBehindError as error:
                        answers.append(f"behind {error.head}")
                assert answers[0] == answers[1]
                assert bus.snapshot(match_id) == model.snapshot(match_id)
                for seen in (DeltaId(EPOCH + age, first - 1), DeltaId(EPOCH + age, first + more)):
                    assert bus.replay(match_id, seen) == model.replay(match_id, seen)
            eventually(lambda: heard.deltas == expected.deltas)
            heard.subscription.close()

        agree()
