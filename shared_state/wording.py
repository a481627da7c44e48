"""What a reader sees in words and numbers: sides, minutes, the status chip. Text only, no HTML.

The minute
----------
A match has its minute twice: by the furthest event (``Match.clock``) and by the time since the
period began. The first is always right but late; the second runs, and is only known if the source
dated the start of the period. ``ticking`` gives the second as five numbers, so that a page can let the
minute run without knowing anything about football:

    minute = max(least, base + floor((now - start_ms) / 60000) + 1)
    beyond ``most`` leave the text alone; beyond ``limit`` write ``limit+(minute - limit)'``
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from shared_state.events import Event
from shared_state.language import ENGLISH, Language, Phrase
from shared_state.match import Match, Score

__all__ = [
    "ENDED",
    "FINAL_WHISTLE",
    "NOT_PLAYED",
    "PLAYED",
    "Ticking",
    "believed_until",
    "chip_phrase",
    "minute_phrase",
    "minute_text",
    "moment",
    "official_result",
    "pair",
    "phase",
    "score_sentence",
    "score_shown",
    "side_code",
    "side_name",
    "status_chip",
    "status_words",
    "ticking",
]

DASH: Final = "–"
# The minute a period starts after, and the last one of its regular time.
PLAYED: Final[Mapping[str, tuple[int, int]]] = {
    "H1": (0, 45),
    "H2": (45, 90),
    "ET1": (90, 105),
    "ET2": (105, 120),
}
# The longest stoppage at a World Cup is 15 minutes (England-Iran 2022, first half 14:08). A minute that
# runs on for twice that means that the source never reported the end; the last minute reported is better.
STOPPAGE_BELIEVED_MAX: Final = 30
MINUTE_MS: Final = 60_000

RUNNING: Final = frozenset({"LIVE", "EXTRA_TIME", "PENALTIES"})
PAUSED: Final = frozenset({"HALF_TIME", "INTERRUPTED", "SUSPENDED"})
FINAL_WHISTLE: Final = frozenset({"FT", "AET", "FT_PENS"})
# An award ends a match too, whether it was played to the end before or never began.
ENDED: Final = FINAL_WHISTLE | {"AWARDED"}
# No ball was kicked as far as the status says, so there is no 0–0 to show.
NOT_PLAYED: Final = frozenset({"SCHEDULED", "DELAYED", "POSTPONED", "CANCELLED"})

# Periods that have a chip of their own while the match runs, between and beside its played periods.
PERIODS_WITH_CHIP: Final = frozenset(
    {"H1", "HT", "H2", "BREAK_ET", "ET1", "ET_HT", "ET2", "BREAK_PENS", "PENS"}
)


class Ticking(NamedTuple):
    """A minute that runs; see the top of this module.

    Attributes:
        start_ms: UTC milliseconds at which ``base`` minutes were played.
        limit: the last minute of the period's regular time.
        least: the furthest minute known; stoppage is added to it.
        most: no minute after this is believed.
    """

    start_ms: int
    base: int
    limit: int
    least: int
    most: int

    def minute(self, now_ms: int) -> int | None:
        """The running minute, stoppage added to it; None if ``now_ms`` cannot be of this period."""
        running = max(self.least, self.base + (now_ms - self.start_ms) // MINUTE_MS + 1)
        return running if running <= self.most else None


def side_name(match: Match, team: str, language: Language = ENGLISH) -> str:
    """The name of ``home`` or ``away``."""
    if match.info is None:
        return language.text(f"side.{team}")
    return str(match.info.detail[team]["name"])


def side_code(match: Match, team: str) -> str | None:
    """The short code of a side, where the source gives one."""
    return None if match.info is None else match.info.detail[team]["code"]


def pair(score: Score) -> str:
    """``4–2``."""
    return f"{score.home}{DASH}{score.away}"


def minute_phrase(minute: int, stoppage: int = 0) -> Phrase:
    """``38'`` or ``45+2'``, not in any language yet."""
    if stoppage:
        return Phrase("minute.stoppage", (("minute", str(minute)), ("stoppage", str(stoppage))))
    return Phrase("minute", (("minute", str(minute)),))


def minute_text(minute: int, stoppage: int = 0, language: Language = ENGLISH) -> str:
    """``38'`` or ``45+2'``."""
    return language.phrase(minute_phrase(minute, stoppage))


def moment(utc_ms: int) -> datetime | None:
    """UTC milliseconds as a date; None for a number that is no date."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms)
    except OverflowError:
        return None


def _news_delayed(match: Match) -> bool:
    """Whether the match is under way, and only the news of it does not come."""
    return match.status == "DELAYED" and match.period != "PRE"


def score_shown(match: Match) -> bool:
    """Whether there is a score to show: not before the match, unless something counts already."""
    return (
        match.status not in NOT_PLAYED
        or _news_delayed(match)
        or match.score != (0, 0)
        or "SCORE_OVERRIDE" in match.deciding
    )


def official_result(match: Match) -> Event | None:
    """The SCORE_OVERRIDE that is an official result: it has a reason, or the match is over.

    A feed that lists no goals gives its running score in a SCORE_OVERRIDE too. That is news of play, and
    nobody has decided it.
    """
    override = match.deciding.get("SCORE_OVERRIDE")
    if override is None or override.status == "PROVISIONAL":
        return None
    decided = override.reason or override.period == "POST" or match.status in ENDED
    return override if decided else None


def phase(match: Match) -> str:
    """``before``, ``live``, ``paused``, ``over`` or ``off``: what a page sorts and colours by."""
    status = match.status
    if status in RUNNING:
        return "live"
    if status in PAUSED or _news_delayed(match):
        return "paused"
    if status in ENDED:
        return "over"
    return "before" if status in ("SCHEDULED", "DELAYED") else "off"


def status_chip(match: Match, now_ms: int | None = None, language: Language = ENGLISH) -> str:
    """The status in at most a few characters: ``38'``, ``HT``, ``FT (4–2 pens)``, ``Postponed``.

    Args:
        match: the match.
        now_ms: UTC milliseconds to let the minute run to; None for the furthest minute known.
        language: of the text.
    """
    return language.phrase(chip_phrase(match, now_ms))


def chip_phrase(match: Match, now_ms: int | None = None) -> Phrase:
    """What ``status_chip`` says, not in any language yet."""
    status = match.status
    if status == "FT_PENS" and match.shootout is not None:
        return Phrase("chip.FT_PENS.score", (("score", pair(match.shootout)),))
    if status not in ("LIVE", "EXTRA_TIME"):
        return Phrase(f"chip.{status}")
    clock = match.clock
    if clock.period not in PLAYED:
        return Phrase(
            f"chip.period.{clock.period}" if clock.period in PERIODS_WITH_CHIP else f"chip.{status}"
        )
    minute = _minute_now(match, now_ms)
    if minute is None:
        return Phrase(f"chip.period.{clock.period}")
    limit = PLAYED[clock.period][1]
    return minute_phrase(min(minute, limit), max(0, minute - limit))


def _minute_now(match: Match, now_ms: int | None) -> int | None:
    """The minute of the played period, stoppage added; None if it is not known."""
    running = ticking(match)
    minute = None if running is None or now_ms is None else running.minute(now_ms)
    return _furthest(match) if minute is None else minute


def status_words(match: Match, language: Language = ENGLISH) -> str:
    """The status as a screen reader should say it."""
    if match.status == "FT_PENS" and match.shootout is not None:
        home, away = match.shootout
        return language.text("words.FT_PENS.score", home=home, away=away)
    if match.status in ("LIVE", "EXTRA_TIME"):
        chip = chip_phrase(match)
        return language.phrase(chip._replace(key=f"words.{chip.key}") if chip.key in _SAID else chip)
    return language.text("words.no_updates" if _news_delayed(match) else f"words.{match.status}")


# Chips that a screen reader would not say well; other chips of a running match are words already.
_SAID: Final = frozenset({"minute", "minute.stoppage"})


def score_sentence(match: Match, language: Language = ENGLISH) -> str:
    """``France 4, Croatia 2``."""
    home, away = match.score
    return language.text(
        "score.sentence",
        home=side_name(match, "home", language),
        home_score=home,
        away=side_name(match, "away", language),
        away_score=away,
    )


def ticking(match: Match) -> Ticking | None:
    """How the minute runs; None while it is stopped or the source did not date its start."""
    latest = match.deciding.get("STATUS_CHANGE")
    if latest is None or match.status not in ("LIVE", "EXTRA_TIME"):
        return None
    period = match.clock.period
    if period != latest.period or period not in PLAYED:
        return None
    base, limit = PLAYED[period]
    start: tuple[int, int] | None = None
    stopped = False
    for event in match.events():
        if event.type != "STATUS_CHANGE" or event.period != period:
            continue
        if event.detail["to"] not in RUNNING:
            start, stopped = None, True
        elif start is None and event.source_ts is not None:
            if event.minute is not None:
                # Sources start a half at 45 or at 46; the displayed minute runs one ahead of the time played.
                start = (event.source_ts, max(base, event.minute + event.stoppage - 1))
            elif not stopped:
                start = (event.source_ts, base)
    if start is None:
        return None
    least = _furthest(match) or base + 1
    return Ticking(start[0], start[1], limit, least, max(least, limit + STOPPAGE_BELIEVED_MAX))


def believed_until(match: Match) -> int | None:
    """How long the status of a running match is plausible without news, UTC milliseconds.

    Nothing in a match can say that its vendor is silent. But no half lasts ten hours: what is still "live"
    after this moment is out of date, and a page says so.

    Returns:
        None for a match that does not run, and for one of which no source dated anything.
    """
    allowed = _ALLOWED_MIN.get(match.status)
    if allowed is None:
        return None
    running = ticking(match)
    latest = match.deciding.get("STATUS_CHANGE")
    kickoff_ms = None if match.info is None else match.info.detail["kickoff_ms"]
    if running is not None:
        return running.start_ms + (running.most - running.base) * MINUTE_MS
    if latest is not None and latest.source_ts is not None:
        return latest.source_ts + allowed * MINUTE_MS
    if kickoff_ms is not None:
        return int(kickoff_ms) + (_BEGINS_BY_MIN.get(match.period, 0) + allowed) * MINUTE_MS
    return None


# How long each status may last at the most, in minutes; of a half, with stoppage that is believed.
_ALLOWED_MIN: Final[Mapping[str, int]] = {
    "LIVE": 45 + STOPPAGE_BELIEVED_MAX,
    "HALF_TIME": 45,
    "EXTRA_TIME": 15 + STOPPAGE_BELIEVED_MAX,
    "PENALTIES": 60,
}
# Where no status is dated: when each period has begun at the latest, in minutes after the kick-off.
_BEGINS_BY_MIN: Final[Mapping[str, int]] = {
    "H1": 15, "HT": 75, "H2": 105, "BREAK_ET": 165, "ET1": 180, "ET_HT": 210, "ET2": 220,
    "BREAK_PENS": 250, "PENS": 260,
}  # fmt: skip


def _furthest(match: Match) -> int | None:
    """The furthest minute known of the played period, stoppage added; at least the period's first."""
    clock = match.clock
    if clock.minute is None:
        return None
    return max(clock.minute + clock.stoppage, PLAYED[clock.period][0] + 1)
