"""Every ``Cache-Control`` of the web tier. What may be kept, by whom and for how long is decided here.

``NO_STORE`` is for what is true for one request only: errors (a match that is unknown now may begin in a
second), health, metrics, ingest, and "there is no next delta yet". ``IMMUTABLE`` is for a delta, a fragment,
a file with its hash in its name. The stream tier has the same headers
(``origin.stream.http.cache_headers``).

Beside it an answer has ``CDN-Cache-Control`` (RFC 9213), which is for shared caches alone, and, where it may
be kept, its surrogate keys in ``Surrogate-Key`` (Varnish, Fastly) and ``Cache-Tag`` (Cloudflare, Akamai): a
purge by key finds all that was made from a match.
"""

from __future__ import annotations

import re
from typing import Final

from flask import Flask, Response, current_app, request

from origin.ladder.steps import Step
from origin.stream.http.cache_headers import IMMUTABLE, NO_STORE, for_shared_caches, match_key
from origin.web.origin import origin_of
from shared_state.wire import HEADER_AS_OF, HEADER_KEEP, HEADER_STEP

__all__ = [
    "IMMUTABLE",
    "LATEST",
    "NO_STORE",
    "RELAXED",
    "SERVICE_WORKER",
    "STABLE_NAME",
    "STALE",
    "init_app",
    "set_policy",
    "surrogate_keys",
]

#: The newest state of something: pages, polls, snapshots. One second in shared caches makes a million polls
#: one request a second. When the origin is slow or gone, the cache goes on with what it has; the page shows
#: the reader how old that is.
LATEST: Final = "public, max-age=0, s-maxage=1, stale-while-revalidate=5, stale-if-error=86400"
#: What may no longer be the newest, because the bus cannot be asked. A cache keeps it for a second, and shows
#: it neither longer nor instead of an error: it may have something newer.
STALE: Final = "public, max-age=0, s-maxage=1"
#: ``LATEST`` while the ladder is at its last step: a cache asks the origin four times a minute.
RELAXED: Final = "public, max-age=0, s-maxage=15, stale-while-revalidate=60, stale-if-error=86400"
#: A widget file under a name without a hash. A release reaches every embed within minutes; if it cannot be
#: fetched then, the old one still works.
STABLE_NAME: Final = "public, max-age=300, stale-while-revalidate=3600, stale-if-error=604800"
#: A browser asks for its service worker on every visit and must get the newest, or it is stuck with a bug.
SERVICE_WORKER: Final = "public, no-cache"

# The service worker keeps these for a visit without a network, and no answer without this mark.
_KEPT: Final = {
    "pages.index": "page",
    "pages.match": "page",
    "pages.embed": "page",
    "assets.widget_file": "file",
}
_MATCH: Final = re.compile("[A-Za-z0-9_-]{1,64}")


def set_policy(response: Response, policy: str) -> Response:
    """Set ``Cache-Control`` to one of the policies above, and return the same response."""
    response.headers["Cache-Control"] = policy
    return response


def surrogate_keys(endpoint: str | None, match_id: str | None) -> list[str]:
    """The keys by which an answer can be purged.

    Args:
        endpoint: the route that matched; None if none did.
        match_id: the match that it is about, if it is about one.
    """
    if match_id is not None and _MATCH.fullmatch(match_id):
        return [match_key(match_id)]
    if endpoint in ("pages.index", "pages.list_fragment"):
        return ["matches"]
    return ["widget"] if endpoint is not None and endpoint.startswith("assets.") else []


def init_app(app: Flask) -> None:
    """Give every answer of an application the headers for shared caches; without a policy it is not kept."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    policy = response.headers.setdefault("Cache-Control", NO_STORE)
    step = origin_of(current_app).advice.step
    if policy == LATEST and step >= Step.STALE:
        policy = response.headers["Cache-Control"] = RELAXED
    if HEADER_AS_OF in response.headers:
        # Always there: a 304 renews the headers that it has, so a kept one would go on for ever without.
        response.headers[HEADER_STEP] = str(int(step))
    response.headers["CDN-Cache-Control"] = for_shared_caches(policy)
    if policy != NO_STORE:
        if request.endpoint in _KEPT and response.status_code in (200, 304):
            response.headers[HEADER_KEEP] = _KEPT[request.endpoint]
        match_id = (request.view_args or {}).get("match_id") or request.args.get("matchId")
        if keys := surrogate_keys(request.endpoint, match_id):
            response.headers["Surrogate-Key"] = " ".join(keys)
            response.headers["Cache-Tag"] = ",".join(keys)
    return response
