"""The WebSocket of the console on a real ``touchline serve``: acknowledgements, presence, bounds, the end."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from origin.console.accounts import Accounts
from origin.console.match_socket import MESSAGE_MAX_BYTES, MESSAGES_BURST
from origin.console.routes import WINDOWS_OF_OPERATOR_MAX
from shared_state.jsontext import JsonObject
from testkit.console import PASSWORD, Operator, Window, console_env
from testkit.services.origin import OriginServer

MATCH = "ajax-psv"

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[OriginServer]:
    with OriginServer(directory, env=console_env(directory, "ana", "ben", "cleo", "dora")) as server:
        yield server


@pytest.fixture
def ana(server: OriginServer) -> Iterator[Operator]:
    with Operator(server) as operator:
        operator.sign_in("ana")
        yield operator


@pytest.fixture
def window(ana: Operator) -> Iterator[Window]:
    window = ana.open(MATCH)
    with window.connection:
        window.wait_for(lambda message: message["t"] == "match")
        yield window


def goal(event_id: str, base_rev: int = 0, op: str = "ADD", **fields: object) -> JsonObject:
    body = {"type": "GOAL", "minute": 12, "team": "home", "player": "Taylor"}
    return {"op": op, "event_id": event_id, "base_rev": base_rev, **body, **fields}


def closed_with(window: Window, timeout_s: float = 20.0) -> int:
    """Read to the end; the code of the close."""
    with pytest.raises(ConnectionClosed) as closed:
        window.wait_for(lambda _: False, timeout_s)
    assert closed.value.rcvd is not None, "it was closed without a word"
    return int(closed.value.rcvd.code)


def test_an_entry_is_acknowledged_once_it_is_in_the_log_and_then_viewers_have_it(
    window: Window, server: OriginServer
) -> None:
    logged = window.enter(goal("seen-by-all"), id_="entry-seen-1")
    assert (logged["t"], logged["duplicate"], logged["revs"]) == ("logged", False, {"seen-by-all": 1})
    assert window.received[-2]["t"] == "match", "the match with the event comes before its acknowledgement"
    assert window.enter(goal("seen-by-all"), id_="entry-seen-1")["duplicate"] is True
    counted = server.get("/metrics")[1].decode()
    assert re.search(
        r'^touchline_ingest_accepted_events_total\{feed="console"\} [1-9]', counted, re.MULTILINE
    )
    state = server.wait_for_seq(MATCH, 1)
    assert "seen-by-all" in [event["event_id"] for event in state["events"]]


def test_an_entry_whose_answer_was_lost_is_in_the_log_once(ana: Operator, window: Window) -> None:
    lost = ana.open(MATCH)
    lost.say({"t": "entry", "id": "entry-lost-1", "changes": [goal("lost")]})
    lost.connection.socket.shutdown(socket.SHUT_RDWR)
    lost.connection.close()
    answer = window.enter(goal("lost"), id_="entry-lost-1")
    assert answer["t"] == "logged"
    found = [one for one in ana.records(MATCH) if one["webhook_id"] == "entry-lost-1"]
    assert [one["key"] for one in found] == ["console:ana"]


def test_a_conflict_is_refused_with_what_the_log_has(window: Window, server: OriginServer) -> None:
    window.enter(goal("shared"))
    with Operator(server) as ben:
        ben.sign_in("ben")
        other = ben.open(MATCH)
        with other.connection:
            assert other.enter(goal("shared", 1, "AMEND", player="Godts"))["t"] == "logged"
    refused = window.enter(goal("shared", 1, "AMEND", player="Weghorst"))
    assert (refused["t"], refused["code"], refused["again"]) == ("refused", "conflict", False)
    assert refused["conflicts"][0]["by"] == "console:ben"
    assert refused["conflicts"][0]["theirs"]["player"] == "Godts"
    # The window has the other's version without asking.
    seen = [message for message in window.received if message["t"] == "match"][-1]
    assert "Godts" in json.dumps(seen)


def test_what_is_no_event_is_refused_by_name_and_the_window_stays(window: Window) -> None:
    refused = window.enter(goal("bad", minute=-1))
    assert refused["code"] == "invalid_event"
    assert "minute" in refused["message"]
    assert window.enter(goal("after-bad"))["t"] == "logged"


def test_operators_see_each_other_and_what_each_is_changing(window: Window, server: OriginServer) -> None:
    def names(message: object) -> list[tuple[str, str]]:
        assert isinstance(message, dict)
        return [(one["operator"], one["editing"]) for one in message.get("operators", ())]

    with Operator(server) as ben:
        ben.sign_in("ben")
        other = ben.open(MATCH)
        with other.connection:
            window.wait_for(lambda message: ("ben", "") in names(message))
            other.say({"t": "editing", "event_id": "shared"})
            window.wait_for(lambda message: ("ben", "shared") in names(message))
    window.wait_for(lambda message: message["t"] == "operators" and "ben" not in str(names(message)))


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_another_site_opens_no_window(ana: Operator, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        ana.open(MATCH, origin=origin)
    assert refused.value.response.status_code == 403


def test_a_stranger_opens_no_window(server: OriginServer) -> None:
    with Operator(server) as stranger, pytest.raises(InvalidStatus) as refused:
        stranger.open(MATCH)
    assert refused.value.response.status_code == 401


def test_a_message_that_is_too_large_ends_its_window(ana: Operator) -> None:
    large = ana.open(MATCH)
    with large.connection:
        large.connection.send("x" * (MESSAGE_MAX_BYTES + 1))
        assert closed_with(large) == 1009


def test_a_window_that_reads_nothing_is_closed(ana: Operator, window: Window, server: OriginServer) -> None:
    """Its socket's buffers fill, and then nothing of it is taken."""
    cookie = "; ".join(f"{name}={value}" for name, value in ana.http.cookies.items())
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        silent.settimeout(90)
        silent.connect(("127.0.0.1", server.port))
        silent.sendall(
            f"GET /console/ws/{MATCH} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: {server.url}\r\n"
            f"Cookie: {cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        window.wait_for(lambda message: len(message.get("operators", ())) == 2)
        notes = [f"note-{number}" for number in range(60)]
        for number, note in enumerate(notes):
            change = {"op": "ADD", "event_id": note, "base_rev": 0, "type": "NOTE", "period": "H1"}
            window.enter({**change, "detail": {"text": "x" * 2_000}}, id_=f"entry-{number:06}")
        # It is gone from the operators without having said a word.
        window.wait_for(lambda message: len(message.get("operators", (0, 0))) == 1, timeout_s=60)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"t":"shout"}', '{"t":' * 500])
def test_what_is_no_message_ends_its_window(ana: Operator, text: str) -> None:
    wrong = ana.open(MATCH)
    with wrong.connection:
        wrong.connection.send(text)
        assert closed_with(wrong) == 1003


def test_too_many_messages_end_their_window_and_nobody_else_s(ana: Operator, window: Window) -> None:
    hasty = ana.open(MATCH)
    with hasty.connection:
        for _ in range(int(MESSAGES_BURST) * 3):
            try:
                hasty.say({"t": "editing", "event_id": "g1"})
            except ConnectionClosed:
                break
        assert closed_with(hasty) == 1008
    assert window.enter(goal("after-haste"))["t"] == "logged"


def test_the_windows_of_an_operator_have_a_bound(server: OriginServer) -> None:
    with Operator(server) as cleo:
        cleo.sign_in("cleo")
        windows = [cleo.open(MATCH) for _ in range(WINDOWS_OF_OPERATOR_MAX)]
        try:
            for one in windows:  # it is counted once it is there
                one.wait_for(lambda message: message["t"] == "operators")
            with pytest.raises(InvalidStatus) as refused:
                cleo.open(MATCH)
            assert refused.value.response.status_code == 429
        finally:
            for one in windows:
                one.connection.close()


def test_pages_are_served_while_windows_are_open(tmp_path: Path) -> None:
    """As many windows as a worker has, twice its page threads: each has a thread of the console's own."""
    names = ("ana", "ben", "cleo", "dora", "eve")
    with OriginServer(tmp_path, env=console_env(tmp_path, *names)) as server, contextlib.ExitStack() as open_:
        operators = [open_.enter_context(Operator(server)) for _ in names]
        for operator, name in zip(operators, names, strict=True):
            operator.sign_in(name)
        for operator in operators[:4]:
            for _ in range(8):
                window = operator.open(MATCH)
                open_.callback(window.connection.close)
                window.wait_for(lambda message: message["t"] == "operators")
        assert [server.status(path) for path in ("/", "/readyz", "/list")] == [200, 200, 200]
        with pytest.raises(InvalidStatus) as refused:
            operators[4].open(MATCH)
        assert refused.value.response.status_code == 503


def test_a_session_that_ends_closes_its_windows_and_takes_no_entry(
    server: OriginServer, directory: Path
) -> None:
    with Operator(server) as dora:
        dora.sign_in("dora")
        window = dora.open(MATCH)
        with window.connection:
            window.wait_for(lambda message: message["t"] == "match")
            Accounts(directory / "console" / "accounts.json").add("dora", PASSWORD)
            assert closed_with(window) == 4401


def test_a_restart_says_so_and_the_session_goes_on(tmp_path: Path) -> None:
    with OriginServer(tmp_path, env=console_env(tmp_path, "ana")) as server, Operator(server) as ana:
        ana.sign_in("ana")
        window = ana.open(MATCH)
        with window.connection:
            assert window.enter(goal("g1"), id_="entry-0001")["t"] == "logged"
            assert server.process is not None
            began_s = time.monotonic()
            server.stop()
            assert closed_with(window) == 1012
            assert time.monotonic() - began_s < 25, "an open window must not keep a worker that ends"
        server.start()
        window = ana.open(MATCH)
        with window.connection:
            assert window.enter(goal("g1"), id_="entry-0001")["duplicate"] is True
