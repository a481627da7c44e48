"""From a vendor that misbehaves to somebody who watches the page, over every tier there is.

    vendor ─► ``touchline ingest`` ─► Kafka ─► ``touchline fanout`` ×2 ─► Redis ─► ``touchline serve`` ─► SSE

``test_vendor_faults.py`` does every fault of ``vendor_faults.py`` once and briefly; ``bench/bench_cluster.py
vendor`` does them for longer. Each is done on three ways at once, with a match of its own on each: F24
polled, a Sportradar timeline polled, and a timeline with the push stream. A viewer keeps what it was told
and when, and is compared with the log and the vendor's last document only at the end.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from origin.bus import Published
from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.memory import wall_clock_ms
from origin.feedworker.intake import DELAYED_ID
from shared_state import DeltaId, Event, Match, Replica, decode_delta, encode_delta, fold, match_hash
from shared_state.jsontext import canonical
from testkit.services.feedworker import alone, match_id_of, seen
from testkit.services.kafka import KafkaBroker
from testkit.services.origin import OriginServer
from testkit.services.process import ServerProcess
from testkit.services.vendor import KEY, Vendor
from testkit.services.vendor_matches import OptaMatch, SportradarMatch
from testkit.worlds.regions import ROOT, Outcome, Regions

__all__ = ["WAYS", "Chain", "Play"]

PATIENCE_S = 60.0
INTERVAL_S = 0.25  # between two polls
ACT_S = 0.3  # between two things that happen in a match
# Rows of the match that are kept for its end: its whistle must not come before the fault has.
LAST_ROWS = 5
ENDS_STREAM = frozenset({"garbage", "half", "cut"})
WAYS: dict[str, tuple[type[OptaMatch | SportradarMatch], bool]] = {
    "opta-f24 polled": (OptaMatch, False),
    "sportradar-v4 polled": (SportradarMatch, False),
    "sportradar-v4 pushed": (SportradarMatch, True),
}


class Chain:
    """All between the vendors' workers and the viewers, up for as long as the block."""

    def __init__(self, kafka: KafkaBroker, directory: Path) -> None:
        self.directory = directory
        self.regions = Regions(kafka, directory, names=("eu",))
        env = {"EVENTLOG_URL": self.regions.log_url, "BUS_URL": self.regions["eu"].redis.url}
        self.origin = OriginServer(directory, env=env)

    def __enter__(self) -> Chain:
        try:
            self.regions.complete()
            self.origin.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.origin.stop()
        self.regions.stop()

    def letters(self, *sources: str) -> list[DeadLetter]:
        """The dead letters of these sources."""
        pending = self.regions.log.dead_letters().pending()
        return [letter for letter in pending if letter.reason.startswith(sources)]

    def discard(self, letters: Iterable[DeadLetter]) -> None:
        """As ``touchline dlq discard``: the same bytes of the same source would not be kept anew."""
        for letter in letters:
            self.regions.log.dead_letters().remove(letter)


class Watcher:
    """One SSE connection from the first delta on, over a bare socket: whatever comes is kept, and counted."""

    def __init__(self, port: int, match_id: str, epoch: int) -> None:
        self.told: list[tuple[int, Published]] = []  # when, and what
        self.others: list[str] = []  # events that are neither a score nor a heartbeat
        self.ended = False
        self._match_id = match_id
        self._replica = Replica.begin(match_id, epoch)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self._connection.request("GET", f"/stream/{match_id}?last_event_id={epoch}-0")
        assert isinstance(self._connection.sock, socket.socket)
        self._socket = self._connection.sock  # a response takes it away from its connection
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def match(self) -> Match:
        """As this viewer sees it now."""
        return self._replica.match

    @property
    def replica(self) -> Replica:
        return self._replica

    def close(self) -> None:
        self.ended = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._response.close()
        self._connection.close()

    def _listen(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self._response:
                name, _, value = line.decode().rstrip("\r\n").partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                    continue
                self._take(fields)
                fields = {}
        except (OSError, http.client.HTTPException) as error:
            fields = {"event": repr(error)}
        if not self.ended:
            self.others.append(f"the stream ended: {fields}")

    def _take(self, fields: dict[str, str]) -> None:
        event = fields.get("event", "")
        if event == "score":
            published = Published(DeltaId.parse(fields["id"]), fields["data"].encode())
            self.told.append((wall_clock_ms(), published))
            self._replica.receive(decode_delta(self._match_id, published.id, published.delta))
        elif event not in ("heartbeat", ""):
            self.others.append(event)


class Play:
    """One match of one vendor on one way, played while something happens to it.

    Attributes:
        notes: what was seen on the way that the table has no column for, in seconds.
    """

    def __init__(self, chain: Chain, way: str, *, silence_s: float, seed: int) -> None:
        kind, self.pushes = WAYS[way]
        self.chain = chain
        self.way = way
        self.notes: dict[str, float] = {}
        game = kind()
        game.number = str(10**9 + uuid.uuid4().int % 10**9)
        self.match_id = match_id_of(game)
        self.vendor = Vendor(game)
        self.game = game
        self._silence_s = silence_s
        self._draw = random.Random(seed)
        self._offered: dict[str, list[tuple[int, str | None]]] = defaultdict(list)
        self._begun_ms = 0
        self._mine: set[str] = set()  # goals that only the fault touches
        self._over = threading.Event()
        self._playing = threading.Thread(target=self._play_on, daemon=True)
        self.worker: ServerProcess | None = None
        self.viewer: Watcher | None = None

    def __enter__(self) -> Play:
        try:
            self.vendor.__enter__()
            self.act("advance", 4)
            self.start_worker()
            state: list[bytes] = []

            def begun() -> bool:
                status, body = self.chain.origin.get(f"/api/match/{self.match_id}/state")
                state.append(body)
                return status == 200

            self.wait(begun, "the first of the match", every_s=0.1)
            epoch = json.loads(state[-1])["epoch"]
            self.viewer = Watcher(self.chain.origin.port, self.match_id, epoch)
            if self.pushes:
                self.wait(lambda: self.vendor.streams, "the push stream")
            self._begun_ms = wall_clock_ms()
        except BaseException:
            self.__exit__()
            raise
        self._playing.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        if self._playing.is_alive():
            self._playing.join(10)
        if self.viewer is not None:
            self.viewer.close()
        if self.worker is not None:
            self.worker.stop()
        self.vendor.__exit__(None, None, None)

    # What happens ---------------------------------------------------------------------------------

    def act(self, action: str, times: int = 1) -> None:
        """Something happens in the match; from now on the vendor's document has it."""
        for _ in range(times):
            with self.vendor.lock:
                now_ms = wall_clock_ms()
                self.vendor.act(action)
                contents = _contents(alone(self.vendor))
                for event_id in contents.keys() | self._offered.keys():
                    told, text = self._offered[event_id], contents.get(event_id)
                    if not told or told[-1][1] != text:
                        told.append((now_ms, text))

    def delete(self, event_id: str) -> None:
        """The vendor takes this goal back, its own way."""
        with self.vendor.lock:
            row = next(row for row in self.game.goals() if str(row["id"]) == event_id)
            self.game.rows.remove(row)
            self.game.rows.append(row)  # where it stands in the list means nothing
            self.act("delete")

    def invent(self) -> str:
        """A goal that is none, and that nobody edits meanwhile; its id."""
        with self.vendor.lock:
            self.act("invent")
            event_id = str(self.game.goals()[-1]["id"])
            self._mine.add(event_id)
            return event_id

    def start_worker(self) -> None:
        """``touchline ingest`` of this match."""
        argv = [sys.executable, "-W", "error", "-m", "origin", "ingest", "--feed", self.game.feed]
        argv += ["--match", self.match_id, "--interval", str(INTERVAL_S), "--interval-over", str(INTERVAL_S)]
        argv += ["--silence", str(self._silence_s)]
        env = {
            "EVENTLOG_URL": self.chain.regions.log_url,
            "PYTHONPATH": str(ROOT),
            "TOUCHLINE_FEED_URL": self.vendor.template,
            "TOUCHLINE_FEED_KEY": KEY,
        }
        if self.pushes:
            env["TOUCHLINE_FEED_PUSH_URL"] = self.vendor.push_url
        self.worker = ServerProcess(
            argv, log_path=self.chain.directory / f"ingest-{self.match_id}.log", env=env, cwd=ROOT
        )

    def restart_worker(self) -> None:
        """``kill -9``, and another; returns when that has read a document."""
        assert self.worker is not None
        self.worker.kill()
        self.start_worker()
        self._read_well()

    def fail(self, *faults: str) -> None:
        """The vendor's next documents meet these; returns when each was met, and one was good again."""
        for fault in faults:
            self.vendor.fail(fault)
            self.wait(lambda: not self.vendor.pending_faults, f"{fault} to be met")
            self._read_well()

    def _read_well(self) -> None:
        met = len(self.vendor.requests)
        self.wait(lambda: any(request.what == "ok" for request in self.vendor.requests[met:]), "a good one")

    def fail_push(self, *faults: str) -> None:
        """The next pushed messages meet these; returns when each was sent to somebody who listens."""
        for fault in faults:
            self.wait(lambda: self.vendor.streams, "the push stream")
            before = list(self.vendor.streams)
            self.vendor.fail_push(fault)
            self.wait(lambda: not self.vendor.pending_push_faults, f"{fault} to be pushed")
            if fault in ENDS_STREAM:  # the vendor may not have noticed that nobody reads the old one
                self.wait(lambda b=before: set(self.vendor.streams) - set(b), "another push stream")  # type: ignore[misc]

    def wait(self, check: Callable[[], object], what: str, *, every_s: float = 0.02) -> float:
        """Wait until something holds; for how long it did not, seconds."""
        begun_s = time.monotonic()
        while not check():
            waited_s = time.monotonic() - begun_s
            assert waited_s < PATIENCE_S, f"{self.way}: waited {waited_s:.0f} s for {what}; {self._shown()}"
            assert self.worker is None or self.worker.running, self._shown()
            time.sleep(every_s)
        return time.monotonic() - begun_s

    def standing(self) -> set[str]:
        """The ids of the goals that the viewer sees."""
        assert self.viewer is not None
        return {event.event_id for event in self.viewer.match.events() if event.type == "GOAL"}

    @property
    def status(self) -> str:
        """The status that the viewer sees."""
        assert self.viewer is not None
        return self.viewer.match.status

    def page(self) -> str:
        """The page of the match, as a reader without JavaScript has it."""
        status, body = self.chain.origin.get(f"/match/{self.match_id}")
        assert status == 200
        return body.decode()

    # The end --------------------------------------------------------------------------------------

    def settle(self) -> Outcome:
        """All is well and the match ends: wait until the viewer is where the vendor is, and compare.

        The gap counts from a change's being in the vendor's document; ``gaps`` counts an end of the stream,
        too; and ``equal`` includes that what stands has the hash of the last document alone.
        """
        assert self.viewer is not None
        viewer = self.viewer
        self._over.set()
        self._playing.join(10)
        self.vendor.heal()
        self.act("advance", len(self.game.to_come))
        final = alone(self.vendor)
        assert final.status == "FT"
        self.wait(
            lambda: seen(viewer.match) == seen(final), "the vendor's last document at the viewer", every_s=0.1
        )
        records = list(self.chain.regions.log.read_match(self.match_id))
        log = Replica.begin(self.match_id, records[0].appended_ms)
        deltas = [delta for r in records if (delta := log.assign(r.event, r.appended_ms)) is not None]
        self.wait(lambda: viewer.replica.position == log.position, "the last delta")
        told = [published for _, published in viewer.told]
        seqs = [published.id.seq for published in told]
        page = self.chain.origin.state(self.match_id)
        return Outcome(
            gap_s=max(self._late_ms()) / 1000,
            deltas=len(told),
            lost=len(set(range(1, log.position.seq + 1)) - set(seqs)),
            twice=len(seqs) - len(set(seqs)),
            gaps=len(viewer.others),
            equal=viewer.replica.hash() == log.hash() == page["hash"]
            and _hash_of_what_stands(viewer.match) == _hash_of_what_stands(final),
            same=told == [Published(delta.id, encode_delta(delta)) for delta in deltas],
        )

    def strange(self) -> list[str]:
        """What the viewer was told and no good document ever said, or none any more."""
        assert self.viewer is not None
        found = []
        reached: dict[str, int] = {}  # of what the vendor said of each event, one after the other
        # A goal that was entered again keeps its first id (decision 55), and says what a later id said.
        goals = {_without_id(text) for of_one in self._offered.values() for _, text in of_one if text}
        for _, published in self.viewer.told:
            event = decode_delta(self.match_id, published.id, published.delta).event
            text, event_id = _text(event), event.event_id
            said = [one for _, one in self._offered[event_id]]
            # The end of a VAR check stands alone while only it was pushed.
            paired = any('"type":"VAR"' in (one or "") for one in (*said, text))
            nothing = text is None and not any(said)  # it takes back what never was shown
            if event_id == DELAYED_ID or paired or nothing:
                continue
            at = reached.get(event_id, 0)
            if text in said[at:]:
                reached[event_id] = said.index(text, at)
            elif event.type != "GOAL" or text is None or _without_id(text) not in goals:
                found.append(published.delta.decode())
        return found

    def strangers(self) -> list[str]:
        """The matches that only a vendor's faults speak of: they must not come to be."""
        prefix, _, number = self.match_id.partition("-")
        return [f"{prefix}-{digit}{number}" for digit in (7, 9)]

    def letters(self) -> list[DeadLetter]:
        """The dead letters of this match, and of the stream if it has one."""
        sources = [f"{self.game.feed} {self.match_id}: "]
        return self.chain.letters(*sources, *([f"{self.game.feed} push stream: "] if self.pushes else []))

    def _late_ms(self) -> list[int]:
        """For each change of what stands, from its being in the vendor's document to the viewer."""
        assert self.viewer is not None
        late = [0]
        for told_ms, published in self.viewer.told:
            event = decode_delta(self.match_id, published.id, published.delta).event
            offered = self._offered[event.event_id]
            at_ms = [at for at, text in offered if text == _text(event) and at <= told_ms]
            if at_ms and at_ms[-1] > self._begun_ms:
                late.append(told_ms - at_ms[-1])
        return late

    def _play_on(self) -> None:
        """Goals that come, are edited and turn out to be none, and the match's own rows in between."""
        while not self._over.wait(ACT_S * self._draw.uniform(0.5, 1.5)):
            action = self._draw.choice(("advance", "advance", "invent", "touch", "touch", "retype"))
            if action == "advance" and len(self.game.to_come) <= LAST_ROWS:
                action = "touch"
            with self.vendor.lock:
                last = [str(row["id"]) for row in self.game.goals()[-1:]]
                self.act(
                    "invent" if action in ("touch", "retype") and self._mine.issuperset(last) else action
                )

    def _shown(self) -> str:
        log = self.chain.directory / f"ingest-{self.match_id}.log"
        seen_by = "nobody" if self.viewer is None else str(seen(self.viewer.match))
        return f"the viewer sees {seen_by}\n{log.read_text()[-3000:] if log.exists() else ''}"


def _text(event: Event) -> str | None:
    """What an event says, without how often and when it was said; None for one that takes back."""
    if event.op == "RETRACT":
        return None
    hidden = ("rev", "op", "source_ts")
    return canonical({key: value for key, value in event.body().items() if key not in hidden})


def _without_id(text: str) -> str:
    """A text of ``_text`` without the event's id."""
    return canonical({key: value for key, value in json.loads(text).items() if key != "event_id"})


def _words(event: Event) -> str:
    """What an event says, without its id."""
    return _text(replace(event, event_id="-")) or ""


def _contents(match: Match) -> dict[str, str | None]:
    return {event.event_id: _text(event) for event in match.events()}


def _hash_of_what_stands(match: Match) -> str:
    """The reducer's own hash, of what stands as if it had been said once.

    The last document does not know what was taken back, nor how often a row was edited or first entered. Nor
    does it know the first id of a goal that was entered again (decision 55): goals have numbers by words.
    """
    once = [replace(event, rev=1, op="ADD", source_ts=None) for event in match.events()]
    goals = sorted((event for event in once if event.type == "GOAL"), key=_words)
    once = [event for event in once if event.type != "GOAL"]
    once += [replace(goal, event_id=f"goal {number}") for number, goal in enumerate(goals)]
    return match_hash(fold(match.match_id, once))
