"""What a push says of a goal: facts when it is queued, texts in the reader's language when it is sent."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from origin.notify.push_store import Push
from origin.notify.worker import Change
from shared_state.jsontext import JsonObject, compact
from shared_state.language import ENGLISH, Language
from shared_state.languages import language_of
from shared_state.notifications import notifications
from shared_state.var_outcomes import reason_words
from shared_state.wire import KEY_LANGUAGE, QUERY_BEHIND

__all__ = ["CORRECTION_TTL_S", "GOAL_TTL_S", "contents_of", "payload", "topic"]

#: How long a push service keeps a goal for a browser that is away, seconds.
GOAL_TTL_S: Final = 1_800
#: It keeps a correction for longer: the browser may have shown the goal just before it went away.
#: It keeps a correction for longer: the browser may have shown the goal just before it went away.
CORRECTION_TTL_S: Final = 86_400
#: What a feed may send as a name or a reason is cut to so many characters: a push has 4,096 bytes.
TEXT_MAX_CHARS: Final = 100

_KINDS: Final = {
    "goal_ruled_out": "ruled_out",
    "goal_restored": "goal",
    "goal_amended": "amended",
    "score": "score",
}


def contents_of(change: Change) -> Sequence[JsonObject]:
    """What a change of a match is to be pushed as: one content for a goal or its correction, else none."""
    before, after, record, id_ = change
    info = None if after.info is None else after.info.detail
    made: list[JsonObject] = []
    for one in notifications(before, after, record.event, id_):
        kind = "goal" if one["type"] == "goal" else _KINDS.get(str(one.get("what")))
        if kind is None:
            continue
        made.append({
            "kind": kind,
            "match": after.match_id,
            "event": one["eventId"],
            "home": _short(info["home"]["name"] if info else None),
            "away": _short(info["away"]["name"] if info else None),
            "score": {"home": after.score.home, "away": after.score.away},
            "score_seq": id_.seq,
            "team": one["team"],
            "player": _short(one["player"]),
            "minute": one["minute"],
            "stoppage": one["stoppage"],
            "under_review": bool(one.get("underReview")),
            "reason": _short(one.get("reason")),
        })  # fmt: skip
    return made


def topic(match_id: str, event_id: str) -> str:
    """The tag of a goal: 32 characters of base64url, as ``Topic`` permits (RFC 8030, 5.4)."""
    digest = hashlib.sha256(f"{match_id} {event_id}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode("ascii")


def payload(push: Push) -> bytes:
    """What the service worker gets: ``title``, ``body``, ``tag``, ``path``, ``lang``, ``renotify``.

    The path is that of the match's page as this reader sees it, below the folder of the origin.
    """
    content, language = push.content, language_of(push.to.language)
    score = content["score"]
    title = language.text(
        "score.sentence",
        home=content["home"] or language.text("side.home"),
        away=content["away"] or language.text("side.away"),
        home_score=score["home"],
        away_score=score["away"],
    )
    behind = [(QUERY_BEHIND, str(push.to.delay_s))] if push.to.delay_s else []
    tag = [] if language is ENGLISH else [(KEY_LANGUAGE, language.tag)]
    query = urlencode([*behind, *tag])
    return compact({
        "title": title,
        "body": _body(content, language),
        "tag": topic(push.to.match_id, push.event_id),
        "path": f"match/{push.to.match_id}" + (f"?{query}" if query else ""),
        "lang": language.tag,
        "renotify": content["kind"] == "goal" and not push.shown,
    }).encode("utf-8")  # fmt: skip


def _body(content: JsonObject, language: Language) -> str:
    if content["kind"] == "ruled_out":
        if content["reason"]:
            return language.text("push.ruled_out.reason", reason=reason_words(content["reason"], language))
        return language.text("retracted.GOAL")
    if content["kind"] == "score":
        return language.text("push.score")
    what = language.text("score.review" if content["under_review"] else "push.goal")
    minute = ""
    if content["minute"] is not None:
        key = "minute.stoppage" if content["stoppage"] else "minute"
        minute = language.text(key, minute=content["minute"], stoppage=content["stoppage"])
    return " · ".join(part for part in (what, content["player"], minute) if part)


def _short(text: object) -> str | None:
    return text[:TEXT_MAX_CHARS] if isinstance(text, str) else None
