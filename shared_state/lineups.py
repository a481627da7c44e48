"""Who plays: the line-ups of both sides, as the latest LINE_UP of each says.

What happened to a player stands beside the name, where a source calls the player the same in both places.
"""

from __future__ import annotations

from html import escape
from typing import TypeAlias

from shared_state.crest import side_color, text_color
from shared_state.events import Event
from shared_state.jsontext import JsonObject
from shared_state.language import Language
from shared_state.match import Match, is_scored_goal
from shared_state.wording import minute_text, side_name

__all__ = ["lineup", "lineups_html"]

# By side and player, the HTML of what happened to them.
_Notes: TypeAlias = dict[tuple[str, str], str]


def lineup(match: Match, team: str) -> Event | None:
    """The latest LINE_UP in force of ``home`` or ``away``."""
    found: Event | None = None
    for event in match.events():
        if event.type == "LINE_UP" and event.team == team:
            found = event
    return found


def lineups_html(match: Match, language: Language) -> str:
    """The section with both line-ups; empty while no source named any."""
    sides = [(team, lineup(match, team)) for team in ("home", "away")]
    if all(event is None for _, event in sides):
        return ""
    notes = _notes(match, language)
    columns = "".join(_side(match, team, event, notes, language) for team, event in sides)
    heading = escape(language.text("label.lineups"))
    return (
        f'<div class="tl-section tl-lineups" role="group" part="lineups" aria-label="{heading}">'
        f'<h2 class="tl-heading">{heading}</h2><div class="tl-columns">{columns}</div></div>'
    )


def _side(match: Match, team: str, event: Event | None, notes: _Notes, language: Language) -> str:
    name = f'<h3 class="tl-lineup-name"><bdi>{escape(side_name(match, team, language))}</bdi>'
    if event is None:
        text = escape(language.text("lineup.unknown"))
        return f'<div class="tl-lineup">{name}</h3><p class="tl-empty">{text}</p></div>'
    detail = event.detail
    if detail.get("formation"):
        name += f' <span class="tl-formation">{escape(detail["formation"])}</span>'
    color = side_color(match, team)
    parts = [f"{name}</h3>", _squad(detail["starting"], team, color, notes, language)]
    if detail.get("bench"):
        heading = escape(language.text("lineup.bench"))
        parts.append(f'<h4 class="tl-bench">{heading}</h4>')
        parts.append(_squad(detail["bench"], team, "", notes, language))
    if detail.get("coach"):
        before, after = language.around("lineup.coach", "name")
        name = f"<bdi>{escape(detail['coach'])}</bdi>"
        parts.append(f'<p class="tl-coach">{escape(before)}{name}{escape(after)}</p>')
    return f'<div class="tl-lineup">{"".join(parts)}</div>'


def _squad(players: list[JsonObject], team: str, color: str, notes: _Notes, language: Language) -> str:
    items = "".join(_player(item, team, color, notes, language) for item in players)
    return f'<ol class="tl-squad">{items}</ol>'


def _player(item: JsonObject, team: str, color: str, notes: _Notes, language: Language) -> str:
    number = item.get("number")
    shown = "" if number is None else str(number)
    if color:
        # The number as on a shirt; an attribute of SVG needs no inline style.
        shirt = (
            '<svg class="tl-shirt" width="22" height="22" viewBox="0 0 22 22" aria-hidden="true">'
            f'<circle cx="11" cy="11" r="10.5" fill="{color}"/><text x="11" y="11" dy=".36em"'
            f' font-size="10.5" text-anchor="middle" fill="{text_color(color)}">{shown}</text></svg>'
        )
    else:
        shirt = f'<span class="tl-shirt" aria-hidden="true">{shown}</span>'
    name = f"<bdi>{escape(item['name'])}</bdi>"
    if item.get("captain"):
        title, letter = escape(language.text("lineup.captain")), escape(language.text("lineup.captain.mark"))
        name += f' <abbr class="tl-captain" title="{title}">{letter}</abbr>'
    return f'<li>{shirt}<span class="tl-player">{name}{notes.get((team, item["name"]), "")}</span></li>'


def _notes(match: Match, language: Language) -> _Notes:
    """By side and player: goals, cards and substitutions, as small marks with their minutes."""
    notes: _Notes = {}
    for event in match.events():
        if event.team is None:
            continue
        team, player = str(event.team), event.player
        found: list[tuple[str, str | None, str]] = []
        if is_scored_goal(event):
            # An own goal is credited to the other side than its scorer's.
            own = event.detail["own_goal"]
            side = team if not own else "away" if team == "home" else "home"
            found.append((side, player, "own_goal" if own else "goal"))
        elif event.type == "YELLOW_CARD":
            found.append((team, player, "yellow"))
        elif event.type in ("RED_CARD", "SECOND_YELLOW"):
            found.append((team, player, "red"))
        elif event.type == "SUBSTITUTION":
            found += [(team, player, "on"), (team, event.player2, "off")]
        when = "" if event.minute is None else minute_text(event.minute, event.stoppage, language)
        for side, who, kind in found:
            if who:
                words = escape(language.text(f"lineup.{kind}"))
                mark = f'<span class="tl-vh">{words} </span>{escape(when)}'
                mark = f' <span class="tl-note tl-note-{kind}">{mark}</span>'
                notes[side, who] = notes.get((side, who), "") + mark
    return notes
