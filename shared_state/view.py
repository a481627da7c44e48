"""A match as HTML: the same function makes the page, the immutable fragment and, in the browser, the update.

Everything that came from a feed is escaped here, once. What a script may rely on, and nothing else:

- the root, ``<article class="tl">``, with ``data-id`` (the position), ``data-match``, ``data-status``,
  ``data-period``, ``data-phase`` (``before live paused over off``) and ``data-announce`` (what a live
  region outside this fragment should say once; empty for nothing). The region must stand outside: one
  that is swapped in with its text is not spoken by all screen readers, or is spoken twice;
- on the root of a fragment ``data-notifications``, what the change is to a script, as JSON
  (``notifications``); absent where there is nothing;
- on the root, where a language was asked for, ``lang``, ``dir``, ``data-title`` (``page_title``: where the
  minute runs it stands behind the last `` · ``) and ``data-json-ld`` (``json_ld_changes``);
- on the root of a page's scoreboard ``data-as-of``, until when the server knew it to be the newest, UTC
  milliseconds; absent in a fragment, which never changes;
- ``[data-clock-start]``, the running minute, with ``data-clock-base``, ``-limit``, ``-least`` and
  ``-most`` (``wording`` says how to let it run); absent while the clock is stopped;
- on the root of a fragment that changed the score ``data-moment`` (``goal`` or ``correction``), which a page
  that shows its first score leaves out;
- ``[data-tl-elapsed]``, the end of the strip's line, which runs with the minute (``strip`` says how);
- ``time[data-tl-local]``, a moment in UTC that may be rewritten in the reader's own time zone;
- ``[data-tl-until]``, hidden: what to show from that moment (UTC milliseconds) on, since by then there
  would have been news of a running match;
- ``[data-tl-age]``, empty, for the age of what is shown once it is no longer live.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final, NamedTuple

from shared_state.announce import announcement
from shared_state.board import banner_html, board_html
from shared_state.crest import crest_html
from shared_state.events import Event
from shared_state.jsonld import json_ld, json_ld_changes
from shared_state.jsontext import JsonObject, compact
from shared_state.language import ENGLISH, Language, Phrase
from shared_state.lineups import lineups_html
from shared_state.match import Match
from shared_state.moments import moment as moment_of
from shared_state.names import surname
from shared_state.statistics import statistics_html
from shared_state.strip import strip_html
from shared_state.timeline import counted, kicks, rows_html
from shared_state.wire import DeltaId
from shared_state.wording import (
    Ticking,
    believed_until,
    chip_phrase,
    minute_text,
    moment,
    official_result,
    pair,
    phase,
    score_sentence,
    score_shown,
    side_name,
    status_chip,
    status_words,
    ticking,
)

__all__ = [
    "NO_UPDATES",
    "Summary",
    "announcement",
    "json_ld",
    "page_title",
    "scoreboard",
    "status_chip",
    "summary_row",
]

# A shoot-out is five kicks each before it is sudden death; the ones to come are shown as empty places.
SHOOTOUT_KICKS: Final = 5
# Statuses that leave a reader asking why.
EXPLAINED: Final = frozenset(
    {"DELAYED", "INTERRUPTED", "SUSPENDED", "POSTPONED", "CANCELLED", "ABANDONED", "AWARDED"}
)
#: The note of a running match without news. The score stays: it is the last that is known.
NO_UPDATES: Final = Phrase("note.no_updates")
# Sources report a kick-off some minutes late; after this it is missed.
AWAITED_MS: Final = 15 * 60_000
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
PHASE_RANK: Final = {"live": 0, "paused": 1, "before": 2, "over": 3, "off": 4}


class Summary(NamedTuple):
    """A match as one line of the list; text, not yet escaped, and not in any language yet.

    Attributes:
        rank: sorts a list of these: live first, then what comes next, then what is over, latest first.
        phase: ``before``, ``live``, ``paused``, ``over`` or ``off``.
        status: the status in a few characters.
        home, away: the names; ``Home`` and ``Away`` if they are not known.
        named: whether the names are known.
        home_score, away_score: None where there is no score to show.
        notes: the shoot-out, that the result is an official one, that updates are delayed.
        kickoff_iso: empty if not known.
        kickoff_ms: the same in UTC milliseconds, of a match that is scheduled; None for all others.
        overdue: of a scheduled match: 1 once its kick-off is past, 2 once it would be over; else 0.
        running: how the minute runs, so that a page can let it; None while it is stopped or not known.
        doubtful_ms: from when on a running match without news is doubtful, UTC milliseconds; None for never.
        home_crest, away_crest: HTML of the crest, as the scoreboard has it; empty for a plain monogram.
    """

    rank: tuple[int, int, str]
    match_id: str
    phase: str
    status: Phrase
    home: str
    away: str
    home_score: int | None
    away_score: int | None
    notes: tuple[Phrase, ...]
    competition: str
    kickoff_iso: str
    named: bool = True
    kickoff_ms: int | None = None
    overdue: int = 0
    running: Ticking | None = None
    doubtful_ms: int | None = None
    home_crest: str = ""
    away_crest: str = ""

    @property
    def chip(self) -> str:
        """The status in English."""
        return ENGLISH.phrase(self.status)

    @property
    def note(self) -> str:
        """The notes in English; empty for none."""
        return ", ".join([ENGLISH.phrase(note) for note in self.notes])

    def side(self, team: str, language: Language) -> str:
        """The name of ``home`` or ``away``."""
        if not self.named:
            return language.text(f"side.{team}")
        return self.home if team == "home" else self.away

    def kickoff(self, language: Language) -> str:
        """When the match starts, in UTC; empty if not known."""
        iso = self.kickoff_iso
        if not iso:
            return ""
        year, month, day, hour, minute = iso[:4], iso[5:7], iso[8:10], iso[11:13], iso[14:16]
        return language.moment(datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC))


def scoreboard(
    match: Match,
    position: DeltaId,
    *,
    announcement: str = "",
    before: Match | None = None,
    now_ms: int | None = None,
    fresh: str | None = None,
    as_of_ms: int | None = None,
    language: Language | None = None,
    notifications: Sequence[JsonObject] = (),
    unseen: Collection[str] = (),
) -> str:
    """The scoreboard as one ``<article class="tl">``.

    Args:
        match: the match.
        position: the id of the last delta in it.
        announcement: what ``announcement()`` said of that delta.
        before: the match before that delta, to show what it did to the score; None on a page, where nothing
            has just happened.
        now_ms: UTC milliseconds, to let the minute run to; None in a fragment, which never changes.
        fresh: the ``event_id`` of the row that just came, which is highlighted once.
        as_of_ms: until when this was known to be the newest, UTC milliseconds; None in a fragment.
        language: of the text, which then says so by ``lang`` and ``dir``, and has the page's title and
            structured data beside it; None for English without these.
        notifications: what ``notifications()`` said of that delta.
        unseen: events that this reader is never shown, by ``event_id``; ``match`` is without them.
    """
    words = language or ENGLISH
    own = ""
    if language is not None:
        title = escape(page_title(match, now_ms, language))
        own = f' lang="{language.tag}" dir="{language.direction}" data-title="{title}"' + _structured(
            match, language
        )
    label = page_title(match, language=words)
    if score_shown(match):
        label = f"{score_sentence(match, words)}, {status_words(match, words)}"
    step = None if before is None else moment_of(before, match)
    # Two moments in a row have different turns, so that the second is animated like the first.
    turn = f' data-moment="{step.kind}" data-turn="{position.seq % 2}"' if step is not None else ""
    return (
        f'<article class="tl" part="board" data-id="{position}" data-match="{escape(match.match_id)}"'
        f' data-status="{match.status}" data-period="{match.period}" data-phase="{phase(match)}"'
        f' data-announce="{escape(announcement)}"{turn} aria-label="{escape(label)}"{own}'
        + (f' data-notifications="{escape(compact(notifications))}"' if notifications else "")
        + (f' data-unseen="{escape(compact(sorted(unseen)))}"' if unseen else "")
        + (">" if as_of_ms is None else f' data-as-of="{as_of_ms}">')
        # Before the rest: while it is shown, the stylesheet makes nothing after it look live.
        + _delayed(match, now_ms, words)
        + _top(match, now_ms, words)
        + board_html(match, step, words)
        + banner_html(match, before, words)
        + ("" if score_shown(match) else _kickoff_line(match, words))
        + _players(match, words)
        + _explanation(match, words)
        + strip_html(match, now_ms)
        + _shootout(match, words)
        + _events(match, fresh, words)
        + statistics_html(match, words)
        + lineups_html(match, words)
        + _foot(match, words)
        + "</article>"
    )


def page_title(match: Match, now_ms: int | None = None, language: Language = ENGLISH) -> str:
    """``France 4–2 Croatia · FT``, or ``France v Croatia`` before there is a score.

    Args:
        match: the match.
        now_ms: UTC milliseconds to let the minute run to; None for the furthest minute known.
        language: of the text.
    """
    home, away = side_name(match, "home", language), side_name(match, "away", language)
    if score_shown(match):
        title = f"{home} {pair(match.score)} {away}"
    else:
        title = language.text("score.pairing", home=home, away=away)
    return title if match.status == "SCHEDULED" else f"{title} · {status_chip(match, now_ms, language)}"


def summary_row(match: Match, now_ms: int | None = None) -> Summary:
    """The match as one line of a list."""
    when = _kickoff(match)
    shown = score_shown(match)
    notes: list[Phrase] = []
    status = chip_phrase(match, now_ms)
    if match.shootout is not None:
        # In a list the chip has a narrow column; the shoot-out is with the notes.
        notes.append(Phrase("note.pens", (("score", pair(match.shootout)),)))
        if match.status == "FT_PENS":
            status = Phrase("chip.FT")
    if official_result(match) is not None:
        notes.append(Phrase("note.official"))
    until = believed_until(match)
    if until is not None and now_ms is not None and now_ms >= until:
        notes.append(NO_UPDATES)
    kickoff_ms = 0 if match.info is None else match.info.detail["kickoff_ms"] or 0
    stage = phase(match)
    latest_first = stage in ("over", "off")
    return Summary(
        rank=(PHASE_RANK[stage], -kickoff_ms if latest_first else kickoff_ms, match.match_id),
        match_id=match.match_id,
        phase=stage,
        status=status,
        home=side_name(match, "home"),
        away=side_name(match, "away"),
        home_score=match.score.home if shown else None,
        away_score=match.score.away if shown else None,
        notes=tuple(notes),
        competition="" if match.info is None else match.info.detail["competition"] or "",
        kickoff_iso="" if when is None else _iso(when),
        named=match.info is not None,
        kickoff_ms=kickoff_ms or None if match.status == "SCHEDULED" else None,
        home_crest="" if match.info is None else crest_html(match, "home", ENGLISH),
        away_crest="" if match.info is None else crest_html(match, "away", ENGLISH),
    )


def _structured(match: Match, language: Language) -> str:
    # Between single quotes: JSON is full of double ones, each of which would take six bytes.
    changes = escape(compact(json_ld_changes(match, language)), quote=False).replace("'", "&#x27;")
    return f" data-json-ld='{changes}'"


def _top(match: Match, now_ms: int | None, language: Language) -> str:
    competition = None if match.info is None else match.info.detail["competition"]
    words = escape(status_words(match, language))
    chip = escape(status_chip(match, now_ms, language))
    running = ticking(match)
    if running is None:
        status = (
            f'<p class="tl-chip" part="chip"><span aria-hidden="true">{chip}</span>'
            f'<span class="tl-vh">{words}</span></p>'
        )
    else:
        # role=timer is silent by itself: the minute is there to be asked for, not spoken every minute.
        status = (
            f'<p class="tl-chip" part="chip" role="timer" data-clock-start="{running.start_ms}"'
            f' data-clock-base="{running.base}" data-clock-limit="{running.limit}"'
            f' data-clock-least="{running.least}" data-clock-most="{running.most}">{chip}</p>'
        )
    return (
        '<div class="tl-top"><p class="tl-competition">'
        + (f"<bdi>{escape(competition)}</bdi>" if competition else "")
        + f"</p>{status}</div>"
    )


def _delayed(match: Match, now_ms: int | None, language: Language) -> str:
    """That the news is late: in the page already, hidden until it is true."""
    until, kind, key = believed_until(match), "delayed", "remark.no_updates"
    if match.status == "SCHEDULED" and match.info is not None:
        # What should have begun is not "upcoming" any more, even if no source says what became of it.
        kickoff_ms = match.info.detail["kickoff_ms"]
        until = None if kickoff_ms is None else kickoff_ms + AWAITED_MS
        kind, key = "awaited", "remark.awaited"
    if until is None:
        return ""
    hidden = "" if now_ms is not None and now_ms >= until else " hidden"
    return f'<p class="tl-{kind}" data-tl-until="{until}"{hidden}>{escape(language.text(key))}</p>'


def _kickoff_line(match: Match, language: Language) -> str:
    when = _kickoff_html(match, language)
    return f'<p class="tl-kickoff">{when}</p>' if when else ""


def _players(match: Match, language: Language) -> str:
    home, away = _counted(match, "home", language), _counted(match, "away", language)
    if not home and not away:
        return ""
    return f'<div class="tl-players"><ul class="tl-home">{home}</ul><ul class="tl-away">{away}</ul></div>'


def _counted(match: Match, team: str, language: Language) -> str:
    """Scorers and players sent off, a line for each player."""
    lines: dict[tuple[str, bool], list[str]] = {}
    for event in counted(match, team):
        red = event.type != "GOAL"
        when = "" if event.minute is None else minute_text(event.minute, event.stoppage, language)
        if not red:
            flag = "own_goal" if event.detail["own_goal"] else "penalty" if event.detail["penalty"] else ""
            flags = [language.text(f"flag.{flag}")] if flag else []
            if event.status == "PROVISIONAL":
                flags.append(language.text("flag.review"))
            when = f"{when}{NO_BREAK}({', '.join(flags)})".lstrip() if flags else when
        lines.setdefault((event.player or side_name(match, team, language), red), []).append(when)
    sent_off = escape(language.text("sent_off"))
    return "".join(
        (f'<li class="tl-sent-off"><span class="tl-vh">{sent_off}</span>' if red else "<li>")
        + f"<bdi>{escape(who)}</bdi> <span>{escape(', '.join(filter(None, whens)))}</span></li>"
        for (who, red), whens in lines.items()
    )


def _explanation(match: Match, language: Language) -> str:
    """Why the status or the score is not what the play alone would make it."""
    sentences: list[str] = []
    change = match.deciding.get("STATUS_CHANGE")
    if change is not None and change.reason and match.status in EXPLAINED:
        status = status_chip(match, language=language)
        sentences.append(language.text("remark.status", status=status, reason=change.reason))
    override = official_result(match)
    if override is not None:
        score, reason = pair(match.score), override.reason
        sentences.append(
            language.text("remark.official.reason", score=score, reason=reason)
            if reason
            else language.text("remark.official", score=score)
        )
        # A result without rows comes from a source that lists no goals: 0–0 would be a statement about them.
        if match.goals != match.score and (override.reason or match.status == "AWARDED" or _has_goals(match)):
            sentences.append(language.text("remark.goals", score=pair(match.goals)))
    if not sentences:
        return ""
    lines = "".join(f"<p><bdi>{escape(sentence)}</bdi></p>" for sentence in sentences)
    return f'<div class="tl-explanation">{lines}</div>'


def _has_goals(match: Match) -> bool:
    return any(event.type == "GOAL" for event in match.events())


def _shootout(match: Match, language: Language) -> str:
    if match.shootout is None:
        return ""
    taken = {team: kicks(match, team) for team in ("home", "away")}
    over = match.status not in ("PENALTIES", "LIVE", "EXTRA_TIME")
    places = max(0 if over else SHOOTOUT_KICKS, *(len(side) for side in taken.values()))
    # A side that was already beaten takes no last kick; its place stays, so that the sides line up.
    open_place = f'<li class="tl-kick{" tl-kick-none" if over else ""}" aria-hidden="true"></li>'
    lines: list[str] = []
    for team, side in taken.items():
        marks = "".join([_kick(kick, language) for kick in side])
        marks += open_place * (places - len(side))
        lines.append(
            f'<div class="tl-kicks"><bdi>{escape(side_name(match, team, language))}</bdi><ol>{marks}</ol>'
            f"<b>{sum(kick.detail['scored'] for kick in side)}</b></div>"
        )
    label = escape(language.text("label.shootout"))
    return (
        f'<div class="tl-shootout" role="group" part="shootout" aria-label="{label}">{"".join(lines)}</div>'
    )


def _kick(kick: Event, language: Language) -> str:
    outcome = "scored" if kick.detail["scored"] else "missed"
    if kick.player:
        words = language.text(f"kick.{outcome}.player", player=kick.player)
    else:
        words = language.text(f"kick.{outcome}")
    # For the eye where there is room, by the stylesheet; the words say the same.
    who = f' data-kicker="{escape(surname(kick.player))}"' if kick.player else ""
    return f'<li class="tl-kick tl-kick-{outcome}"{who}><span class="tl-vh">{escape(words)}</span></li>'


def _events(match: Match, fresh: str | None, language: Language) -> str:
    items = rows_html(match, fresh, language)
    if not items:
        if phase(match) not in ("before", "live", "paused"):
            return ""
        key = "empty.before" if phase(match) == "before" else "empty.live"
        return f'<p class="tl-empty" part="empty">{escape(language.text(key))}</p>'
    # A log speaks what is added to it. This one is swapped in whole, so it would speak everything.
    label = escape(language.text("label.events"))
    return (
        f'<div class="tl-log" part="events" role="log" aria-live="off" aria-label="{label}">'
        f'<ol class="tl-events">{items}</ol></div>'
    )


def _foot(match: Match, language: Language) -> str:
    venue = None if match.info is None else match.info.detail["venue"]
    when = _kickoff_html(match, language) if score_shown(match) else ""
    parts = [part for part in (f"<bdi>{escape(venue)}</bdi>" if venue else "", when) if part]
    place = f'<p class="tl-place">{" · ".join(parts)}</p>' if parts else ""
    return f'<div class="tl-foot" part="foot">{place}<p class="tl-age" data-tl-age></p></div>'


def _kickoff_html(match: Match, language: Language) -> str:
    when = _kickoff(match)
    if when is None:
        return ""
    return f'<time datetime="{_iso(when)}" data-tl-local>{escape(language.moment(when))}</time>'


def _kickoff(match: Match) -> datetime | None:
    """When the match starts; None if no source said."""
    kickoff_ms = None if match.info is None else match.info.detail["kickoff_ms"]
    return None if kickoff_ms is None else moment(kickoff_ms)


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
