"""``touchline console``: accounts and sessions from the shell, while a server runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from origin.cli import main
from origin.console.accounts import Accounts
from origin.console.store import Store

PASSWORD = "correct horse battery"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "console"


def run(directory: Path | None, *arguments: str, text: str = "") -> Result:
    environment = {} if directory is None else {"TOUCHLINE_CONSOLE_DATA_DIR": str(directory)}
    return CliRunner().invoke(main, ["console", *arguments], env=environment, input=text)


def test_an_account_is_added_listed_and_removed_with_its_sessions(directory: Path) -> None:
    added = run(directory, "add-user", "ana", text=f"{PASSWORD}\n")
    assert added.exit_code == 0, added.output
    assert Accounts(directory / "accounts.json").check("ana", PASSWORD)
    assert run(directory, "list-users").stdout.splitlines() == ["ana"]
    store = Store(directory / "console.db", time.time)
    token = store.begin("ana", "local", "", 3_600)
    removed = run(directory, "remove-user", "ana")
    assert removed.exit_code == 0
    assert "1 sessions ended" in removed.output
    assert store.session(token) is None
    assert run(directory, "list-users").stdout == ""


def test_a_made_up_password_is_printed_once_and_works(directory: Path) -> None:
    added = run(directory, "add-user", "ana", "--generate")
    (password,) = added.stdout.splitlines()
    assert len(password) >= 20
    assert Accounts(directory / "accounts.json").check("ana", password)


def test_revoke_ends_sessions_of_any_kind_and_leaves_the_account(directory: Path) -> None:
    run(directory, "add-user", "ana", "--generate")
    store = Store(directory / "console.db", time.time)
    tokens = [store.begin("ana", kind, "", 3_600) for kind in ("local", "proxy", "oidc")]
    assert "3 sessions of ana ended" in run(directory, "revoke", "ana").output
    assert [store.session(token) for token in tokens] == [None, None, None]
    assert run(directory, "list-users").stdout.splitlines() == ["ana"]


@pytest.mark.parametrize(
    ("arguments", "text", "named"),
    [
        (("add-user", "ana"), "short\n", "12 to 1024 characters, this one has 5"),
        (("add-user", "a b"), f"{PASSWORD}\n", "operator 'a b'"),
        (("remove-user", "ben"), "", "no account 'ben'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    directory: Path, arguments: tuple[str, ...], text: str, named: str
) -> None:
    refused = run(directory, *arguments, text=text)
    assert refused.exit_code == 1
    assert named in refused.output


def test_a_server_whose_console_nobody_can_use_does_not_start(directory: Path) -> None:
    environment = {"TOUCHLINE_CONSOLE_DATA_DIR": str(directory), "EVENTLOG_URL": "memory://"}
    refused = CliRunner().invoke(main, ["serve", "--port", "0"], env=environment)
    assert refused.exit_code == 1
    assert "touchline console add-user" in refused.output


def test_without_a_directory_it_says_which_setting_names_it() -> None:
    refused = run(None, "list-users")
    assert refused.exit_code == 2
    assert "TOUCHLINE_CONSOLE_DATA_DIR" in refused.output
