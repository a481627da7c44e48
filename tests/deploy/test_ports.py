"""Ports for servers: none is given to two processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import ports

ASK = "from deploy.ports import free_port; print(*[free_port() for _ in range(200)])"


def test_processes_that_ask_at_once_get_different_ports() -> None:
    asking = [subprocess.Popen([sys.executable, "-c", ASK], stdout=subprocess.PIPE) for _ in range(3)]
    given = [int(port) for one in asking for port in one.communicate(timeout=60)[0].split()]
    assert len(given) == len(set(given)) == 600
    end = int(ports.LOCAL_PORTS.read_text("ascii").split()[0])
    assert all(ports.LOWEST_PORT <= port < end for port in given), "no outgoing connection can have one"


def test_a_port_that_is_listened_on_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = ports.free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        assert not ports.is_free(first + 1)
        assert ports.free_port() > first + 1


def test_a_file_that_says_nothing_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ports.free_port()
    (file,) = tmp_path.iterdir()
    file.write_text("half a numb")
    assert ports.is_free(ports.free_port())
    assert file.read_text().isdigit()
