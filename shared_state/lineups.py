"""Who plays: the line-ups of both sides, as the latest LINE_UP of each says.

What happened to a player stands beside the name, where a source calls the player the same in both places.
"""

from __future__ import annotations

from html import escape

from shared_state.crest import side_color, text_color
from shared_state.events import Event
from shared_state.jsontext import JsonObject
from shared_state.match import Match, is_scored_goal
from shared_state.wording import minute_text, side_name

__all__ = ["lineup", "lineups_html"]


def lineup(match: Match, team: str) -> Event | None:
    """The latest LINE_UP in force of ``home`` or ``away``."""
    found: Event | None = None
    for event in match.events():
        if event.type == "LINE_UP" and event.team == team:
            found = event
    return found


def lineups_html(match: Match) -> str:
    """The section with both line-ups; empty while no source named any."""
    sides = [(team, lineup(match, team)) for team in ("home", "away")]
    if all(event is None for _, event in sides):
        return ""
    notes = _notes(match)
    columns = "".join(_side(match, team, event, notes) for team, event in sides)
    return (
        '<section class="tl-section tl-lineups" part="lineups" aria-label="Line-ups">'
        f'<h2 class="tl-heading">Line-ups</h2><div class="tl-columns">{columns}</div></section>'
    )


def _side(match: Match, team: str, event: Event | None, notes: dict[tuple[str, str], str]) -> str:
    name = f'<h3 class="tl-lineup-name"><bdi>{escape(side_name(match, team))}</bdi>'
    if event is None:
        return f'<div class="tl-lineup">{name}</h3><p class="tl-empty">Not announced yet</p></div>'
    detail = event.detail
    if detail.get("formation"):
        name += f' <span class="tl-formation">{escape(detail["formation"])}</span>'
    color = side_color(match, team)
    parts = [f"{name}</h3>", _players(detail["starting"], team, color, notes)]
    if detail.get("bench"):
        parts += ['<h4 class="tl-bench">Substitutes</h4>', _players(detail["bench"], team, "", notes)]
    if detail.get("coach"):
        parts.append(f'<p class="tl-coach"><span>Coach</span> <bdi>{escape(detail["coach"])}</bdi></p>')
    return f'<div class="tl-lineup">{"".join(parts)}</div>'


def _players(players: list[JsonObject], team: str, color: str, notes: dict[tuple[str, str], str]) -> str:
    return f'<ol class="tl-squad">{"".join(_player(item, team, color, notes) for item in players)}</ol>'


def _player(item: JsonObject, team: str, color: str, notes: dict[tuple[str, str], str]) -> str:
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
        name += ' <abbr class="tl-captain" title="Captain">C</abbr>'
    return f'<li>{shirt}<span class="tl-player">{name}{notes.get((team, item["name"]), "")}</span></li>'


def _notes(match: Match) -> dict[tuple[str, str], str]:
    """By side and player: goals, cards and substitutions, as small marks with their minutes."""
    notes: dict[tuple[str, str], str] = {}
    for event in match.events():
        if event.team is None:
            continue
        when = "" if event.minute is None else minute_text(event.minute, event.stoppage)
        if is_scored_goal(event) and event.player:
            # An own goal is credited to the other side than its scorer's.
            own = event.detail["own_goal"]
            side = event.team if not own else "away" if event.team == "home" else "home"
            _note(notes, side, event.player, "own" if own else "goal", "Own goal" if own else "Goal", when)
        elif event.type == "YELLOW_CARD" and event.player:
            _note(notes, event.team, event.player, "yellow", "Yellow card", when)
        elif event.type in ("RED_CARD", "SECOND_YELLOW") and event.player:
            _note(notes, event.team, event.player, "red", "Sent off", when)
        elif event.type == "SUBSTITUTION":
            if event.player:
                _note(notes, event.team, event.player, "on", "On", when)
            if event.player2:
                _note(notes, event.team, event.player2, "off", "Off", when)
    return notes


def _note(
    notes: dict[tuple[str, str], str], team: str, player: str, kind: str, words: str, when: str
) -> None:
    mark = f' <span class="tl-note tl-note-{kind}"><span class="tl-vh">{words} </span>{when}</span>'
    notes[team, player] = notes.get((team, player), "") + mark
