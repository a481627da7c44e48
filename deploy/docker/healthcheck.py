"""The image's health check: exit code 0 if ``HEALTHCHECK_URL`` answers with 200 within three seconds, else 1.

The image has no shell tool that speaks HTTP, and the standard library is there anyway.
"""

from __future__ import annotations

import os
import sys
import urllib.request

TIMEOUT_S = 3.0


def main() -> int:
    """Ask, and say on stderr what is wrong."""
    url = os.environ.get("HEALTHCHECK_URL", "http://127.0.0.1:8000/healthz")
    if not url.startswith("http://127.0.0.1:"):
        sys.stderr.write(
            f"HEALTHCHECK_URL {url!r}: a health check asks its own container, http://127.0.0.1:…\n"
        )
        return 1
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310
            status = answer.status
    except OSError as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1
    if status != 200:
        sys.stderr.write(f"{url}: {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
