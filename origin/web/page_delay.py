"""The spoiler delay of a page: by its address, so that a cache keeps one page for each.

``?behind=30`` is the only spelling of half a minute. There are 120 of them, which bounds what a stranger can
have a cache keep.
"""

from __future__ import annotations

import re
from typing import Final

from flask import request

from origin.errors import RequestError
from shared_state.errors import shown
from shared_state.spoiler_delay import DELAY_MAX_S
from shared_state.wire import QUERY_BEHIND

__all__ = ["delay_of_poll_s", "requested_delay_s"]

_SECONDS: Final = re.compile("[1-9][0-9]{0,2}")


def requested_delay_s() -> int:
    """By how many seconds the page of this request stays behind; 0 for none, and for what is no delay."""
    text = request.args.get(QUERY_BEHIND, "")
    return int(text) if _SECONDS.fullmatch(text) and int(text) <= DELAY_MAX_S else 0


def delay_of_poll_s() -> int:
    """The same for a client's request, which is refused where it is none.

    Raises:
        RequestError: 400 ``bad_delay``.
    """
    given, delay_s = request.args.getlist(QUERY_BEHIND), requested_delay_s()
    if given != ([str(delay_s)] if delay_s else []):
        raise RequestError(
            400,
            "bad_delay",
            f"{QUERY_BEHIND} {shown(given[0])}: must be whole seconds from 1 to {DELAY_MAX_S}",
        )
    return delay_s
