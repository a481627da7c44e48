"""A client that passes: ``python -m testkit.conformance.reference_client URL MATCH [--long-poll]``.

It reads the snapshot, then a stream or long-polls, and prints one line of JSON when the match has ended. It
is for those who write a client, and does all that docs/protocol.md asks of one in few lines.
"""

from __future__ import annotations

import json
import sys
import time

import httpx
from httpx_sse import EventSource, ServerSentEvent

from shared_state import DeltaId, Receipt, Replica, decode_delta
from shared_state.jsontext import JsonObject

__all__ = ["Client", "main"]

PATIENCE_S = 40.0
AGAIN_S = 0.1


class Client:
    """One viewer of one match.

    Args:
        url: the origin, with any prefix.
        match_id: the match.
    """

    def __init__(self, url: str, match_id: str) -> None:
        self._url = url.rstrip("/")
        self._match_id = match_id
        self._http = httpx.Client(timeout=httpx.Timeout(10.0, read=PATIENCE_S))
        self._replica: Replica | None = None
        # The newest id that anybody told of: no snapshot before it is believed.
        self._told: DeltaId | None = None

    def result(self) -> JsonObject:
        """What the kit compares."""
        assert self._replica is not None
        match = self._replica.match
        home, away = match.score
        return {
            "id": str(self._replica.position),
            "score": {"home": home, "away": away},
            "hash": self._replica.hash(),
        }

    def load(self) -> Replica:
        """The snapshot, asked for again while it is older than what was heard."""
        while True:
            answer = self._http.get(f"{self._url}/api/match/{self._match_id}/state")
            if answer.status_code == 200:
                found = Replica.restore(answer.content)
                told = self._told
                if told is None or found.position.epoch != told.epoch or found.position >= told:
                    self._replica, self._told = found, found.position
                    return found
            self._wait(answer)

    def stream(self) -> None:
        """Follow the stream until the match has ended."""
        replica = self.load()
        while True:
            address = f"{self._url}/stream/{self._match_id}?last_event_id={replica.position}"
            try:
                with self._http.stream("GET", address, headers={"Accept": "text/event-stream"}) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.status_code != 200:
                        self._wait(answer)
                        continue
                    for event in EventSource(answer).iter_sse():
                        if event.event == "end":
                            return
                        self._take(event)
                        assert self._replica is not None
                        replica = self._replica
            except httpx.TransportError:
                time.sleep(AGAIN_S)
            assert self._replica is not None
            replica = self._replica
            time.sleep(AGAIN_S)

    def _take(self, event: ServerSentEvent) -> None:
        assert self._replica is not None
        replica = self._replica
        if event.event == "score":
            id_ = DeltaId.parse(event.id)
            self._hear(id_)
            if replica.receive(decode_delta(self._match_id, id_, event.data)) is Receipt.NEED_SNAPSHOT:
                self.load()
        elif event.event in ("heartbeat", "gap") and event.data:
            value = json.loads(event.data)
            head = DeltaId(value["epoch"], value["seq"])
            self._hear(head)
            if event.event == "gap":
                if head != replica.position:
                    self.load()
            elif replica.check(head, value["hash"]) is Receipt.NEED_SNAPSHOT:
                self.load()

    def _hear(self, id_: DeltaId) -> None:
        if self._told is None or id_.epoch != self._told.epoch or id_ > self._told:
            self._told = id_

    def long_poll(self) -> None:
        """Follow ``next`` until the match has ended."""
        replica, slice_ = self.load(), 0
        while True:
            id_ = replica.position
            answer = self._http.get(f"{self._url}/api/match/{self._match_id}/deltas/{id_}/{slice_}")
            if answer.status_code == 410:
                self._hear(DeltaId.parse(answer.json()["error"]["head"]))
                replica = self.load()
                continue
            if answer.status_code != 200:
                self._wait(answer)
                continue
            value = answer.json()
            for text, delta in value["deltas"]:
                replica.receive(decode_delta(self._match_id, DeltaId.parse(text), json.dumps(delta)))
            if value.get("ended"):
                return
            slice_ = value["next"]["slice"]

    def _wait(self, answer: httpx.Response) -> None:
        """As long as the server says, else a moment."""
        after = answer.headers.get("Retry-After", "")
        time.sleep(float(after) if after.isdigit() else AGAIN_S)


def main(arguments: list[str]) -> int:
    """Follow a match to its end and print what is known then."""
    url, match_id, *more = arguments
    client = Client(url, match_id)
    if "--long-poll" in more:
        client.long_poll()
    else:
        client.stream()
    print(json.dumps(client.result()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
