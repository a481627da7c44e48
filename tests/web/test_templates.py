"""The pages' templates: data blocks that no feed can break out of, nothing inline, every part there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template
from markupsafe import Markup

from shared_state import Event, Match, Replica
from shared_state.jsonld import json_ld
from shared_state.jsontext import compact
from shared_state.language import ENGLISH
from shared_state.view import page_title, scoreboard, summary_row

TEMPLATES = Path(__file__).parents[2] / "origin" / "web" / "templates"
URL = "https://scores.example/match/m"
HOSTILE = "</script><script>alert(1)</script><!-- \" ' & {{ 7 * 7 }}"
PAGES = ("match.html", "demo.html", "embed.html")


class Tags(HTMLParser):
    """Every start tag, and the text of every script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask(__name__, template_folder=str(TEMPLATES))
    app.jinja_env.globals["asset"] = "/widget/{}".format
    app.jinja_env.globals["language"] = ENGLISH
    with app.test_request_context("/"):
        yield app


def replica(name: str) -> Replica:
    made = Replica.begin("m", epoch=1_531_666_800_000)
    teams = {"home": {"name": name, "code": "H"}, "away": {"name": "Croatia", "code": "A"}}
    info: dict[str, Any] = {
        "type": "MATCH_INFO",
        "period": "PRE",
        "detail": {**teams, "competition": name, "venue": name},
    }
    scored: dict[str, Any] = {"type": "GOAL", "minute": 3, "team": "home", "player": name}
    for number, body in enumerate((info, scored), 1):
        assert made.assign(
            Event.from_json({"match_id": "m", "event_id": f"e{number}", "rev": 1, "op": "ADD", **body}),
            accepted_ms=made.position.epoch + number,
        )
    return made


def context(made: Replica) -> dict[str, Any]:
    return {
        "match": made.match,
        "position": made.position,
        "title": page_title(made.match),
        "fragment": Markup(scoreboard(made.match, made.position)),
        "snapshot_json": made.snapshot().decode(),
        "json_ld": compact(json_ld(made.match, URL)),
        "url": URL,
    }


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    return tags


@pytest.mark.parametrize("template", PAGES)
@pytest.mark.usefixtures("app")
def test_a_name_cannot_leave_its_data_block_or_its_text(template: str) -> None:
    made = replica(HOSTILE)
    harmless = replica(re.sub(r"[^a-zA-Z ]", "x", HOSTILE))  # it is shortened in the same places
    page, plain = (parsed(render_template(template, **context(which))) for which in (made, harmless))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    snapshot = page.scripts[-1]
    assert Replica.restore(snapshot).hash() == made.hash()
    if template != "embed.html":
        assert json.loads(page.scripts[0])["homeTeam"]["name"] == HOSTILE


@pytest.mark.parametrize("template", PAGES)
@pytest.mark.usefixtures("app")
def test_a_strict_content_security_policy_holds(template: str) -> None:
    for tag, attributes in parsed(render_template(template, **context(replica("France")))).tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script" and "src" not in attributes:
            assert attributes["type"] in ("application/json", "application/ld+json")


@pytest.mark.parametrize("template", PAGES)
@pytest.mark.usefixtures("app")
def test_the_scoreboard_is_in_the_element_without_javascript(template: str) -> None:
    made = replica("France")
    html = render_template(template, **context(made))
    element = re.search(r'<live-score match="m">(.*?)</live-score>', html, re.DOTALL)
    assert element is not None
    assert element[1].strip() == scoreboard(made.match, made.position)


@pytest.mark.usefixtures("app")
def test_the_demo_panel_has_a_place_for_each_thing_the_loader_reports() -> None:
    tags = parsed(render_template("demo.html", **context(replica("France")))).tags
    named = {name for _, attributes in tags for name in attributes}
    assert {"data-tl-tier", "data-tl-id", "data-tl-latency", "data-tl-connection", "data-tl-hash"} <= named


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_embed_takes_the_theme_of_its_page(app: Flask, theme: str) -> None:
    with app.test_request_context(f"/embed/m?theme={theme}"):
        tags = parsed(render_template("embed.html", **context(replica("France")))).tags
    assert ("live-score", {"match": "m", "theme": theme}) in tags
    assert ("html", {"lang": "en", "data-theme": theme}) in tags


@pytest.mark.usefixtures("app")
def test_the_list_links_each_match_and_says_when_there_is_none() -> None:
    html = render_template("index.html", matches=[summary_row(replica(HOSTILE).match)], complete=True)
    assert 'href="/match/m"' in html
    assert html.count("<script") == 1  # the loader; no name has become one
    assert "No matches yet" not in html
    assert "No matches yet" in render_template("index.html", matches=[], complete=True)
    row = summary_row(Match(match_id="x"))
    assert "Home" in (html := render_template("index.html", matches=[row], complete=True))
    assert "not up to date" not in html


@pytest.mark.usefixtures("app")
def test_the_list_says_where_it_is_not_complete() -> None:
    for rows in ([], [summary_row(Match(match_id="x"))]):
        html = render_template("index.html", matches=rows, complete=False)
        assert "not up to date" in html
        assert "No matches yet" not in html


@pytest.mark.usefixtures("app")
def test_an_error_page_says_what_and_escapes_it() -> None:
    html = render_template("error.html", status=404, message=HOSTILE)
    assert "Not found" in html
    assert "<script" not in html
