"""Fetches one page again and again until standard input is closed; prints pages per second.

usage: python -m bench.stream.pages PORT PATH CLIENTS      (a server on 127.0.0.1; two minutes at most)
"""

from __future__ import annotations

import http.client
import sys
import threading
import time

MAX_SECONDS = 120


def fetch(port: int, path: str, stop: threading.Event, counts: list[int], errors: list[str]) -> None:
    """One client: a connection that is kept as long as the server keeps it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    count = 0
    try:
        while not stop.is_set():
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                errors.append(f"{path}: {response.status}")
                return
            count += 1
    except (OSError, http.client.HTTPException) as error:
        errors.append(f"{path}: {error!r}")
    finally:
        connection.close()
        counts.append(count)


def wait_for_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def main() -> None:
    port, path, clients = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    stop = threading.Event()
    counts: list[int] = []
    errors: list[str] = []
    threads = [
        threading.Thread(target=fetch, args=(port, path, stop, counts, errors), daemon=True)
        for _ in range(clients)
    ]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    threading.Thread(target=wait_for_end_of_input, args=(stop,), daemon=True).start()
    stop.wait(MAX_SECONDS)
    stop.set()
    seconds = time.monotonic() - begun
    for thread in threads:
        thread.join(timeout=5)
    for error in errors[:3]:
        print(error, file=sys.stderr)
    print(sum(counts) / seconds, flush=True)
    raise SystemExit(1 if errors else 0)


if __name__ == "__main__":
    main()
