"""A file of keys: what it may have in it, and that a change counts from the next webhook on."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from origin.config import Config
from origin.errors import ConfigError
from origin.ingest.key_file import SECRET_FILE_MAX_BYTES, KeyFile
from origin.ingest.signatures import IngestKey, signed_headers
from origin.web.origin import origin_of
from testkit.command import touchline
from testkit.poster import event

ONE, TWO = b"1" * 32, b"2" * 32


def secret(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# the desk\n\n{secret(ONE)}\nscout = {secret(TWO)} ; prefix=eng- ; rate=2.5\n")
    return path


def test_lines_are_keys(path: Path) -> None:
    assert KeyFile(str(path)).current() == (
        IngestKey("key-1", ONE),
        IngestKey("scout", TWO, prefix="eng-", rate=2.5),
    )
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert [key.name for key in KeyFile(str(path)).current()] == ["key-1", "scout"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"whsec_short\n", "this one is not base64"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * (SECRET_FILE_MAX_BYTES + 1), "is larger than"),
        (f"a={secret(ONE)}\na={secret(TWO)}".encode(), "two ingest keys have the name 'a'"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        KeyFile(str(path))
    assert str(caught.value).startswith(f"TOUCHLINE_INGEST_KEYS_FILE '{path}': ")
    assert secret(ONE)[6:] not in str(caught.value)


class Posting:
    """Posts under a key, and gives the status."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        self._number = 0

    def __call__(self, key: bytes) -> int:
        self._number += 1
        body = json.dumps(event(f"g{self._number}")).encode()
        headers = signed_headers(key, f"msg_{self._number}", int(time.time()), body)
        return self._client.post("/ingest/canonical", data=body, headers=headers).status_code


@pytest.fixture
def post(path: Path, make_app: Callable[..., Flask]) -> Posting:
    path.write_text(f"old={secret(ONE)}\n")
    return Posting(make_app(ingest_keys=(), ingest_keys_file=str(path)).test_client())


def test_a_key_that_leaves_the_file_no_longer_signs(post: Posting, path: Path) -> None:
    assert (post(ONE), post(TWO)) == (200, 401)
    path.write_text(f"new={secret(TWO)}\nold={secret(ONE)}\n")
    assert (post(ONE), post(TWO)) == (200, 200)
    replacement = path.with_name("next")  # renamed over it, as an operator should
    replacement.write_text(f"new={secret(TWO)}\n")
    replacement.replace(path)
    assert (post(ONE), post(TWO)) == (401, 200)
    path.write_text("")
    assert post(TWO) == 403


def test_a_mistake_in_the_file_leaves_the_keys_of_before(
    post: Posting, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(ONE) == 200
    for break_it in (lambda: path.write_text(f"new=whsec_{'x' * 9}\n"), path.unlink):
        caplog.clear()
        break_it()
        assert (post(ONE), post(ONE)) == (200, 200)
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1
        assert str(path) in errors[0].getMessage()
        assert "xxxx" not in errors[0].getMessage()
    path.write_text(f"new={secret(TWO)}\n")
    assert (post(ONE), post(TWO)) == (401, 200)


def test_the_records_have_the_names_of_the_file(make_app: Callable[..., Flask], path: Path) -> None:
    app = make_app(ingest_keys=(), ingest_keys_file=str(path))
    assert Posting(app.test_client())(ONE) == 200
    [record] = origin_of(app).log.read_match("fra-cro")
    assert record.signed_by
    assert record.signed_by.key_name == "key-1"


def test_serve_ends_at_once_where_the_file_cannot_be_used(tmp_path: Path) -> None:
    ran = touchline("serve", env={"TOUCHLINE_INGEST_KEYS_FILE": str(tmp_path / "absent")})
    assert (ran.code, ran.out) == (1, b"")
    assert "TOUCHLINE_INGEST_KEYS_FILE" in ran.err
    assert "Traceback" not in ran.err


def test_a_setting_and_its_file_are_not_both_given(path: Path) -> None:
    env = {"TOUCHLINE_INGEST_KEYS": secret(ONE), "TOUCHLINE_INGEST_KEYS_FILE": str(path)}
    with pytest.raises(
        ConfigError, match="TOUCHLINE_INGEST_KEYS and TOUCHLINE_INGEST_KEYS_FILE are both set"
    ):
        Config.from_env(env)


@pytest.mark.parametrize("name", ["EVENTLOG_URL", "BUS_URL"])
def test_a_url_with_a_password_may_be_in_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "url"
    path.write_text("postgres://touchline:hunter2@db/scores\n")
    config = Config.from_env({f"{name}_FILE": str(path)})
    assert "postgres://touchline:hunter2@db/scores" in (config.eventlog_url, config.bus_url)
    path.write_text("\n")
    with pytest.raises(ConfigError, match=f"{name}_FILE .*: is empty"):
        Config.from_env({f"{name}_FILE": str(path)})


def test_the_settings_of_a_feed_may_be_in_files(tmp_path: Path) -> None:
    """The URL comes from the file: what is refused is that it lacks the place for the match's number."""
    path = tmp_path / "url"
    path.write_text("http://127.0.0.1:9/document\n")
    arguments = ("ingest", "--feed", "sportradar-v4", "--match", "sr-1")
    ran = touchline(*arguments, env={"TOUCHLINE_FEED_URL_FILE": str(path), "EVENTLOG_URL": "memory://"})
    assert ran.code != 0
    assert "Missing option" not in ran.err
    path.unlink()
    ran = touchline(*arguments, env={"TOUCHLINE_FEED_URL_FILE": str(path)})
    assert ran.code == 1
    assert "TOUCHLINE_FEED_URL_FILE" in ran.err


def test_replay_signs_with_the_first_key_of_a_file(path: Path, tmp_path: Path) -> None:
    events = tmp_path / "none.jsonl"
    events.write_text("")
    ran = touchline(
        "replay", events, "--to", "http://127.0.0.1:9", env={"TOUCHLINE_INGEST_KEYS_FILE": str(path)}
    )
    assert (ran.code, ran.err) == (0, "touchline: 0 events posted\n")
