"""The steps, their names, and the state as it is kept."""

from __future__ import annotations

import pytest

from origin.errors import ConfigError
from origin.ladder.advice import NO_ADVICE, Advice
from origin.ladder.settings import LadderSettings
from origin.ladder.steps import REASON_MAX, STEP_NAMES, LadderError, LadderState, Step, step_of


def test_each_step_has_a_name_in_its_order() -> None:
    assert STEP_NAMES == ("normal", "retry", "long-poll", "poll", "stale")
    assert [step_of(name) for name in STEP_NAMES] == list(Step)


def test_a_name_that_is_no_step_is_named() -> None:
    with pytest.raises(LadderError, match="'panic': must be one of normal retry"):
        step_of("panic")


def test_a_state_comes_back_as_it_was_kept() -> None:
    state = LadderState(Step.POLL, "Kafka stands still · ünïcode", 1_764_000_000_000)
    assert LadderState.decode(state.encode()) == state


@pytest.mark.parametrize("reason", ["x" * (REASON_MAX + 1), "two\nlines", "\x1b[31m"])
def test_a_reason_has_bounds(reason: str) -> None:
    with pytest.raises(LadderError, match="reason"):
        LadderState(Step.POLL, reason)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"step":3}', b'{"step":"panic"}', b'{"step":"poll","reason":7}', b"\xff"]
)
def test_what_is_no_state_is_an_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(LadderError):
        LadderState.decode(data)


def test_a_state_of_any_length_is_not_read() -> None:
    with pytest.raises(LadderError, match="9000 bytes"):
        LadderState.decode(b"x" * 9_000)


def test_without_advice_a_heartbeat_says_nothing_more() -> None:
    assert NO_ADVICE.members == ""
    assert Advice(Step.POLL).members == ',"step":3'
    assert Advice(Step.NORMAL, 12_000).members == ',"late_ms":12000'
    assert Advice(Step.STALE, 12_000).members == ',"step":4,"late_ms":12000'


def test_from_the_first_step_on_viewers_come_back_over_a_longer_time() -> None:
    assert NO_ADVICE.window_s(2.0) == 2.0
    assert Advice(Step.RETRY).window_s(2.0) == 30.0
    assert Advice(Step.RETRY).window_s(90.0) == 90.0


def test_settings_are_off_by_default() -> None:
    assert LadderSettings.from_env({}) == LadderSettings()
    assert LadderSettings().auto_max is Step.NORMAL
    assert LadderSettings().canary_interval_s == 0.0


def test_settings_are_read() -> None:
    env = {
        "TOUCHLINE_LADDER_AUTO_MAX": "long-poll",
        "TOUCHLINE_LADDER_AUTO_FULL": "0.8",
        "TOUCHLINE_LADDER_AUTO_DELAY_S": "2",
        "TOUCHLINE_CANARY_INTERVAL_S": "0.5",
    }
    read = LadderSettings.from_env(env)
    assert read == LadderSettings(
        auto_max=Step.LONG_POLL, auto_full=0.8, auto_delay_s=2.0, canary_interval_s=0.5
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOUCHLINE_LADDER_AUTO_MAX", "5"),
        ("TOUCHLINE_LADDER_AUTO_FULL", "0"),
        ("TOUCHLINE_LADDER_AUTO_FULL", "1.5"),
        ("TOUCHLINE_LADDER_AUTO_DELAY_S", "-1"),
        ("TOUCHLINE_CANARY_INTERVAL_S", "0.1"),
        ("TOUCHLINE_CANARY_INTERVAL_S", "nan"),
        ("TOUCHLINE_CANARY_INTERVAL_S", "61"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} '{value}'"):
        LadderSettings.from_env({name: value})
