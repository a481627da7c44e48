"""What a script on another site may read and ask (the Fetch standard's CORS): the rules of both tiers.

Match data is public, so what the widget fetches from somebody else's page may be read by any site. All the
rest (own pages, ingest, health, metrics) is for no other site's scripts. ``origin.web.security_headers``
says which route of the web tier is which; every answer of the stream tier is of the first kind.

A header beyond the simple ones has to be allowed by name before a browser sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = [
    "METHODS",
    "READABLE_BY_ANY",
    "READABLE_BY_ANY_STREAM",
    "RESUME",
    "VALIDATORS",
    "preflight_headers",
]

#: Of an answer of the web tier that another site may read. The Fetch standard hides all but a few headers
#: from the script; these are the ones that the widget and pollers need.
READABLE_BY_ANY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "ETag, Touchline-Id, Touchline-As-Of, Touchline-Step, Retry-After",
    }
)
#: The same of the stream tier, whose answers have no validator: a refusal says when to come back.
READABLE_BY_ANY_STREAM: Final[Mapping[str, str]] = MappingProxyType(
    {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
)
METHODS: Final = "GET, HEAD, OPTIONS"
# Last-Event-ID is what makes a cross-origin reconnect preflighted when its value is not simple.
RESUME: Final = "Last-Event-ID, Cache-Control"
# A poll with a validator is preflighted. Without an answer to that, a script on another site can only ask for
# everything, each time.
VALIDATORS: Final = "If-None-Match, If-Modified-Since"
_MAX_AGE_S: Final = 86_400


def preflight_headers(allowed: str) -> dict[str, str]:
    """The answer to a preflight, beside ``Access-Control-Allow-Origin``.

    Args:
        allowed: ``RESUME`` or ``VALIDATORS``: the headers that may be sent.
    """
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": allowed,
        "Access-Control-Max-Age": str(_MAX_AGE_S),
    }
