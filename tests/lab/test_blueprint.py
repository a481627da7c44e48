"""Who may use the lab: this machine's own page, and nobody else; and only where the demo switched it on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from origin.config import Config
from origin.lab.blueprint import init_app
from origin.lab.desk import BODY_MAX_BYTES

OWN = {"Touchline-Lab": "1"}
LOCAL = "http://127.0.0.1:8000"


@pytest.fixture
def lab(app: Flask, tmp_path: Path) -> FlaskClient:
    init_app(app, str(tmp_path / "lab.sock"))
    return app.test_client()


def code(response: TestResponse) -> str:
    assert response.json is not None
    return str(response.json["error"]["code"])


def test_without_the_setting_there_is_no_lab(client: FlaskClient) -> None:
    assert Config.from_env({}).lab == ""
    for path in ("/lab", "/lab/api/state", "/lab/viewer/fra-cro"):
        assert client.get(path, base_url=LOCAL).status_code == 404


def test_the_page_has_a_strict_policy_and_is_not_kept(lab: FlaskClient) -> None:
    response = lab.get("/lab", base_url=LOCAL)
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "frame-src 'self' http://127.0.0.1:* http://localhost:*; frame-ancestors 'none'" in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert "style=" not in response.text
    assert "<script>" not in response.text


@pytest.mark.parametrize(
    "host", ["evil.example", "touchline.example:8000", "10.0.0.1", "127.0.0.1.evil.example"]
)
def test_a_name_that_was_pointed_at_this_machine_is_refused(lab: FlaskClient, host: str) -> None:
    for path in ("/lab", "/lab/api/state"):
        response = lab.get(path, base_url=f"http://{host}")
        assert response.status_code == 403
        assert code(response) == "lab_is_local"


def test_another_machine_is_refused(lab: FlaskClient) -> None:
    response = lab.get("/lab", base_url=LOCAL, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert response.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_neither_read_nor_press(lab: FlaskClient, site: str) -> None:
    headers = {**OWN, "Sec-Fetch-Site": site}
    assert lab.get("/lab/api/state", base_url=LOCAL, headers=headers).status_code == 403
    assert lab.post("/lab/api/act", base_url=LOCAL, headers=headers).status_code == 403
    # An older browser sends no Sec-Fetch-Site: the header of our own needs a preflight, which nobody grants.
    for path in ("act", "match", "network", "comparison", "comparison-stop", "restart", "plan"):
        response = lab.post(f"/lab/api/{path}", base_url=LOCAL, data="{}")
        assert response.status_code == 403, path
        assert "Access-Control-Allow-Origin" not in response.headers
    preflight = lab.options(
        "/lab/api/act", base_url=LOCAL, headers={"Access-Control-Request-Headers": "touchline-lab"}
    )
    assert "Access-Control-Allow-Headers" not in preflight.headers


def test_a_desk_that_is_gone_is_said(lab: FlaskClient) -> None:
    response = lab.post("/lab/api/act", base_url=LOCAL, headers=OWN, json={"action": "goal"})
    assert response.status_code == 503
    assert code(response) == "no_desk"


def test_bodies_and_numbers_have_bounds(lab: FlaskClient) -> None:
    large = lab.post("/lab/api/act", base_url=LOCAL, headers=OWN, data=b"x" * (BODY_MAX_BYTES + 1))
    assert large.status_code == 413
    for after in ("-1", "1e9", "x", "9" * 16):
        assert lab.get(f"/lab/api/state?after={after}", base_url=LOCAL).status_code == 400


def test_a_plan_that_cannot_be_is_refused(lab: FlaskClient) -> None:
    response = lab.post("/lab/api/plan", base_url=LOCAL, headers=OWN, json={"viewers": -1})
    known = lab.get("/lab/api/plan", base_url=LOCAL)
    assert (response.status_code, code(response)) == (400, "invalid_input")
    assert "viewers" in response.text
    assert known.json is not None
    assert set(known.json["bounds"]) <= set(known.json["inputs"])
    assert all(one["source"] for one in known.json["inputs"]["constants"].values())
    made = lab.post("/lab/api/plan", base_url=LOCAL, headers=OWN, json={"viewers": 50_000_000})
    assert made.json is not None
    assert made.json["stream_servers"] > 0
    for body in (b"{", b"[]", b"\xff"):
        refused = lab.post("/lab/api/plan", base_url=LOCAL, headers=OWN, data=body)
        assert refused.status_code == 400, body


def test_serve_refuses_a_lab_that_others_could_reach(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "origin", "serve", "--host", "0.0.0.0", "--port", "0"],
        env={"PATH": "/usr/bin:/bin", "TOUCHLINE_LAB_SOCKET": str(tmp_path / "lab.sock"), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert (
        "TOUCHLINE_LAB_SOCKET is set, and the lab is for this machine alone: not --host 0.0.0.0"
        in done.stderr
    )
