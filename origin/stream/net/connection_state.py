"""The life of a connection as data: its states, what can happen to it, and what follows in each state.

This is the one place that says so. ``TRANSITIONS`` is the graph of the states; ``REACTIONS`` has a row for
every happening in every state, and whoever handles a socket's events looks the answer up there. The idea is
that of h11's states and of werkzeug's multipart decoder: a protocol is a table, not a set of flags.

    READING_HEAD ─► READING_BODY ─► WITH_THREAD ─► ANSWERING ─► READING_HEAD (keep-alive)
         │                                │             └─────► LINGERING ─► CLOSED
         ├─► PARKED ─► STREAMING          └─► (as from ANSWERING)
         └─► STREAMING, LINGERING

A connection in ``STREAMING`` has no object of its own: its socket is in ``Subscribers``, and that is its
state. What a viewer costs is memory times 50,000, so the table is kept and the object is not.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from enum import Enum
from typing import Final

__all__ = ["REACTIONS", "TRANSITIONS", "Happening", "IllegalTransition", "Reaction", "State", "happening_of"]


class State(Enum):
    """Where a connection is."""

    READING_HEAD = "reading head"  #: a request is to come, or a part of its head has come
    READING_BODY = "reading body"  #: the head of a page request is there, its body is not
    PARKED = "parked"  #: a stream request whose answer depends on the bus
    STREAMING = "streaming"  #: a viewer
    WITH_THREAD = "with thread"  #: a thread computes the answer; the socket is in no epoll set
    ANSWERING = "answering"  #: the loop sends what of an answer the kernel did not take at once
    LINGERING = "lingering"  #: everything was sent; the client has yet to see the end
    CLOSED = "closed"  #: the socket is closed


class Happening(Enum):
    """What can happen to a connection."""

    READABLE = "readable"  #: bytes came
    PEER_ENDED = "peer ended"  #: the client will send no more (FIN, EPOLLRDHUP); it may still read
    GONE = "gone"  #: the connection is reset or closed on both sides (EPOLLERR, EPOLLHUP)
    WRITABLE = "writable"  #: there is room to send again
    DEADLINE = "deadline"  #: its time is up
    EVICTED = "evicted"  #: its file or its memory is needed by others
    MISTAKE = "mistake"  #: our code raised an exception


class Reaction(Enum):
    """What is done about it."""

    READ = "read"  #: take what came, and act on it
    PROBE = "probe"  #: send a few bytes: a client that only ended its side takes them, one that left resets
    SEND = "send"  #: send what waits
    DISCARD = "discard"  #: take what came, and throw it away
    IGNORE = "ignore"  #: nothing: what came stays in the kernel, which bounds it
    REFUSE = "refuse"  #: answer with the error that says why, and linger
    CLOSE = "close"  #: close at once


class IllegalTransition(RuntimeError):
    """Our code moved a connection along an edge that the graph does not have."""

    def __init__(self, before: State, after: State) -> None:
        super().__init__(f"a connection cannot go from {before.value!r} to {after.value!r}")


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.READING_HEAD: frozenset(
        {
            *(State.READING_HEAD, State.READING_BODY, State.PARKED, State.STREAMING, State.WITH_THREAD),
            *(State.ANSWERING, State.LINGERING, State.CLOSED),
        }
    ),
    State.READING_BODY: frozenset({State.WITH_THREAD, State.LINGERING, State.CLOSED}),
    State.PARKED: frozenset(
        {State.STREAMING, State.READING_HEAD, State.ANSWERING, State.LINGERING, State.CLOSED}
    ),
    State.STREAMING: frozenset({State.LINGERING, State.CLOSED}),
    State.WITH_THREAD: frozenset(
        {State.ANSWERING, State.READING_HEAD, State.PARKED, State.STREAMING, State.LINGERING, State.CLOSED}
    ),
    State.ANSWERING: frozenset({State.READING_HEAD, State.LINGERING, State.CLOSED}),
    State.LINGERING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}

_H, _R = Happening, Reaction
REACTIONS: Final[Mapping[State, Mapping[Happening, Reaction]]] = {
    State.READING_HEAD: {
        _H.READABLE: _R.READ,
        _H.PEER_ENDED: _R.READ,  # a whole request is answered; half of one can never become whole
        _H.GONE: _R.CLOSE,  # there is nobody to answer
        _H.WRITABLE: _R.IGNORE,
        _H.DEADLINE: _R.REFUSE,  # 408; a connection on which nothing came is closed without a word
        _H.EVICTED: _R.CLOSE,
        _H.MISTAKE: _R.CLOSE,
    },
    State.READING_BODY: {
        _H.READABLE: _R.READ,
        _H.PEER_ENDED: _R.READ,
        _H.GONE: _R.CLOSE,
        _H.WRITABLE: _R.IGNORE,
        _H.DEADLINE: _R.REFUSE,
        _H.EVICTED: _R.REFUSE,  # 503: send it again
        _H.MISTAKE: _R.CLOSE,
    },
    State.PARKED: {
        _H.READABLE: _R.IGNORE,
        _H.PEER_ENDED: _R.IGNORE,  # it asked, and is answered
        _H.GONE: _R.CLOSE,
        _H.WRITABLE: _R.IGNORE,
        _H.DEADLINE: _R.REFUSE,
        _H.EVICTED: _R.REFUSE,
        _H.MISTAKE: _R.CLOSE,
    },
    State.STREAMING: {
        _H.READABLE: _R.READ,  # an SSE viewer has nothing to say, a WebSocket viewer has frames
        _H.PEER_ENDED: _R.PROBE,
        _H.GONE: _R.CLOSE,
        _H.WRITABLE: _R.SEND,
        _H.DEADLINE: _R.CLOSE,  # it takes nothing; it resumes by id
        _H.EVICTED: _R.CLOSE,
        _H.MISTAKE: _R.CLOSE,
    },
    State.WITH_THREAD: {
        # Its socket is in no epoll set, and a thread is never interrupted: nothing reaches it but its own
        # end.
        _H.READABLE: _R.IGNORE,
        _H.PEER_ENDED: _R.IGNORE,
        _H.GONE: _R.IGNORE,
        _H.WRITABLE: _R.IGNORE,
        _H.DEADLINE: _R.IGNORE,
        _H.EVICTED: _R.IGNORE,
        _H.MISTAKE: _R.CLOSE,
    },
    State.ANSWERING: {
        _H.READABLE: _R.IGNORE,
        _H.PEER_ENDED: _R.IGNORE,  # a client that has sent everything still reads
        _H.GONE: _R.CLOSE,
        _H.WRITABLE: _R.SEND,
        _H.DEADLINE: _R.CLOSE,
        _H.EVICTED: _R.CLOSE,
        _H.MISTAKE: _R.CLOSE,
    },
    State.LINGERING: {
        _H.READABLE: _R.DISCARD,
        _H.PEER_ENDED: _R.CLOSE,
        _H.GONE: _R.CLOSE,
        _H.WRITABLE: _R.IGNORE,
        _H.DEADLINE: _R.CLOSE,
        _H.EVICTED: _R.CLOSE,
        _H.MISTAKE: _R.CLOSE,
    },
    State.CLOSED: dict.fromkeys(Happening, _R.IGNORE),
}

_GONE_MASK: Final = select.EPOLLHUP | select.EPOLLERR


def happening_of(mask: int) -> Happening:
    """The happening that an epoll mask reports; of several, the most final one.

    Bytes that came before a FIN are read with it: ``PEER_ENDED`` says that an end follows them.
    """
    if mask & _GONE_MASK:
        return Happening.GONE
    if mask & select.EPOLLRDHUP:
        return Happening.PEER_ENDED
    return Happening.READABLE if mask & select.EPOLLIN else Happening.WRITABLE
