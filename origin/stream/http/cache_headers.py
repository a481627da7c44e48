"""What caches may do with an answer, as headers: the same rules for the web tier and the stream tier.

``Cache-Control`` is for all caches, ``CDN-Cache-Control`` (RFC 9213) for shared ones alone. What may be
kept has its match in ``Surrogate-Key`` (Varnish, Fastly) and ``Cache-Tag`` (Cloudflare, Akamai): a purge by
that key finds all that was made from the match.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "GONE",
    "IMMUTABLE",
    "LATEST_SECOND",
    "NO_STORE",
    "cache_headers",
    "for_shared_caches",
    "match_key",
]

#: What is true for this request only.
NO_STORE: Final = "no-store"
#: What never changes under its URL.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
#: What may be otherwise in a moment, shared by all who ask within a second.
LATEST_SECOND: Final = "public, max-age=0, s-maxage=1"
#: What a client meets that has been away for long, and all clients of a log that was rebuilt.
GONE: Final = "public, max-age=0, s-maxage=5"


def for_shared_caches(policy: str) -> str:
    """The ``CDN-Cache-Control`` beside a ``Cache-Control``: a cache that reads it needs no ``s-maxage``."""
    return policy.replace("max-age=0, s-maxage=", "max-age=")


def match_key(match_id: str) -> str:
    """The surrogate key of all that is made from a match."""
    return f"match-{match_id}"


def cache_headers(policy: str, match_id: str = "") -> dict[str, str]:
    """All headers about caching of one answer.

    Args:
        policy: its ``Cache-Control``.
        match_id: the match that a kept answer is about; checked before, since a key must not be of
            somebody's making.
    """
    headers = {"Cache-Control": policy, "CDN-Cache-Control": for_shared_caches(policy)}
    if match_id and policy != NO_STORE:
        headers["Surrogate-Key"] = headers["Cache-Tag"] = match_key(match_id)
    return headers
