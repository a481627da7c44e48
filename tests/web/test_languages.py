"""A page's language is in its address, in one spelling, and nowhere else."""

from __future__ import annotations

import pytest

from shared_state.languages import LANGUAGES
from testkit.poster import MATCH, Poster
from tests.web.test_reads import GOAL, INFO, LIVE

OTHERS = [tag for tag in LANGUAGES if tag != "en"]


def paths(id_: str) -> list[str]:
    return [f"/match/{MATCH}", f"/embed/{MATCH}", f"/match/{MATCH}/fragment/{id_}", "/", "/list"]


@pytest.mark.parametrize("tag", OTHERS)
def test_every_page_is_in_every_language(poster: Poster, tag: str) -> None:
    id_ = poster.publish(INFO, LIVE, GOAL)
    direction = LANGUAGES[tag].direction
    for path in paths(id_):
        response = poster.client.get(f"{path}?lang={tag}")
        assert response.status_code == 200, path
        assert f'lang="{tag}"' in response.text, path
        assert (f'dir="{direction}"' in response.text) or (direction == "ltr" and path == "/"), path
        assert LANGUAGES[tag].text("list.other") in response.text or "list" not in path
        assert "Accept-Language" not in response.headers.get("Vary", "")


@pytest.mark.parametrize("header", ["de", "fr;q=0.9, de", "x" * 10_000])
def test_what_a_browser_prefers_changes_nothing(poster: Poster, header: str) -> None:
    for path in paths(poster.publish(INFO, LIVE, GOAL)):
        asked = poster.client.get(path, headers={"Accept-Language": header})
        assert 'lang="de"' not in asked.text.partition("</nav>")[0] or 'html lang="en"' in asked.text
        assert asked.headers.get("ETag") is not None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("lang=de-AT", "lang=de"),
        ("lang=DE", "lang=de"),
        ("lang=de_DE", "lang=de"),
        ("lang=de-AT-1996", "lang=de"),
        ("lang=de&lang=fr", "lang=de"),
        ("lang=en", ""),
        ("lang=en_US", ""),
        ("lang=xx", ""),
        ("lang=", ""),
        ("lang=%00", ""),
        ("lang=de%0d%0aSet-Cookie:a", ""),
        (f"lang={'d' * 10_000}", ""),
    ],
)
def test_another_spelling_is_redirected_and_not_kept(poster: Poster, given: str, kept: str) -> None:
    for path in paths(poster.publish(INFO, LIVE, GOAL)):
        response = poster.client.get(f"{path}?{given}")
        assert (response.status_code, response.headers["Cache-Control"]) == (302, "no-store"), path
        assert response.headers["Location"] == (f"{path}?{kept}" if kept else path)
        assert poster.client.get(response.headers["Location"]).status_code == 200


def test_other_parameters_stay(poster: Poster) -> None:
    poster.publish(INFO)
    response = poster.client.get(f"/embed/{MATCH}?lang=de-AT&theme=dark")
    assert response.headers["Location"] == f"/embed/{MATCH}?theme=dark&lang=de"
    assert 'data-theme="dark"' in poster.client.get(response.headers["Location"]).text


def test_a_fragment_is_immutable_in_each_language(poster: Poster) -> None:
    id_ = poster.publish(INFO, LIVE, GOAL)
    english, german = (
        poster.client.get(f"/match/{MATCH}/fragment/{id_}{query}") for query in ("", "?lang=de")
    )
    for response in (english, german):
        assert "immutable" in response.headers["Cache-Control"]
    assert 'data-announce="Goal!' in english.text
    assert 'data-announce="Tor!' in german.text
    assert "Eigentor" in german.text
    assert "Own goal" not in german.text


def test_a_page_names_its_translations_and_links_stay_in_the_language(poster: Poster) -> None:
    poster.publish(INFO, LIVE, GOAL)
    page = poster.client.get(f"/match/{MATCH}?lang=fr").text
    assert '<html lang="fr">' in page
    for tag in OTHERS:
        assert f'<link rel="alternate" hreflang="{tag}" href="/match/{MATCH}?lang={tag}">' in page
    assert f'<link rel="alternate" hreflang="en" href="/match/{MATCH}">' in page
    assert f'<link rel="canonical" href="/match/{MATCH}?lang=fr">' in page
    assert 'href="/?lang=fr"' in page
    listed = poster.client.get("/?lang=fr").text
    assert f'href="/match/{MATCH}?lang=fr"' in listed


@pytest.mark.parametrize(("path", "text"), [("/match/nope", "match"), ("/?competition=nope", "list")])
def test_an_error_is_in_the_language_of_its_address(poster: Poster, path: str, text: str) -> None:
    for tag in OTHERS:
        address = f"{path}{'&' if '?' in path else '?'}lang={tag}"
        response = poster.client.get(address, headers={"Accept": "text/html"})
        assert response.status_code == 404
        assert LANGUAGES[tag].text(f"error.unknown_{text}") in response.text
        assert "nope" not in response.text.partition("<main")[2]


def test_the_head_of_a_page_is_in_its_language(poster: Poster) -> None:
    poster.publish(INFO, LIVE, GOAL)
    page = poster.client.get(f"/match/{MATCH}?lang=ja").text
    assert "<title>France 1–0 Croatia · 18分 · Touchline</title>" in page
    assert 'data-title="France 1–0 Croatia · 18分"' in page
    assert '"description":"France 1–0 Croatia, 18分"' in page
