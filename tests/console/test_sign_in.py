"""Signing in over HTTP: passwords, a proxy's header, cookies; what strangers and other sites get."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from origin.config import Config
from origin.console import sign_in as sign_in_module
from origin.console.accounts import Accounts
from origin.console.config import ConsoleConfig
from origin.console.routes import init_app
from origin.console.sign_in import SESSION_COOKIE
from origin.errors import ConfigError
from origin.web.app import create_app
from origin.web.origin import origin_of
from origin.web.security_headers import RouteClass, route_class
from testkit.console import PASSWORD

ORIGIN = "http://localhost"
MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    made: list[Flask] = []

    def make(*, public_url: str = "", accounts: tuple[str, ...] = ("ana",), **settings: str) -> Flask:
        directory = tmp_path / "console"
        for name in accounts:
            Accounts(directory / "accounts.json").add(name, PASSWORD)
        app = create_app(Config(eventlog_url="memory://", public_url=public_url), start=False)
        made.append(app)
        environment = {"TOUCHLINE_CONSOLE_DATA_DIR": str(directory)}
        environment |= {f"TOUCHLINE_CONSOLE_{name}": value for name, value in settings.items()}
        init_app(app, ConsoleConfig.from_env(environment))
        return app

    yield make
    for app in made:
        origin_of(app).close()


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt costs a tenth of a second, which is what it is for."""
    monkeypatch.setattr(sign_in_module, "ADDRESS_BURST", 5)
    monkeypatch.setattr(sign_in_module, "ACCOUNT_BURST", 3)


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    return make_app().test_client()


def sign_in(
    client: FlaskClient,
    name: str = "ana",
    password: str = PASSWORD,
    *,
    address: str = "192.0.2.1",
    **headers: str,
) -> TestResponse:
    return client.post(
        "/console/sign-in",
        data={"operator": name, "password": password},
        headers={"Origin": ORIGIN, **headers},
        environ_base={"REMOTE_ADDR": address},
    )


def csrf_of(client: FlaskClient) -> str:
    found = re.search('name="csrf" content="([^"]+)"', client.get("/console/").text)
    assert found is not None
    return found[1]


def test_without_the_setting_there_is_no_console(tmp_path: Path) -> None:
    app = create_app(Config(eventlog_url="memory://"), start=False)
    init_app(app, ConsoleConfig.from_env({}))
    assert app.test_client().get("/console/").status_code == 404
    assert app.test_client().get("/console/sign-in").status_code == 404
    origin_of(app).close()


def test_a_console_that_nobody_can_sign_in_to_does_not_start(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError, match="touchline console add-user"):
        make_app(accounts=())


def test_a_password_opens_the_console(client: FlaskClient) -> None:
    assert client.get("/console/").headers["Location"] == "/console/sign-in"
    response = sign_in(client)
    assert (response.status_code, response.headers["Location"]) == (303, "/console/")
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert client.get("/console/").status_code == 200
    assert client.get("/console/api/session").json == {"operator": "ana", "kind": "local"}


def test_under_https_the_cookie_is_secure_and_stays_below_the_site(make_app: MakeApp) -> None:
    client = make_app(public_url="https://scores.example/live").test_client()
    assert sign_in(client, Origin="http://scores.example").status_code == 403
    response = client.post(
        "/console/sign-in",
        data={"operator": "ana", "password": PASSWORD},
        headers={"Origin": "https://scores.example"},
    )
    assert {"Secure", "Path=/live/console"} <= set(response.headers["Set-Cookie"].split("; "))
    assert response.headers["Location"] == "/live/console/"


@pytest.mark.parametrize(
    ("name", "password"),
    [("ana", "wrong"), ("ben", PASSWORD), ("", ""), ("<b>", PASSWORD), ("ana", "x" * 2_000)],
)
def test_a_wrong_name_or_password_gives_no_session_and_one_answer(
    client: FlaskClient, name: str, password: str
) -> None:
    response = sign_in(client, name, password)
    assert response.status_code == 401
    assert "the name or the password is wrong" in response.text
    assert "<b>" not in response.text
    assert "Set-Cookie" not in response.headers
    assert client.get("/console/api/session").status_code == 401


@pytest.mark.parametrize("origin", ["", "null", "http://evil.example", "http://localhost.evil.example"])
def test_another_site_signs_nobody_in(client: FlaskClient, origin: str) -> None:
    response = sign_in(client, Origin=origin)
    assert response.status_code == 403
    assert "Set-Cookie" not in response.headers


@pytest.mark.usefixtures("few_attempts")
def test_attempts_from_one_address_have_a_bound(client: FlaskClient) -> None:
    statuses = [sign_in(client, f"n{number}", "wrong").status_code for number in range(3)]
    assert set(statuses) == {401}
    # Made-up names share one bucket, so the address still has some left for an account that there is.
    assert sign_in(client, "n99", "wrong").status_code == 429
    for _ in range(2):
        sign_in(client, "ana", "wrong")
    refused = sign_in(client)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0


@pytest.mark.usefixtures("few_attempts")
def test_attempts_at_one_account_have_a_bound_from_all_addresses_together(client: FlaskClient) -> None:
    for number in range(3):
        assert sign_in(client, "ana", "wrong", address=f"192.0.2.{number}").status_code == 401
    assert sign_in(client, address="198.51.100.1").status_code == 429


@pytest.mark.usefixtures("few_attempts")
def test_who_signs_in_rightly_uses_nothing_up(client: FlaskClient) -> None:
    assert {sign_in(client).status_code for _ in range(7)} == {303}


@pytest.mark.usefixtures("few_attempts")
def test_x_forwarded_for_counts_only_from_a_proxy(make_app: MakeApp) -> None:
    client = make_app().test_client()
    for number in range(6):
        response = sign_in(client, f"n{number}", "w", **{"X-Forwarded-For": f"203.0.113.{number}"})
    assert response.status_code == 429


def test_a_change_needs_the_page_s_origin_and_token(client: FlaskClient) -> None:
    sign_in(client)
    token = csrf_of(client)
    body = {"text": "home,away,date\nA,B,2026-11-28", "apply": True, "id": "create-0001"}
    for headers, code in (
        ({"X-Touchline-Csrf": token}, "wrong_origin"),
        ({"X-Touchline-Csrf": token, "Origin": "https://evil.example"}, "wrong_origin"),
        ({"Origin": ORIGIN}, "wrong_csrf"),
        ({"Origin": ORIGIN, "X-Touchline-Csrf": token + "x"}, "wrong_csrf"),
    ):
        response = client.post("/console/api/fixtures", json=body, headers=headers)
        assert (response.status_code, response.json["error"]["code"]) == (403, code)  # type: ignore[index]
    headers = {"Origin": ORIGIN, "X-Touchline-Csrf": token}
    good = client.post("/console/api/fixtures", json=body, headers=headers)
    assert good.status_code == 200
    assert good.json is not None
    assert good.json["created"] == 1
    # The match is there now, and the log knows the id: neither is taken for another list.
    again = client.post("/console/api/fixtures", json=body, headers=headers)
    assert (again.status_code, "is there already" in again.text) == (422, True)
    other = {**body, "text": "home,away,date\nA,C,2026-11-28"}
    again = client.post("/console/api/fixtures", json=other, headers=headers)
    assert (again.status_code, "create-0001" in again.text) == (409, True)


def test_signing_out_ends_the_session_and_with_all_every_one(client: FlaskClient, make_app: MakeApp) -> None:
    other = client.application.test_client()
    for one in (client, other):
        sign_in(one)
    token = csrf_of(client)
    copied = client.get_cookie(SESSION_COOKIE, path="/console")
    assert copied is not None
    client.post("/console/sign-out", data={"csrf": token}, headers={"Origin": ORIGIN})
    assert client.get("/console/api/session").status_code == 401
    client.set_cookie(SESSION_COOKIE, copied.value, path="/console")
    assert client.get("/console/api/session").status_code == 401, "a copy of the cookie is of no use"
    assert other.get("/console/api/session").status_code == 200
    sign_in(client)
    client.post("/console/sign-out", data={"csrf": csrf_of(client), "all": "1"}, headers={"Origin": ORIGIN})
    assert other.get("/console/api/session").status_code == 401


def test_another_password_or_no_account_ends_the_sessions(client: FlaskClient, tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "console" / "accounts.json")
    sign_in(client)
    accounts.add("ana", PASSWORD + "!")
    assert client.get("/console/api/session").status_code == 401
    sign_in(client, password=PASSWORD + "!")
    assert client.get("/console/api/session").status_code == 200
    accounts.remove("ana")
    assert client.get("/console/api/session").status_code == 401


@pytest.mark.parametrize(
    "path", ["/console/", "/console/match/m", "/console/api/matches", "/console/api/fixtures"]
)
def test_a_stranger_gets_nothing(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in (303, 401, 405)
    assert client.post(path, headers={"Origin": ORIGIN}, data=b"{}").status_code in (401, 405)


def test_no_answer_is_kept_and_each_has_the_strict_policy(client: FlaskClient) -> None:
    sign_in(client)
    for path in (
        *(
            "/console/",
            "/console/match/m",
            "/console/match/a%20b",
            "/console/sign-in",
            "/console/api/matches",
        ),
        *("/console/static/match-page.js", "/console/static/none.js", "/console/nothing", "/console"),
    ):
        headers = client.get(path).headers
        assert headers["Cache-Control"] == headers["CDN-Cache-Control"] == "no-store", path
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
    assert client.get("/console/").headers["Referrer-Policy"] == "same-origin"  # else no Origin is sent
    assert route_class("console.anything", "/console/x") is RouteClass.CONSOLE


def test_no_script_or_style_is_inline(client: FlaskClient) -> None:
    signed_out = client.get("/console/sign-in").text
    sign_in(client)
    for text in (signed_out, client.get("/console/").text, client.get("/console/match/m").text):
        assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son[a-z]+=", text)


@pytest.mark.parametrize("name", ["../routes.py", "..%2froutes.py", "tsconfig.json", "types.d.ts", "%00.js"])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/console/static/{name}").status_code == 404


def test_bodies_have_a_bound(client: FlaskClient) -> None:
    response = client.post("/console/sign-in", data=b"x" * 10_000, headers={"Origin": ORIGIN})
    assert response.status_code == 413
    sign_in(client)
    headers = {"Origin": ORIGIN, "X-Touchline-Csrf": csrf_of(client)}
    response = client.post("/console/api/fixtures", json={"text": "x" * 2_000_000}, headers=headers)
    assert response.status_code == 413


# --- a trusted proxy


def by_proxy(make_app: MakeApp) -> FlaskClient:
    return make_app(
        accounts=(), PROXY_HEADER="X-Remote-User", PROXY_ADDRESSES="10.1.0.0/16,192.0.2.7"
    ).test_client()


def asked(client: FlaskClient, address: str, *users: str) -> TestResponse:
    return client.get(
        "/console/api/session",
        headers=[("X-Remote-User", user) for user in users],
        environ_base={"REMOTE_ADDR": address},
    )


def test_a_proxy_s_header_counts_from_the_proxy_alone(make_app: MakeApp) -> None:
    client = by_proxy(make_app)
    for address in ("10.2.0.1", "127.0.0.1", "192.0.2.8", ""):
        assert asked(client, address, "ana").status_code == 401
    assert asked(client, "10.1.2.3", "ana").json == {"operator": "ana", "kind": "proxy"}
    # The cookie is of no use without the header, nor with another's.
    assert asked(client, "10.2.0.1", "ana").status_code == 401
    assert asked(client, "10.1.2.3").status_code == 401
    assert asked(client, "10.1.2.3", "ben").json == {"operator": "ben", "kind": "proxy"}


def test_a_forwarded_address_is_not_the_proxy(make_app: MakeApp) -> None:
    client = by_proxy(make_app)
    response = client.get(
        "/console/api/session",
        headers={"X-Remote-User": "ana", "X-Forwarded-For": "10.1.2.3"},
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
    )
    assert response.status_code == 401


@pytest.mark.parametrize("users", [("ana", "root"), ("a b",), ("",), ("-",)])
def test_a_name_that_cannot_be_signs_nobody_in(make_app: MakeApp, users: tuple[str, ...]) -> None:
    assert asked(by_proxy(make_app), "10.1.2.3", *users).status_code == 401


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"SESSION_HOURS": "0"}, "SESSION_HOURS '0'"),
        ({"SESSION_HOURS": "12.5"}, "SESSION_HOURS '12.5'"),
        ({"PROXY_HEADER": "X-Remote-User"}, "PROXY_ADDRESSES is not set"),
        ({"PROXY_ADDRESSES": "10.0.0.1"}, "PROXY_HEADER is not set"),
        ({"PROXY_HEADER": "X Remote", "PROXY_ADDRESSES": "10.0.0.1"}, "PROXY_HEADER 'X Remote'"),
        ({"PROXY_HEADER": "X-User", "PROXY_ADDRESSES": "*"}, "PROXY_ADDRESSES '*'"),
        ({"PROXY_HEADER": "X-User", "PROXY_ADDRESSES": "proxy.local"}, "PROXY_ADDRESSES 'proxy.local'"),
        ({"OIDC_ISSUER": "https://id.example"}, "OIDC_CLIENT_ID is not set"),
        (
            {
                "OIDC_ISSUER": "http://id.example",
                "OIDC_CLIENT_ID": "a",
                "OIDC_CLIENT_SECRET": "b",
                "OIDC_OPERATORS": "c",
            },
            "must begin with https://",
        ),
        (
            {
                "OIDC_ISSUER": "https://id.example",
                "OIDC_CLIENT_ID": "a",
                "OIDC_CLIENT_SECRET": "b",
                "OIDC_OPERATORS": "*",
            },
            "OIDC_OPERATORS '*'",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings: dict[str, str], named: str) -> None:
    environment = {"TOUCHLINE_CONSOLE_DATA_DIR": "x"} | {
        f"TOUCHLINE_CONSOLE_{name}": value for name, value in settings.items()
    }
    with pytest.raises(ConfigError) as refused:
        ConsoleConfig.from_env(environment)
    assert named in str(refused.value)


def test_a_setting_of_a_console_that_is_off_is_refused() -> None:
    with pytest.raises(ConfigError, match="TOUCHLINE_CONSOLE_DATA_DIR, which turns"):
        ConsoleConfig.from_env({"TOUCHLINE_CONSOLE_SESSION_HOURS": "3"})
