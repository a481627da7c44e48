"""Calls on several servers: one that hangs is not waited for, and a server has one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from origin.bus.server_calls import ServerCalls
from origin.errors import BusError


@pytest.fixture
def calls() -> Iterator[ServerCalls]:
    calls = ServerCalls()
    yield calls
    calls.close()


def test_a_server_that_hangs_refuses_its_own_calls_until_its_call_ends(calls: ServerCalls) -> None:
    answers = threading.Event()
    took: list[str] = []

    def hang() -> None:
        answers.wait(30)
        took.append("late")

    with pytest.raises(BusError, match=r"server a .* within 0\.01 s"):
        calls.call("a", hang, 0.01)
    assert calls.is_busy("a")
    with pytest.raises(BusError, match=r"server a .* earlier call"):
        calls.call("a", lambda: took.append("never"))
    assert calls.call("b", lambda: "of another server", 30) == "of another server"
    answers.set()
    assert calls.submit("a", lambda: "after it").result(30) == "after it"
    assert not calls.is_busy("a")
    assert not calls.any_busy
    assert calls.call("a", lambda: "again", 30) == "again"
    assert took == ["late"]


def test_an_error_of_a_call_is_raised_in_its_caller(calls: ServerCalls) -> None:
    def fail() -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        calls.call("a", fail, 30)
    assert calls.call("a", lambda: 1, 30) == 1


def test_closed_calls_are_refused_and_their_threads_end(calls: ServerCalls) -> None:
    thread = calls.call("a", threading.current_thread, 30)
    calls.close()
    with pytest.raises(BusError, match="closed"):
        calls.call("a", lambda: 1)
    thread.join(30)
    assert not thread.is_alive()
