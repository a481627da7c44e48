"""The door of other threads into the loop: open while the loop runs, shut for good when it ends."""

from __future__ import annotations

import os
import threading

from origin.stream.net.reactor import Reactor


def test_what_is_posted_runs_in_order_and_wakes_the_loop_once() -> None:
    reactor = Reactor()
    ran: list[int] = []
    for number in range(3):
        reactor.post(lambda number=number: ran.append(number))  # type: ignore[misc]
    reactor.dispatch(5.0)
    assert ran == [0, 1, 2]
    reactor.close()


def test_a_late_post_writes_to_nobody_else_s_file() -> None:
    """The number of the wake-up descriptor is given to the next file that is opened."""
    reactor = Reactor()
    late = threading.Event()
    posted = threading.Event()

    def poster() -> None:
        late.wait(10)
        for _ in range(100):
            reactor.post(lambda: None)
        posted.set()

    thread = threading.Thread(target=poster)
    thread.start()
    number = reactor._wake_fd
    reactor.close()
    # Until one has that very number.
    files = [os.memfd_create("another")]
    while files[-1] != number and len(files) < 64:
        files.append(os.memfd_create("another"))
    try:
        assert number in files
        late.set()
        thread.join(10)
        assert posted.is_set()
        assert [os.fstat(file).st_size for file in files] == [0] * len(files)
    finally:
        late.set()
        thread.join(10)
        for file in files:
            os.close(file)


def test_posts_race_with_the_end() -> None:
    """Many threads post while the reactor closes: none writes afterwards, and none fails."""
    for _ in range(30):
        reactor = Reactor()
        failures: list[BaseException] = []
        stop = threading.Event()

        def poster(reactor: Reactor = reactor, failures: list[BaseException] = failures) -> None:
            try:
                while not stop.is_set():  # noqa: B023 - joined within this round
                    reactor.post(lambda: None)
            except BaseException as error:  # noqa: BLE001 - the thread's end is what is looked at
                failures.append(error)

        threads = [threading.Thread(target=poster) for _ in range(4)]
        for thread in threads:
            thread.start()
        reactor.dispatch()
        reactor.close()
        stop.set()
        for thread in threads:
            thread.join(10)
        assert failures == []
