"""Pages, polls and errors are compressed for those who take it, and their validators fit."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable

import brotli
import pytest

from origin.web.compression import ENCODERS, LARGE_BYTES, MIN_BYTES
from testkit.poster import MATCH, Poster, event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def paths(poster: Poster) -> list[str]:
    for number in range(10):
        poster.publish(event(f"g{number}", minute=number + 1))
    return ["/", f"/match/{MATCH}", f"/embed/{MATCH}", f"/api/match/{MATCH}/state"]


DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    "gzip": gzip.decompress,
}


@pytest.mark.parametrize("coding", DECODERS)
def test_each_is_compressed_for_those_who_take_it(poster: Poster, paths: list[str], coding: str) -> None:
    for path in paths:
        plain = poster.client.get(path, headers={"Accept-Encoding": f"{coding};q=0"})
        packed = poster.client.get(path, headers={"Accept-Encoding": f"deflate, {coding}"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == coding, path
        assert len(packed.data) < len(plain.data)
        assert len(DECODERS[coding](packed.data)) == len(plain.data)
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert int(packed.headers["Content-Length"]) == len(packed.data)


CHOICES = [
    (None, ""),
    ("", ""),
    ("gzip, deflate, br, zstd", "br"),
    ("gzip, deflate, zstd", "zstd"),
    ("gzip;q=1.0, br;q=0.5", "gzip"),
    ("zstd;q=0.9, br;q=0.8, gzip;q=0.1", "zstd"),
    ("br;q=0, gzip", "gzip"),
    ("BR;Q=0.5 , GZIP;q=0.4", "br"),
    ("x-gzip", "gzip"),
    ("*", "br"),
    ("*;q=0.5, br;q=0", "zstd"),
    ("*;q=0", ""),
    ("gzip, *;q=0", "gzip"),
    ("identity", ""),
    ("identity, gzip;q=0.5", ""),
    ("identity;q=0.5, gzip;q=0.5", "gzip"),
    ("identity;q=0, gzip;q=0.1", "gzip"),
    ("identity;q=0", ""),
    ("deflate, compress, dcb", ""),
    ("gzip;q=nonsense", ""),
    ("brotli, gzipped, zstandard", ""),
    ("br;q=0.000, gzip;q=0.001", "gzip"),
]


@pytest.mark.parametrize(("accepts", "gets"), CHOICES)
def test_the_coding_that_the_client_likes_best(
    poster: Poster, paths: list[str], accepts: str | None, gets: str
) -> None:
    """By its q values first, by size among equals; the widget's files by the same rule."""
    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    for path in (*paths, "/widget/live-score.js"):
        answer = poster.client.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.headers.get("Content-Encoding", "") == gets, path
        assert "Accept-Encoding" in answer.headers["Vary"]


def test_who_refuses_the_plain_form_gets_a_short_answer_compressed(poster: Poster) -> None:
    poster.publish(event("g1"))
    url = f"/score?matchId={MATCH}"
    for accepts in ("gzip, identity;q=0", "gzip, *;q=0"):
        answer = poster.client.get(url, headers={"Accept-Encoding": accepts})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert json.loads(gzip.decompress(answer.data))["match_id"] == MATCH


@pytest.mark.parametrize("coding", ENCODERS)
def test_the_same_page_is_the_same_bytes(poster: Poster, paths: list[str], coding: str) -> None:
    body = poster.client.get(paths[-1]).data
    assert ENCODERS[coding](body) == ENCODERS[coding](body)


CODINGS = ("br", "zstd", "gzip", "identity")


def test_a_validator_of_either_form_fits(poster: Poster, paths: list[str]) -> None:
    for path in paths:
        for attempt in range(3):
            tags = {tag_of(poster, path, coding) for coding in CODINGS}
            answers = [
                poster.client.get(path, headers={"If-None-Match": tag, "Accept-Encoding": coding})
                for tag in tags
                for coding in CODINGS
            ]
            if tags == {tag_of(poster, path, coding) for coding in CODINGS}:
                break  # else the page's date moved meanwhile, as each ten seconds
            assert attempt < 2, path
        for answer in answers:
            assert answer.status_code == 304, path
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert answer.headers["ETag"] in tags


def tag_of(poster: Poster, path: str, coding: str) -> str:
    return poster.client.get(path, headers={"Accept-Encoding": coding}).headers["ETag"]


def test_a_short_answer_stays_as_it_is(poster: Poster) -> None:
    poster.publish(event("g1"))
    answer = poster.client.get(f"/score?matchId={MATCH}", headers={"Accept-Encoding": "gzip"})
    assert len(answer.data) < MIN_BYTES
    assert "Content-Encoding" not in answer.headers


FASTEST: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: bytes(brotli.compress(body, quality=1)),
    "zstd": lambda body: zstd.compress(body, level=1),
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
}


@pytest.mark.parametrize("coding", ENCODERS)
def test_large_answers_are_compressed_at_the_fastest_level(coding: str) -> None:
    large = b"".join(b"%d,%d;" % (number * 7_919 % 10_007, number % 90) for number in range(50_000))
    assert len(large) >= LARGE_BYTES
    packed = ENCODERS[coding](large)
    assert packed == FASTEST[coding](large)
    assert DECODERS[coding](packed) == large
    assert ENCODERS[coding](large[:10_000]) != FASTEST[coding](large[:10_000])
