"""oEmbed: the address of a match's page becomes a frame without a script, within the consumer's bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest
from flask import Flask
from flask.testing import FlaskClient

from testkit.poster import MATCH, Poster, event

SITE = "https://scores.example"
INFO = event(
    "info",
    "MATCH_INFO",
    period="PRE",
    minute=None,
    team=None,
    detail={"home": {"name": 'France "A" <b>', "code": "FRA"}, "away": {"name": "Croatia", "code": "CRO"}},
)


@pytest.fixture
def site(make_app: Callable[..., Flask]) -> FlaskClient:
    app = make_app(public_url=SITE)
    Poster(app).publish(INFO)
    return app.test_client()


def ask(client: FlaskClient, url: str, more: str = "") -> dict[str, object]:
    response = client.get(f"/oembed?url={quote(url, safe='')}{more}")
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.get_json()
    return answer


def test_a_match_is_a_frame_without_a_script(site: FlaskClient) -> None:
    answer = ask(site, f"{SITE}/match/{MATCH}")
    assert (answer["version"], answer["type"], answer["provider_url"]) == ("1.0", "rich", f"{SITE}/")
    assert str(answer["title"]).startswith('France "A" <b> v Croatia')
    html = str(answer["html"])
    assert f'src="{SITE}/embed/{MATCH}"' in html
    assert "<script" not in html
    assert "<b>" not in html  # a name cannot leave its attribute
    assert f'width="{answer["width"]}" height="{answer["height"]}"' in html
    assert (answer["width"], answer["height"]) == (600, 480)


def test_the_bounds_of_the_consumer_are_kept_and_an_impossible_one_is_named(site: FlaskClient) -> None:
    url = f"{SITE}/match/{MATCH}"
    small = ask(site, url, "&maxwidth=320&maxheight=90")
    assert (small["width"], small["height"]) == (320, 90)
    assert (large := ask(site, url, "&maxwidth=5000&maxheight=99999"))["width"] == 600
    assert large["height"] == 480
    for bound in (
        "maxwidth=0",
        "maxwidth=-1",
        "maxwidth=1e3",
        "maxheight=79",
        "maxwidth=",
        "maxheight=9999999",
    ):
        response = site.get(f"/oembed?url={quote(url, safe='')}&{bound}")
        assert response.status_code == 400, bound
        assert bound.split("=")[0] in response.get_json()["error"]["message"]


def test_the_same_as_xml_and_no_other_format(site: FlaskClient) -> None:
    url = quote(f"{SITE}/match/{MATCH}", safe="")
    response = site.get(f"/oembed?url={url}&format=xml")
    assert response.headers["Content-Type"] == "text/xml; charset=utf-8"
    document = ET.fromstring(response.text)
    told = {element.tag: element.text for element in document}
    answer = ask(site, f"{SITE}/match/{MATCH}")
    assert told == {name: str(value) for name, value in answer.items()}
    assert site.get(f"/oembed?url={url}&format=yaml").status_code == 501


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (f"{SITE}/", 404),
        (f"{SITE}/match/", 404),
        (f"{SITE}/match/a/b", 404),
        (f"{SITE}/match/none", 404),
        (f"https://evil.example/match/{MATCH}", 404),
        (f"https://scores.example@evil.example/match/{MATCH}", 404),
        (f"https://scores.example.evil.example/match/{MATCH}", 404),
        (f"javascript:alert(1)//{SITE}/match/{MATCH}", 404),
        (f"//scores.example/match/{MATCH}", 404),
        ("http://[", 404),
        (f"{SITE}/match/{MATCH}?x=" + "a" * 3_000, 404),
        ("", 404),
    ],
)
def test_another_address_is_404(site: FlaskClient, url: str, status: int) -> None:
    response = site.get(f"/oembed?url={quote(url, safe='')}")
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"


def test_without_an_address_it_is_400(site: FlaskClient) -> None:
    assert site.get("/oembed").status_code == 400


def test_a_language_and_the_embed_s_own_address_are_understood(site: FlaskClient) -> None:
    answer = ask(site, f"http://scores.example/embed/{MATCH}?lang=de")
    assert f'src="{SITE}/embed/{MATCH}?lang=de"' in str(answer["html"])
    assert f'src="{SITE}/embed/{MATCH}"' in str(ask(site, f"{SITE}/match/{MATCH}?lang=xx")["html"])


def test_the_page_says_where_its_oembed_is(site: FlaskClient) -> None:
    page = site.get(f"/match/{MATCH}").text
    links = re.findall(
        r'<link rel="alternate" type="(application/json|text/xml)\+oembed" href="([^"]+)"', page
    )
    assert [type_ for type_, _ in links] == ["application/json", "text/xml"]
    for _, href in links:
        assert href.startswith(f"{SITE}/oembed?url=")
        assert site.get(href.removeprefix(SITE).replace("&amp;", "&")).status_code == 200


def test_without_a_public_url_the_frame_is_of_the_address_that_was_asked_for(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app()
    Poster(app).publish(INFO)
    client = app.test_client()
    answer = ask(client, f"http://127.0.0.1:8000/match/{MATCH}")
    assert f'src="http://127.0.0.1:8000/embed/{MATCH}"' in str(answer["html"])
    # Never of the Host, which anybody may write and a cache does not know.
    response = client.get(
        f"/oembed?url={quote(f'http://127.0.0.1:8000/match/{MATCH}', safe='')}",
        headers={"Host": "evil.example"},
    )
    assert "evil" not in response.text
    # Discovery needs an absolute address.
    assert "+oembed" not in client.get(f"/match/{MATCH}").text
