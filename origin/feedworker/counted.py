"""One request to a vendor that counts them: made only if one is left, and counted whatever comes of it."""

from __future__ import annotations

from collections.abc import Callable

from origin.feedworker.client import Document, Validators, VendorClient, VendorError
from origin.feedworker.quota import Quota, allowance_of

__all__ = ["fetch_counted"]


async def fetch_counted(
    client: VendorClient,
    quota: Quota,
    url: str,
    validators: Validators,
    now_ms: Callable[[], int],
    note_left: Callable[[int], None],
) -> Document | None:
    """As ``VendorClient.fetch``.

    Args:
        client: of the vendor.
        quota: the requests of its key.
        url: of the document.
        validators: of the document that is known.
        now_ms: UTC milliseconds.
        note_left: called with how many requests are left of the day, where that is known.

    Raises:
        VendorError: no document, and why; ``limited`` where no request is left, and none is made.
    """
    if quota.left(now_ms()) == 0:
        raise VendorError("limited", "the requests of the day are used up")
    wait_ms = quota.window_wait_ms(now_ms())
    if wait_ms:
        raise VendorError("limited", "the requests of the minute are used up", hint_ms=wait_ms)
    headers: dict[str, str] = {}
    try:
        document = await client.fetch(url, validators)
        headers = {} if document is None else document.headers
    except VendorError as error:
        headers = error.headers
        raise
    finally:
        said = allowance_of(headers)
        quota.spend(now_ms(), said.day, window=said.window, window_ms=said.window_ms)
        left = quota.left(now_ms())
        if left is not None:
            note_left(left)
    return document
