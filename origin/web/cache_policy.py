"""Every ``Cache-Control`` of the web tier. What may be kept, by whom and for how long is decided here."""

from __future__ import annotations

from typing import Final

from flask import Response

__all__ = ["IMMUTABLE", "LATEST", "NO_STORE", "SERVICE_WORKER", "STABLE_NAME", "STALE", "set_policy"]

#: What is true for this request only: errors (a match that is unknown now may begin in a second), health,
#: metrics, ingest, and "there is no next delta yet".
NO_STORE: Final = "no-store"
#: The newest state of something: pages, polls, snapshots. One second in shared caches makes a million polls
#: one request a second. When the origin is slow or gone, the cache goes on with what it has; the page shows
#: the reader how old that is.
LATEST: Final = "public, max-age=0, s-maxage=1, stale-while-revalidate=5, stale-if-error=86400"
#: What may no longer be the newest, because the bus cannot be asked. A cache keeps it for a second, and shows
#: it neither longer nor instead of an error: it may have something newer.
STALE: Final = "public, max-age=0, s-maxage=1"
#: What never changes under its URL: a delta, a fragment, a file with its hash in its name.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
#: A widget file under a name without a hash. A release reaches every embed within minutes; if it cannot be
#: fetched then, the old one still works.
STABLE_NAME: Final = "public, max-age=300, stale-while-revalidate=3600, stale-if-error=604800"
#: A browser asks for its service worker on every visit and must get the newest, or it is stuck with a bug.
SERVICE_WORKER: Final = "public, no-cache"


def set_policy(response: Response, policy: str) -> Response:
    """Set ``Cache-Control`` to one of the policies above, and return the same response."""
    response.headers["Cache-Control"] = policy
    return response
