"""What polls read: the score, the snapshot, one delta. Everything here can be cached by its URL.

A validator is the id itself: the same ``ETag`` on every origin and in every region.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from origin.bus import Suffix, UpToDate
from origin.errors import RequestError
from origin.web.cache_policy import IMMUTABLE, LATEST, NO_STORE, STALE, set_policy
from origin.web.match_cache import Scoreboard
from origin.web.origin import origin
from origin.web.page_delay import delay_of_poll_s
from shared_state import DeltaId, Match, WireError
from shared_state.jsontext import JsonObject, compact
from shared_state.wire import HEADER_AS_OF

__all__ = ["blueprint", "conditional", "date_of", "make_conditional", "mark_stale", "parse_id", "score_json"]

blueprint = Blueprint("polls", __name__)

# A date is given once its second is surely over, on every origin's clock: no date may lie ahead.
LAST_MODIFIED_AFTER_S = 2


@blueprint.get("/score")
def score() -> Response:
    """The score alone, for the smallest poll."""
    match_id = request.args.get("matchId")
    if match_id is None:
        raise RequestError(400, "missing_parameter", "matchId is required: /score?matchId=<id>")
    board = origin().matches.latest(match_id)
    body = compact(score_json(board.match, board.id, board.replica.accepted_ms, board.hash))
    return conditional(body.encode(), board)


@blueprint.get("/api/match/<match_id>/state")
def state(match_id: str) -> Response:
    """The snapshot: all that a client needs to go on alone; with ``?behind=30`` as of half a minute ago."""
    delay_s = delay_of_poll_s()
    board = origin().matches.behind(match_id, delay_s) if delay_s else origin().matches.latest(match_id)
    return conditional(board.snapshot, board)


@blueprint.get("/api/match/<match_id>/deltas/<id_text>")
def delta_after(match_id: str, id_text: str) -> Response:
    """The delta after an id, or 204 while there is none."""
    after = parse_id(id_text)
    head = origin().matches.snapshot(match_id).id
    if after.epoch == head.epoch and after.seq > head.seq:
        raise RequestError(
            404, "unknown_id", f"match {match_id!r} has no id {after}; it is at {head}", head=str(head)
        )
    replayed = origin().matches.replay(match_id, after)
    if isinstance(replayed, UpToDate):
        return set_policy(Response(status=204), NO_STORE)
    if not isinstance(replayed, Suffix):
        raise RequestError(
            410,
            "gap",
            f"what came after {after} is not kept any more; the match is at {head}",
            head=str(head),
            snapshot=f"/api/match/{match_id}/state",
        )
    following = replayed.deltas[0]
    response = set_policy(Response(following.delta, mimetype="application/json"), IMMUTABLE)
    response.headers["Touchline-Id"] = str(following.id)
    response.headers["Link"] = f'</api/match/{match_id}/deltas/{following.id}>; rel="next"'
    response.set_etag(str(following.id))
    return response


def parse_id(text: str) -> DeltaId:
    """An id in a URL.

    Raises:
        RequestError: 400 it is not ``<epoch>-<seq>``.
    """
    try:
        return DeltaId.parse(text)
    except WireError as error:
        raise RequestError(400, "bad_id", str(error)) from None


def conditional(body: bytes, board: Scoreboard) -> Response:
    """The answer with its validators, or 304 if the client has it.

    By date a client has it only if it names the very date of this id. HTTP would also accept a later date,
    but what the log took earlier may be published later: a client that sends the time of its last poll would
    get 304 for a change that it never saw.

    It says until when this origin knew the match to be so. A cache keeps that date with the answer, so a
    client sees how old a kept one is.
    """
    response = set_policy(Response(body, mimetype="application/json"), LATEST)
    response.headers["Touchline-Id"] = str(board.id)
    if board.stale:
        return mark_stale(response, board)
    response.headers[HEADER_AS_OF] = str(board.as_of_ms)
    response.set_etag(str(board.id))
    return make_conditional(response, date_of(board))


def date_of(board: Scoreboard) -> datetime | None:
    """The ``Last-Modified`` of what shows a match at its id; None while it could still lie ahead."""
    modified_s = origin().matches.modified_s(board)
    accepted_s = (board.replica.accepted_ms or 0) / 1000
    if modified_s is None or max(modified_s, accepted_s) + LAST_MODIFIED_AFTER_S >= time.time():
        return None
    return datetime.fromtimestamp(modified_s, UTC)


def make_conditional(response: Response, dated: datetime | None) -> Response:
    """Date an answer, and make it 304 for who has it: by its tag if one was sent, else by its very date."""
    if dated is not None:  # None would be the present
        response.last_modified = dated
    if "If-None-Match" in request.headers:
        # HTTP: whoever sends a tag, even one that cannot be read, is not judged by the date.
        if request.if_none_match:
            response.make_conditional(request)
    elif request.if_modified_since in (None, response.last_modified):
        response.make_conditional(request)
    return response


def mark_stale(response: Response, board: Scoreboard) -> Response:
    """Have an answer say since when it may be out of date, and return it.

    It has no validator, and the client's is not looked at: 304 would say that nothing has changed.
    """
    response.headers[HEADER_AS_OF] = str(board.as_of_ms)
    return set_policy(response, STALE)


def score_json(match: Match, id_: DeltaId, accepted_ms: int | None, hash_: str) -> JsonObject:
    """The body of ``/score``."""
    shootout, clock, info = match.shootout, match.clock, match.info
    return {
        "match_id": match.match_id,
        "id": str(id_),
        "epoch": id_.epoch,
        "seq": id_.seq,
        "status": match.status,
        "period": clock.period,
        "minute": clock.minute,
        "stoppage": clock.stoppage,
        "home": None if info is None else info.detail["home"],
        "away": None if info is None else info.detail["away"],
        "score": match.score.to_json(),
        "shootout": None if shootout is None else shootout.to_json(),
        "accepted_ms": accepted_ms,
        "hash": hash_,
    }
