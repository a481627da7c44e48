"""Sign-in by OpenID Connect, against a provider that answers on loopback and signs with real keys."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from werkzeug.test import TestResponse

from origin.config import Config
from origin.console.config import ConsoleConfig
from origin.console.routes import init_app
from origin.errors import ConfigError
from origin.web.app import create_app
from origin.web.origin import origin_of

CLIENT, SECRET = "touchline", "a secret of the client"


class Provider:
    """An OpenID Connect provider with one account.

    Attributes:
        claims: of the next ID token; beside what each token has.
        key: signs ID tokens.
        published: the keys at ``jwks_uri``.
        algorithm: as in a token's header.
        issuer: as its configuration and its tokens say it.
    """

    def __init__(self, port: int) -> None:
        self.url = self.issuer = f"http://127.0.0.1:{port}"
        self.key: Any = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {"email": "ana@club.example", "email_verified": True}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked_for_keys = 0

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def authorize(self, query: dict[str, str]) -> str:
        """What the provider does once its user has agreed: the address that the browser is sent back to."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert "openid" in query["scope"].split()
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?code={code}&state={query['state']}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, with the client's secret and the verifier of its challenge."""
        expected = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        query = self.codes.pop(form.get("code", ""), None)
        if authorization != f"Basic {expected}" or query is None:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != query["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "1",
            "iat": now,
            "exp": now + 60,
            "nonce": query["nonce"],
            **self.claims,
        }
        header = {"alg": self.algorithm, "kid": self.key.kid}
        token = jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}


@pytest.fixture
def provider() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/.well-known/openid-configuration":
                self.answer(200, made.metadata())
            elif self.path == "/keys":
                made.asked_for_keys += 1
                self.answer(200, {"keys": [key.as_dict(private=False) for key in made.published]})
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(*made.token(form, self.headers.get("Authorization", "")))

        def answer(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Provider(server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def app(provider: Provider, tmp_path: Path) -> Iterator[Flask]:
    app = create_app(Config(eventlog_url="memory://"), start=False)
    environment = {
        "TOUCHLINE_CONSOLE_DATA_DIR": str(tmp_path / "console"),
        "TOUCHLINE_CONSOLE_OIDC_ISSUER": provider.url,
        "TOUCHLINE_CONSOLE_OIDC_CLIENT_ID": CLIENT,
        "TOUCHLINE_CONSOLE_OIDC_CLIENT_SECRET": SECRET,
        "TOUCHLINE_CONSOLE_OIDC_OPERATORS": "@club.example, ben@home.example",
    }
    init_app(app, ConsoleConfig.from_env(environment))
    yield app
    origin_of(app).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def begin(client: FlaskClient) -> dict[str, str]:
    """Go to the provider; what it is asked."""
    response = client.get("/console/oidc/start")
    assert response.status_code == 303, response.text
    cookie = response.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/console/oidc"} <= set(cookie.split("; "))
    return {name: values[0] for name, values in parse_qs(urlsplit(response.location or "").query).items()}


def come_back(client: FlaskClient, address: str) -> TestResponse:
    parts = urlsplit(address)
    assert parts.path == "/console/oidc/back"
    return client.get(f"{parts.path}?{parts.query}")


def sign_in(client: FlaskClient, provider: Provider) -> TestResponse:
    return come_back(client, provider.authorize(begin(client)))


def test_an_account_of_the_provider_opens_the_console(client: FlaskClient, provider: Provider) -> None:
    page = client.get("/console/sign-in").text
    assert "/console/oidc/start" in page
    response = sign_in(client, provider)
    # A page and no redirect: with a navigation from another site no strict cookie is sent.
    assert response.status_code == 200
    assert 'http-equiv="refresh"' in response.text
    assert any("SameSite=Strict" in cookie for cookie in response.headers.getlist("Set-Cookie"))
    assert client.get("/console/api/session").json == {"operator": "ana@club.example", "kind": "oidc"}


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "mallory@other.example"},
        {"email": "ana@club.example.evil"},
        {"email": "x@y@club.example\n"},
        {"email": "ana@club.example", "email_verified": False},
        {"email": None},
        {"email": ["ana@club.example"]},
    ],
)
def test_who_is_no_operator_is_refused(
    client: FlaskClient, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert sign_in(client, provider).status_code == 403
    assert client.get("/console/api/session").status_code == 401


def test_a_name_is_one_in_any_letters(client: FlaskClient, provider: Provider) -> None:
    provider.claims = {"email": "Ben@Home.example"}
    sign_in(client, provider)
    assert client.get("/console/api/session").json == {"operator": "ben@home.example", "kind": "oidc"}


def forged_issuer(provider: Provider) -> None:
    provider.claims |= {"iss": "https://other.example"}


def forged_audience(provider: Provider) -> None:
    provider.claims |= {"aud": "another client"}


def forged_nonce(provider: Provider) -> None:
    provider.claims |= {"nonce": "of another sign-in"}


def expired(provider: Provider) -> None:
    provider.claims |= {"exp": int(time.time()) - 3_600}


def without_an_end(provider: Provider) -> None:
    provider.claims |= {"exp": None}


def unknown_key(provider: Provider) -> None:
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})


def shared_secret(provider: Provider) -> None:
    provider.key, provider.algorithm = OctKey.import_key(SECRET, {"kid": "one"}), "HS256"


@pytest.mark.parametrize(
    "forge",
    [forged_issuer, forged_audience, forged_nonce, expired, without_an_end, unknown_key, shared_secret],
)
def test_a_token_that_cannot_be_believed_signs_nobody_in(
    client: FlaskClient, provider: Provider, forge: Callable[[Provider], None]
) -> None:
    forge(provider)
    response = sign_in(client, provider)
    assert response.status_code == 502
    assert "the sign-in provider" in response.text
    assert client.get("/console/api/session").status_code == 401


def test_keys_that_were_rotated_are_fetched_anew(client: FlaskClient, provider: Provider) -> None:
    provider.published = [RSAKey.generate_key(2048, {"kid": "old"})]
    assert sign_in(client, provider).status_code == 502
    provider.published = [provider.key]
    # Not for each token that cannot be read, or strangers would have them fetched without end.
    asked = provider.asked_for_keys
    assert sign_in(client, provider).status_code == 502
    assert provider.asked_for_keys == asked


def test_another_browser_cannot_finish_a_sign_in(client: FlaskClient, provider: Provider, app: Flask) -> None:
    address = provider.authorize(begin(client))
    assert come_back(app.test_client(), address).status_code == 403
    other = app.test_client()
    begin(other)
    assert come_back(other, address).status_code == 403, "its state is of the first browser"
    assert come_back(client, address).status_code == 200
    assert come_back(client, address).status_code == 403, "once"


def test_a_provider_that_says_no_or_is_another_is_named(client: FlaskClient, provider: Provider) -> None:
    query = begin(client)
    response = client.get(f"/console/oidc/back?error=access_denied&state={query['state']}")
    assert response.status_code == 403
    assert "access_denied" in response.text


def test_a_configuration_of_another_issuer_is_refused(client: FlaskClient, provider: Provider) -> None:
    provider.issuer = "https://other.example"
    response = client.get("/console/oidc/start")
    assert response.status_code == 502
    assert "other.example" in response.text


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "origin.console.oidc", raising=False)
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(ConfigError, match=r"pip install 'touchline\[oidc\]'"):
        importlib.import_module("origin.console.oidc")


def test_beginning_without_end_has_a_bound(client: FlaskClient) -> None:
    statuses = [client.get("/console/oidc/start").status_code for _ in range(12)]
    assert statuses.count(303) >= 10
    assert statuses[-1] == 429
    other = client.get("/console/oidc/start", environ_base={"REMOTE_ADDR": "192.0.2.9"})
    assert other.status_code == 303, "nobody keeps others from signing in"
