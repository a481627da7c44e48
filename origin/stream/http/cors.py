"""What a script on another site may ask (the Fetch standard's CORS): one answer to all preflights.

Nothing here is personal, so any origin may read. A header beyond the simple ones has to be allowed by name
before a browser sends it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["METHODS", "RESUME", "VALIDATORS", "preflight_headers"]

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
