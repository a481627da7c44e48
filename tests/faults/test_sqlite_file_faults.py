"""A log file that is removed or replaced under a running origin, and a disk that is full."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from origin.eventlog.sqlite_backup import back_up, restore
from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer
from testkit.services.process import unavailable

MATCH = "m-1"
PATIENCE_S = 20.0


def goal(event_id: str, minute: int = 5) -> JsonObject:
    return {
        "match_id": MATCH,
        "event_id": event_id,
        "rev": 1,
        "op": "ADD",
        "type": "GOAL",
        "team": "home",
        "minute": minute,
    }


def remove_all(path: Path) -> None:
    for file in path.parent.glob("log.db*"):
        file.unlink()


def remove_the_log(path: Path) -> None:
    path.unlink()


def remove_the_wal(path: Path) -> None:
    path.with_name("log.db-wal").unlink()


def rename_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.rename(path)


def restore_a_backup(path: Path) -> None:
    copy = path.with_name("backup")
    back_up(path, copy)
    remove_all(path)
    restore(copy, path)


def another_directory(path: Path) -> None:
    rename_the_directory(path)
    path.parent.mkdir()
    for file in path.parent.with_name("elsewhere").glob("log.db*"):
        os.link(file, path.parent / file.name)


@pytest.mark.parametrize(
    "lose",
    [
        remove_all,
        remove_the_log,
        remove_the_wal,
        rename_the_directory,
        replace_by_a_copy,
        restore_a_backup,
        another_directory,
    ],
)
def test_a_log_that_is_not_there_any_more_takes_nothing(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    directory = tmp_path / "volume"
    directory.mkdir()
    origin = OriginServer(directory)
    try:
        origin.start()
        assert origin.post(goal("g1")) == 200
        lose(origin.log_path)
        assert origin.post(goal("g2")) == 503
        status, body = origin.get("/readyz")
        assert status == 503
        assert "while it was open" in " ".join(json.loads(body)["reasons"])
        assert origin.status(f"/match/{MATCH}") == 200, "what was published is still served"
    finally:
        origin.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    at = tmp_path / "disk"
    at.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", at], check=False)
    if mounted.returncode:
        unavailable("a mount of a tmpfs (which needs root)")
    yield at
    subprocess.run(["umount", "-l", at], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_log_of_the_version_before_is_read_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Its records have no column for a trace, and none can be added until there is space."""
    path = small_disk / "log.db"
    origin = OriginServer(tmp_path, env={"EVENTLOG_URL": f"sqlite:///{path}"})
    try:
        origin.start()
        assert origin.post(goal("g1")) == 200
        origin.stop()
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("ALTER TABLE records DROP COLUMN traceparent")
        filler = fill(small_disk)
        origin.start()
        assert json.loads(origin.get(f"/score?matchId={MATCH}")[1])["score"] == {"home": 1, "away": 0}
        filler.unlink()
        until = time.monotonic() + PATIENCE_S
        while origin.post(goal("g2")) != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        origin.stop()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(traceparent), count(*) FROM records").fetchone() == (0, 2)


@pytest.mark.parametrize("clean", [True, False], ids=["after an orderly stop", "after kill -9"])
def test_an_origin_starts_on_a_full_disk_and_goes_on_when_there_is_space(
    small_disk: Path, tmp_path: Path, clean: bool
) -> None:
    origin = OriginServer(tmp_path, env={"EVENTLOG_URL": f"sqlite:///{small_disk / 'log.db'}"})
    try:
        origin.start()
        assert origin.post(goal("g1")) == 200
        origin.stop() if clean else origin.kill()
        filler = fill(small_disk)
        origin.start()
        assert json.loads(origin.get(f"/score?matchId={MATCH}")[1])["score"] == {"home": 1, "away": 0}
        assert origin.post(goal("g2")) == 503
        status, body = origin.get("/readyz")
        assert status == 200
        assert "read-only" in json.loads(body)["notes"][0]
        filler.unlink()
        until = time.monotonic() + PATIENCE_S
        while origin.post(goal("g2")) != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert "notes" not in json.loads(origin.get("/readyz")[1])
    finally:
        origin.stop()


def make_immutable(path: Path, immutable: bool) -> None:
    files = sorted(path.parent.glob("log.db*"))
    changed = subprocess.run(["chattr", "+i" if immutable else "-i", *files], check=False)
    if changed.returncode:
        unavailable("chattr +i (which needs root and a file system that has it)")


@pytest.mark.parametrize("when", ["while it takes events", "while it has taken none yet", "before it starts"])
def test_a_log_that_becomes_immutable_takes_nothing_until_it_is_not(tmp_path: Path, when: str) -> None:
    """SQLite's memory of the ``-shm`` file cannot be written to then: the process would end by SIGBUS."""
    origin = OriginServer(tmp_path)
    try:
        origin.start()
        assert origin.post(goal("g1")) == 200
        if when != "while it takes events":
            origin.stop()
        if when == "while it has taken none yet":
            origin.start()
        make_immutable(origin.log_path, True)
        if when == "before it starts":
            origin.start()
        assert [origin.post(goal(event_id)) for event_id in ("g2", "g3")] == [503, 503]
        status, body = origin.get("/readyz")
        assert status == 200
        assert "read-only" in json.loads(body)["notes"][0]
        assert json.loads(origin.get(f"/score?matchId={MATCH}")[1])["score"] == {"home": 1, "away": 0}
        make_immutable(origin.log_path, False)
        until = time.monotonic() + PATIENCE_S
        while origin.post(goal("g2")) != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert "notes" not in json.loads(origin.get("/readyz")[1])
    finally:
        subprocess.run(["chattr", "-i", *tmp_path.glob("log.db*")], check=False)
        origin.stop()
