"""``touchline fanout`` with settings that cannot be: one line that names the value."""

from __future__ import annotations

import pytest

from testkit.command import touchline


@pytest.mark.parametrize(
    ("argv", "env", "code", "what"),
    [
        (("--embargo", "nan"), {}, 2, "'--embargo': 'nan' is no number of seconds"),
        (("--embargo", "-1"), {}, 2, "-1.0 is not in the range"),
        ((), {"BUS_URL": "memory://"}, 1, "BUS_URL 'memory://' is inside the origin's process"),
        ((), {"TOUCHLINE_LOG_LEVEL": "loud"}, 1, "TOUCHLINE_LOG_LEVEL 'loud': must be one of"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    argv: tuple[str, ...], env: dict[str, str], code: int, what: str
) -> None:
    ran = touchline("fanout", *argv, env={"BUS_URL": "redis://127.0.0.1:9/0", **env})
    assert (ran.code, ran.out) == (code, b"")
    assert what in ran.err
    assert "Traceback" not in ran.err
