"""Pages, polls and errors are compressed for those who take it, and their validators fit."""

from __future__ import annotations

import gzip

import pytest

from origin.web.compression import MIN_BYTES
from testkit.poster import MATCH, Poster, event


@pytest.fixture
def paths(poster: Poster) -> list[str]:
    for number in range(10):
        poster.publish(event(f"g{number}", minute=number + 1))
    return ["/", f"/match/{MATCH}", f"/embed/{MATCH}", f"/api/match/{MATCH}/state"]


def test_each_is_compressed_for_those_who_take_it(poster: Poster, paths: list[str]) -> None:
    for path in paths:
        plain = poster.client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
        packed = poster.client.get(path, headers={"Accept-Encoding": "gzip, deflate, br"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip", path
        assert len(packed.data) < len(plain.data)
        assert len(gzip.decompress(packed.data)) == len(plain.data)
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert int(packed.headers["Content-Length"]) == len(packed.data)


def test_a_validator_of_either_form_fits(poster: Poster, paths: list[str]) -> None:
    for path in paths:
        tags = {
            poster.client.get(path, headers={"Accept-Encoding": coding}).headers["ETag"]
            for coding in ("gzip", "identity")
        }
        for tag in tags:
            for coding in ("gzip", "identity"):
                headers = {"If-None-Match": tag, "Accept-Encoding": coding}
                answer = poster.client.get(path, headers=headers)
                assert answer.status_code == 304, (path, tag)
                assert "Accept-Encoding" in answer.headers["Vary"]
                assert answer.headers["ETag"] in tags


def test_a_short_answer_stays_as_it_is(poster: Poster) -> None:
    poster.publish(event("g1"))
    answer = poster.client.get(f"/score?matchId={MATCH}", headers={"Accept-Encoding": "gzip"})
    assert len(answer.data) < MIN_BYTES
    assert "Content-Encoding" not in answer.headers
