"""Local accounts: what the file takes, and that a change counts at once."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from origin.console.accounts import ACCOUNTS_MAX, PASSWORD_CHARS_MAX, Accounts
from origin.errors import ConfigError, RequestError

PASSWORD = "correct horse battery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console" / "accounts.json"


def test_a_password_is_checked_and_is_not_in_the_file(path: Path) -> None:
    accounts = Accounts(path)
    accounts.add("ana", PASSWORD)
    assert accounts.check("ana", PASSWORD)
    assert not accounts.check("ana", PASSWORD + "!")
    assert not accounts.check("ben", PASSWORD)
    assert not accounts.check("ana", "x" * (PASSWORD_CHARS_MAX + 1))
    text = path.read_text(encoding="utf-8")
    assert PASSWORD not in text
    assert json.loads(text)["accounts"]["ana"]["password"].startswith("$argon2id$")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_process_sees_a_change_at_once(path: Path) -> None:
    running, shell = Accounts(path), Accounts(path)
    assert running.names() == []
    shell.add("ana", PASSWORD)
    proof = running.proof("ana")
    assert proof is not None
    shell.add("ana", PASSWORD)
    assert running.proof("ana") != proof, "another password, or the same one anew, is another proof"
    shell.remove("ana")
    assert running.proof("ana") is None
    assert not running.check("ana", PASSWORD)


@pytest.mark.parametrize("name", ["", " ana", "ana ", "-ana", "a\nb", "ana,ben", "é", "x" * 65])
def test_a_name_that_cannot_be_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="operator"):
        Accounts(path).add(name, PASSWORD)
    assert not path.exists()


def test_what_cannot_be_is_refused_and_changes_nothing(path: Path) -> None:
    accounts = Accounts(path)
    with pytest.raises(ConfigError, match="has 11"):
        accounts.add("ana", "x" * 11)
    with pytest.raises(ConfigError, match="no account 'ben'"):
        accounts.remove("ben")
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"accounts": {"ana": 1}}', b'{"accounts": 1}', b"\xff"]
)
def test_a_file_of_something_else_is_named(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"accounts\.json"):
        Accounts(path).names()


def test_so_many_passwords_are_checked_at_once(path: Path) -> None:
    """Four of eight are let in, whether they are checked or wait: each has one of the page threads."""
    accounts = Accounts(path)
    accounts.add("ana", PASSWORD)
    answers: list[int] = []
    ready = threading.Barrier(8)

    def check() -> None:
        ready.wait()
        try:
            accounts.check("ana", PASSWORD)
        except RequestError as busy:
            answers.append(busy.status)
        else:
            answers.append(200)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers)[:4] == [200] * 4
    assert set(answers) == {200, 503}
    assert accounts.check("ana", PASSWORD)


def test_the_number_of_accounts_has_a_bound(path: Path) -> None:
    accounts = Accounts(path)
    accounts.add("ana", PASSWORD)
    content = json.loads(path.read_bytes())
    known = content["accounts"]["ana"]
    content["accounts"] = {f"n{number}": known for number in range(ACCOUNTS_MAX)}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="at most 1000"):
        accounts.add("ben", PASSWORD)
    accounts.add("n7", PASSWORD)  # one that is there may have another password
