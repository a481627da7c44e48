"""The console on several worker processes: sessions, presence and conflicts hold over all of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from shared_state.jsontext import JsonObject
from testkit.console import Operator, console_env
from testkit.services.origin import OriginServer
from testkit.services.redis import RedisServer

MATCH = "ajax-psv"

pytestmark = pytest.mark.services


def goal(base_rev: int, player: str) -> JsonObject:
    op = "AMEND" if base_rev else "ADD"
    body = {"type": "GOAL", "minute": 12, "team": "home", "player": player}
    return {"op": op, "event_id": "g1", "base_rev": base_rev, **body}


def test_windows_on_several_workers_are_at_one_match(tmp_path: Path) -> None:
    with ExitStack() as open_:
        redis = RedisServer(tmp_path)
        open_.callback(redis.stop)
        env = console_env(tmp_path, "ana", "ben") | {"BUS_URL": redis.url}
        server = open_.enter_context(OriginServer(tmp_path, env=env, workers=3))
        ana, ben = (open_.enter_context(Operator(server)) for _ in range(2))
        ana.sign_in("ana")
        ben.sign_in("ben")
        # Each of a dozen connections is taken by some worker; each knows the session, whoever began it.
        windows = [operator.open(MATCH) for operator in (ana, ben) for _ in range(6)]
        for window in windows:
            open_.callback(window.connection.close)
        for window in windows:
            window.wait_for(lambda message: len(message.get("operators", ())) == len(windows))
        assert windows[0].enter(goal(0, "Taylor"))["t"] == "logged"
        for window in windows[1:]:
            window.wait_for(lambda message: message["t"] == "match" and message["match"]["events"] != [])
        answers = [window.enter(goal(1, f"P{number}"))["t"] for number, window in enumerate(windows)]
        assert answers == ["logged"] + ["refused"] * (len(windows) - 1)
