"""``/ladder`` of the admin port: what the panic ladder is at, and setting it. Never on the public port.

A page in an operator's browser must not be able to set it: a request has to say that it is JSON, which a
browser sends to another origin only after a preflight, and none is granted here.
"""

from __future__ import annotations

import time
from typing import Any, Final

from flask import Blueprint, Response, current_app, jsonify, request

from origin.errors import RequestError
from origin.ladder.steps import LadderError, LadderState, step_of
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.origin import origin
from origin.web.region_link import link_of
from shared_state.jsontext import JsonObject

__all__ = ["blueprint"]

blueprint = Blueprint("ladder", __name__)
_MEMBERS: Final = frozenset({"step", "reason"})
_BODY_MAX_BYTES: Final = 4_096


@blueprint.get("/ladder")
def show() -> Response:
    """The state that the operator has set, and what pages are told."""
    return _answer()


@blueprint.post("/ladder")
def change() -> Response:
    """Set the step for the region: ``{"step": "poll", "reason": "…"}``."""
    if request.mimetype != "application/json":
        raise RequestError(415, "not_json", f"{request.mimetype[:64]!r}: the body must be application/json")
    if (request.content_length or 0) > _BODY_MAX_BYTES:
        raise RequestError(413, "body_too_large", f"{request.content_length} bytes, of {_BODY_MAX_BYTES}")
    body: Any = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("step"), str):
        raise RequestError(400, "bad_ladder", 'the body must be {"step": "<step>", "reason": "<text>"}')
    if unknown := sorted(set(body) - _MEMBERS):
        raise RequestError(400, "bad_ladder", f"{unknown[0][:64]!r} is no member of it")
    try:
        state = LadderState(step_of(body["step"]), str(body.get("reason", "")), time.time_ns() // 1_000_000)
    except LadderError as error:
        raise RequestError(400, "bad_ladder", str(error)) from None
    try:
        link_of(current_app).set_step(state)
    except LadderError as error:
        raise RequestError(503, "ladder_unavailable", str(error)) from None
    return _answer()


def _answer() -> Response:
    state, advice = link_of(current_app).state, origin().advice
    told: JsonObject = {"step": int(advice.step), "late_ms": advice.late_ms}
    body: JsonObject = {"step": state.name, "reason": state.reason, "set_ms": state.set_ms, "told": told}
    return set_policy(jsonify(body), NO_STORE)
