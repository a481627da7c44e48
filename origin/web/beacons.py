"""``POST /beacon``: how late a sampled reader's browser showed a goal. A number, and nothing of who sent it.

Anybody can post here, so it is bounded and believed accordingly: it is for a chart, not for an alarm.
"""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, Response, request

from origin.errors import RequestError
from origin.web.beacon_rate import RATE_PER_S
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.origin import origin
from shared_state.errors import shown

__all__ = ["BODY_MAX_BYTES", "blueprint"]

blueprint = Blueprint("beacons", __name__)

#: ``retract 600000`` is 14 bytes.
BODY_MAX_BYTES: Final = 32
# What is later says that a laptop was asleep, and not how we serve.
_LATEST_MS: Final = 600_000
_BODY: Final = re.compile(rb"(goal|retract) (0|[1-9][0-9]{0,5})")


@blueprint.post("/beacon")
def beacon() -> Response:
    """Take one measurement: ``goal 412`` or ``retract 380``, milliseconds from the log to the screen.

    A body of another form is 400 and named; 404 where beacons are off; 429 above ``RATE_PER_S``.
    """
    counted = origin().metrics.web_beacons
    if not origin().config.beacon_rate:
        raise RequestError(404, "no_beacons", "this origin takes no beacons")
    if not origin().beacon_rate.take():
        counted.labels("too_many").inc()
        raise RequestError(
            429, "too_many_beacons", f"at most {RATE_PER_S} beacons a second", headers={"Retry-After": "1"}
        )
    body = request.stream.read(BODY_MAX_BYTES + 1)
    found = _BODY.fullmatch(body)
    if found is None or int(found[2]) > _LATEST_MS:
        counted.labels("refused").inc()
        raise RequestError(
            400,
            "bad_beacon",
            f"{shown(body.decode('utf-8', 'replace'))}: must be `goal MS` or `retract MS`, MS a whole number"
            f" from 0 to {_LATEST_MS}",
        )
    counted.labels("taken").inc()
    origin().metrics.web_goal_screen.labels(found[1].decode()).observe(int(found[2]) / 1_000)
    return set_policy(Response(status=204), NO_STORE)
