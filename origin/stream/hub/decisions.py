"""What the hub decides about a request, as a value: the connection's owner carries it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from origin.errors import RequestError
from origin.stream.http.stream_request import StreamRequest

if TYPE_CHECKING:
    from origin.stream.hub.subscribers import Subscribers
    from shared_state import DeltaId

__all__ = ["Admit", "Answer", "Decision", "Join", "Park", "Refuse", "Reply", "Ticket"]


class Answer(NamedTuple):
    """What one viewer gets before the deltas that all get.

    Attributes:
        name: ``up_to_date``, ``replay`` or ``gap``: the name in the metrics.
        frames: the bytes of it; empty if it missed nothing.
    """

    name: str
    frames: bytes


class Admit(NamedTuple):
    """It becomes a viewer of these subscribers, and gets this answer first.

    Attributes:
        end: what it gets at last, where the match is over; its stream ends with it.
    """

    subscribers: Subscribers
    answer: Answer
    end: bytes = b""


class Join(NamedTuple):
    """A viewer of several matches gets this answer to one of them, and its deltas from then on."""

    answer: Answer


class Reply(NamedTuple):
    """It gets these bytes, and that is the whole answer."""

    data: bytes
    keep_alive: bool


class Refuse(NamedTuple):
    """It gets an error.

    Attributes:
        with_body: False for the answer to a HEAD.
    """

    error: RequestError
    keep_alive: bool = False
    with_body: bool = True


class Ticket:
    """A request that waits until its answer is known.

    Attributes:
        resolve: called once, with what was decided in the end; set by the connection's owner, who takes the
            ticket.
        deadline_s: when it is refused at the latest, on the monotonic clock.
        group: the tickets that wait for the same thing, this one among them; None once it waits for nothing.
        waits_for: the id that the match has to reach first, if that is what it waits for.
    """

    __slots__ = ("address", "deadline_s", "group", "request", "resolve", "waits_for")

    resolve: Callable[[Decision], None]

    def __init__(self, request: StreamRequest, address: str, deadline_s: float) -> None:
        self.request = request
        self.address = address
        self.deadline_s = deadline_s
        self.group: dict[Ticket, None] | None = None
        self.waits_for: DeltaId | None = None


class Park(NamedTuple):
    """Its answer is not known yet.

    The owner sets ``ticket.resolve``, and calls ``cancel`` if the client leaves.
    """

    ticket: Ticket
    cancel: Callable[[Ticket], None]


Decision = Admit | Join | Reply | Refuse | Park
