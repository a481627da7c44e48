"""Documents of vendors that cannot be read are kept for a time, and not for ever."""

from __future__ import annotations

import pytest

from origin.config import Config
from origin.errors import ConfigError
from origin.eventlog.deadletter import DeadLetter
from origin.eventlog.memory import MemoryEventLog
from origin.feedworker.dead_letters import BoundedDeadLetters
from origin.metrics import Metrics

DAY_MS = 86_400_000


@pytest.mark.parametrize(("kept_days", "kept"), [(90, [b"<90", b"<91"]), (0, [b"<0", b"<90", b"<91"])])
def test_old_documents_are_removed_when_others_come(kept_days: int, kept: list[bytes]) -> None:
    now_ms = 1_700_000_000_000
    log = MemoryEventLog()
    record = DeadLetter(0, 7, now_ms, "not JSON", b"{")
    log.dead_letters().add(record)
    letters = BoundedDeadLetters(log, "opta-f24", Metrics(), now_ms=lambda: now_ms, kept_days=kept_days)
    letters.add("match opta-1", b"<0", "not XML")
    now_ms += 90 * DAY_MS
    letters.add("match opta-1", b"<90", "not XML")
    assert len(log.dead_letters().pending()) == 3, "the first is not older than 90 days"
    now_ms += DAY_MS
    letters.add("match opta-1", b"<91", "not XML")
    pending = log.dead_letters().pending()
    assert sorted(letter.payload for letter in pending if letter.is_document) == kept
    assert record in pending


def test_the_setting_has_bounds() -> None:
    assert Config.from_env({}).dead_letter_days == 90
    assert Config.from_env({"TOUCHLINE_DEAD_LETTER_DAYS": "0"}).dead_letter_days == 0
    for text in ("-1", "36501", "1.5", "x"):
        with pytest.raises(ConfigError, match=f"TOUCHLINE_DEAD_LETTER_DAYS '{text}': must be a whole number"):
            Config.from_env({"TOUCHLINE_DEAD_LETTER_DAYS": text})
