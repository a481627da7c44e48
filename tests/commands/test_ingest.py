"""``touchline ingest`` with settings that cannot be: one line that names the value, and nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.command import touchline

URL = ("--url", "http://127.0.0.1:9/{id}")
OPTA = ("--feed", "opta-f24", "--match", "opta-1")
BAD_NAMES = b"<SoccerFeed>\n<Team"


@pytest.mark.parametrize(
    ("argv", "code", "what"),
    [
        (("--feed", "opta-f99", "--match", "opta-1", *URL), 2, "'opta-f99' is not one of"),
        (
            ("--feed", "opta-f24", "--match", "sr-1", *URL),
            1,
            "match 'sr-1': a match of opta-f24 is opta-NUMBER",
        ),
        (("--feed", "sportradar-v4", "--match", "sr-a b", *URL), 1, "match 'sr-a b'"),
        (
            (*OPTA, "--match", "opta-2", "--url", "http://127.0.0.1:9/"),
            1,
            "the URL of several matches needs {id}",
        ),
        ((*OPTA, "--url", "ftp://host/?key=secret"), 2, "must be http://host/… or https://host/…"),
        ((*OPTA, *URL, "--push-url", "http://127.0.0.1:9/"), 1, "feed opta-f24 has no push stream"),
        ((*OPTA, *URL, "--zone", "Mars/Phobos"), 2, "'Mars/Phobos': no such time zone"),
        ((*OPTA, *URL, "--interval", "nan"), 2, "'--interval': 'nan' is no number of seconds"),
        ((*OPTA, *URL, "--silence", "inf"), 2, "inf is not in the range"),
        ((*OPTA, *URL, "--key", "secret\n"), 1, "TOUCHLINE_FEED_KEY must be printable ASCII"),
        ((*OPTA, *URL, "--key", "secrét"), 1, "TOUCHLINE_FEED_KEY must be printable ASCII"),
        ((*OPTA, *URL, "--names", "{names}"), 2, "{names}:2: not XML"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    argv: tuple[str, ...], code: int, what: str, tmp_path: Path
) -> None:
    names = tmp_path / "f7.xml"
    names.write_bytes(BAD_NAMES)
    given = [text.replace("{names}", str(names)) for text in argv]
    ran = touchline("ingest", *given, env={"EVENTLOG_URL": f"sqlite:///{tmp_path}/log.db"})
    assert (ran.code, ran.out) == (code, b"")
    assert what.replace("{names}", str(names)) in ran.err
    assert "Traceback" not in ran.err
    assert "secr" not in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["f7.xml"], "no log was made"


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({"EVENTLOG_URL": "memory://"}, "EVENTLOG_URL 'memory://' ends with this process"),
        ({"TOUCHLINE_LOG_LEVEL": "loud"}, "TOUCHLINE_LOG_LEVEL 'loud': must be one of"),
    ],
)
def test_a_setting_of_the_environment_is_refused(env: dict[str, str], what: str) -> None:
    ran = touchline("ingest", *OPTA, *URL, env=env)
    assert (ran.code, ran.out) == (1, b"")
    assert ran.err.startswith(f"Error: {what}")
