"""The file of endpoints: what it may have, and that a mistake in it is named and shows no secret."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from origin.errors import ConfigError
from origin.notify import endpoints
from origin.notify.endpoints import EndpointFile, parse_endpoints

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
GOOD = f'[endpoints.desk]\nurl = "https://desk.example/hooks?x=1"\nsecret = "{SECRET}"\n'


def test_an_endpoint_with_everything() -> None:
    text = f"""
[endpoints.desk]
url = "https://desk.example/hooks"
secrets = ["{SECRET}", "{SECRET}"]
kinds = ["goal"]
matches = ["eng-*", "m?"]
competitions = ["Premier League"]
delay_s = 7.5
"""
    desk = parse_endpoints(text)["desk"]
    assert desk.wants("goal", "eng-2026-11-28-a-b", "Premier League")
    assert desk.wants("goal", "m1", "Premier League")
    assert not desk.wants("status", "m1", "Premier League")
    assert not desk.wants("goal", "m12", "Premier League")
    assert not desk.wants("goal", "m1", None)
    assert (desk.delay_s, len(desk.secrets), desk.allow_private) == (7.5, 2, False)
    assert SECRET not in repr(desk)
    assert "ssss" not in repr(desk)


def test_an_endpoint_without_filters_gets_all() -> None:
    desk = parse_endpoints(GOOD)["desk"]
    assert all(desk.wants(kind, "m1", None) for kind in ("goal", "correction", "status"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[endpoints.desk", "no TOML"),
        ("x = 1", "'x'"),
        ("endpoints = 3", "3"),
        ("[endpoints]\ndesk = 3", "desk"),
        (GOOD.replace("desk]", '"a b"]'), "'a b'"),
        (GOOD + "urll = 1", "'urll'"),
        (GOOD.replace("https://desk.example/hooks?x=1", "http://desk.example/"), "http://desk.example/"),
        (GOOD.replace("https://desk.example/hooks?x=1", "https://u:p@desk.example/"), "user name"),
        (GOOD.replace("https://desk.example/hooks?x=1", "ftp://desk.example/"), "ftp://desk.example/"),
        (GOOD.replace("https://desk.example/hooks?x=1", "https://desk.example/ x"), "url"),
        (GOOD.replace("https://desk.example/hooks?x=1", "https://desk.example:99999/"), "99999"),
        (GOOD.replace(SECRET, "whsec_c2hvcnQ="), "24 to 64 bytes"),
        (GOOD.replace(SECRET, "geheim!"), "whsec_"),
        ('[endpoints.desk]\nurl = "https://desk.example/"\n', "secret"),
        (GOOD + 'kinds = ["goals"]', "'goals'"),
        (GOOD + 'kinds = "goal"', "list of texts"),
        (GOOD + 'matches = ["a b"]', "'a b'"),
        (GOOD + "delay_s = 601", "601"),
        (GOOD + "delay_s = true", "True"),
        (GOOD + "delay_s = nan", "nan"),
        (GOOD + 'allow_private = "yes"', "'yes'"),
        (GOOD + f'secrets = ["{SECRET}"]', "both"),
        (GOOD + f"competitions = {['x'] * 201}".replace("'", '"'), "201"),
        ("".join(GOOD.replace("desk]", f"d{n}]") for n in range(65)), "65"),
    ],
)
def test_a_mistake_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoints(text)
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "geheim" not in str(caught.value)


def replace_file(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def test_a_changed_file_counts_at_once_and_a_faulty_one_not_at_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "endpoints.toml"
    path.write_text(GOOD)
    file = EndpointFile(path)
    assert list(file.current()) == ["desk"]
    replace_file(path, GOOD + GOOD.replace("desk]", "wire]"))
    assert list(file.current()) == ["desk", "wire"]
    replace_file(path, "no file of endpoints")
    assert list(file.current()) == ["desk", "wire"]
    assert list(file.current()) == ["desk", "wire"]
    assert caplog.text.count("stay in use") == 1
    path.unlink()
    assert list(file.current()) == ["desk", "wire"]
    replace_file(path, GOOD)
    assert list(file.current()) == ["desk"]


def test_a_file_that_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        EndpointFile(tmp_path / "missing")
    path = tmp_path / "endpoints.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        EndpointFile(path)
    monkeypatch.setattr(endpoints, "FILE_MAX_BYTES", 10)
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match="more than 10 bytes"):
        EndpointFile(path)
