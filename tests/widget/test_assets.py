"""How the build is served: names, lifetimes, encodings, other people's pages."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, Response, jsonify, render_template_string
from flask.testing import FlaskClient

from origin.errors import ConfigError, RequestError
from origin.web import security_headers
from origin.web.assets import Assets, init_app
from testkit.built_widget import DIST, manifest

IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture
def app() -> Flask:
    manifest()
    app = Flask(__name__, static_folder=None)
    init_app(app)
    security_headers.init_app(app)

    @app.errorhandler(RequestError)
    def refuse(error: RequestError) -> tuple[Response, int]:
        return jsonify(error.to_json()), error.status

    return app


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    with app.test_client() as client:
        yield client


def test_every_file_is_served_for_a_year_to_anybody(client: FlaskClient) -> None:
    for entry in manifest()["files"].values():
        answer = client.get(f"/widget/{entry['path']}")
        assert answer.status_code == 200
        assert answer.data == (DIST / entry["path"]).read_bytes()
        assert answer.headers["Cache-Control"] == IMMUTABLE
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.headers["Vary"] == "Accept-Encoding"


def test_types_are_what_browsers_insist_on(client: FlaskClient) -> None:
    files = manifest()["files"]
    for name, type_ in (
        ("runtime/pyodide.asm.wasm", "application/wasm"),
        ("runtime/pyodide.mjs", "text/javascript; charset=utf-8"),
        ("micropython.wasm", "application/wasm"),
        ("micropython-worker.js", "text/javascript; charset=utf-8"),
        ("touchline.romfs", "application/octet-stream"),
        ("live-score.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ):
        assert client.get(f"/widget/{files[name]['path']}").headers["Content-Type"] == type_


def test_stable_names_are_answered_in_place_and_checked_often(client: FlaskClient) -> None:
    for name in ("live-score.js", "live-score.css"):
        answer = client.get(f"/widget/{name}")
        assert answer.data == (DIST / manifest()["files"][name]["path"]).read_bytes()
        assert answer.cache_control.max_age == 300
        again = client.get(f"/widget/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_the_service_worker_may_look_after_the_whole_site(client: FlaskClient) -> None:
    answer = client.get("/widget/sw.js")
    assert answer.headers["Service-Worker-Allowed"] == "/"
    assert answer.headers["Cache-Control"] == "public, no-cache"


@pytest.mark.parametrize(
    ("accepts", "gets"),
    [
        ("br, gzip, zstd", "br"),
        ("zstd, gzip", "zstd"),
        ("gzip", "gzip"),
        ("gzip;q=1, br;q=0", "gzip"),
        ("identity", None),
        (None, None),
    ],
)
def test_the_smallest_encoding_the_browser_takes(
    client: FlaskClient, accepts: str | None, gets: str | None
) -> None:
    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    answer = client.get("/widget/live-score.js", headers=headers)
    assert answer.headers.get("Content-Encoding") == gets
    plain = client.get("/widget/live-score.js")
    assert (answer.headers["ETag"] == plain.headers["ETag"]) == (gets is None)
    if gets == "gzip":
        assert gzip.decompress(answer.data) == plain.data


@pytest.mark.parametrize(
    "name", ["nothing.js", "manifest.json", "../build.py", "%2e%2e/build.py", "live-score.js.br", "demo.js"]
)
def test_nothing_else_can_be_had(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/widget/{name}")
    assert answer.status_code == 404
    if answer.is_json:
        assert answer.get_json()["error"]["code"] == "unknown_asset"


def test_templates_name_files_by_their_source(app: Flask) -> None:
    with app.test_request_context():
        url = render_template_string("{{ asset('page.css') }}")
    assert url == f"/widget/{manifest()['files']['page.css']['path']}"


def test_an_unknown_name_in_a_template_is_told_with_the_known_ones() -> None:
    manifest()
    with pytest.raises(ConfigError, match=r"no 'page.less': it has .*page\.css"):
        Assets.load().url("page.less")


def test_without_a_build_the_origin_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the widget is not built; run `make setup`"):
        Assets.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(ConfigError, match="cannot be read"):
        Assets.load(tmp_path)
