"""Sign-in by an OpenID Connect provider: the authorization code flow with PKCE, ``state`` and ``nonce``.

Needs the extra ``oidc``. What an ID token says is believed only after its signature (by the provider's
published keys, never ``none`` and never a shared secret), issuer, audience, nonce and times were checked.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from origin.console.config import OidcConfig, is_operator_name
from origin.console.store import PendingSignIn
from origin.errors import ConfigError, RequestError
from shared_state.errors import shown

try:
    import httpx
    from authlib.oauth2.rfc7636 import create_s256_code_challenge
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet
except ImportError as error:
    raise ConfigError(
        f"TOUCHLINE_CONSOLE_OIDC_ISSUER needs a package that is not installed ({error.name}):"
        " pip install 'touchline[oidc]'"
    ) from None

__all__ = ["OidcProvider"]

_TIMEOUT_S: Final = 5.0
# Keys are published under one address and rotated; a token by an unknown key has them fetched anew.
_METADATA_FRESH_S: Final = 3_600.0
_KEYS_FETCH_S: Final = 10.0
_LEEWAY_S: Final = 60
_ANSWER_MAX_BYTES: Final = 262_144
# By public keys alone: a token that is signed by a shared secret could be made by whoever has the secret.
_ALGORITHMS: Final = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]


class OidcProvider:
    """See the module. For any number of threads."""

    def __init__(self, config: OidcConfig) -> None:
        self._config = config
        self._client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
        self._lock = threading.Lock()
        self._metadata: Mapping[str, Any] = {}
        self._metadata_until_s = 0.0
        self._keys: KeySet | None = None
        self._keys_again_s = 0.0

    def begin(self, redirect_uri: str) -> tuple[str, PendingSignIn]:
        """Where to send a browser, and what has to be kept until it comes back.

        Raises:
            RequestError: 502 the provider does not answer as one.
        """
        pending = PendingSignIn(*(secrets.token_urlsafe(32) for _ in range(3)))
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": create_s256_code_challenge(pending.verifier),
            "code_challenge_method": "S256",
        }
        endpoint = self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}", pending

    def finish(self, redirect_uri: str, code: str, pending: PendingSignIn) -> str:
        """The operator that the provider names.

        Raises:
            RequestError: 502 the provider does not answer as one, or its token cannot be believed; 403 the
                account may not sign in here.
        """
        try:
            answer = self._client.post(
                self._endpoint("token_endpoint"),
                data={
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": redirect_uri,
                    "code_verifier": pending.verifier,
                },
                auth=(self._config.client_id, self._config.client_secret),
            )
        except httpx.HTTPError as error:
            raise _failed(f"its token endpoint: {error}") from None
        token = _content(answer, "its token endpoint").get("id_token")
        if not isinstance(token, str):
            raise _failed("its token endpoint gave no ID token")
        return self._operator(self._claims(token, pending.nonce))

    def _operator(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._config.claim)
        if not isinstance(name, str) or not is_operator_name(name):
            raise RequestError(
                403,
                "not_an_operator",
                f"the provider gave no name that can be used: {self._config.claim} {shown(name)}",
            )
        # An address that its provider has not checked is anybody's.
        if self._config.claim == "email" and claims.get("email_verified") is False:
            raise RequestError(403, "not_an_operator", f"{name}: the provider has not verified this address")
        name = name.lower() if self._config.claim == "email" else name
        for entry in self._config.operators:
            if name == entry or (entry.startswith("@") and name.endswith(entry)):
                return name
        raise RequestError(403, "not_an_operator", f"{name} may not sign in to this console")

    def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        try:
            decoded = self._decoded(token)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": self._known()["issuer"]},
                    "aud": {"essential": True, "value": self._config.client_id},
                    "exp": {"essential": True},
                },
                params={"nonce": nonce, "client_id": self._config.client_id},
            )
            claims.validate(leeway=_LEEWAY_S)
            if claims.get("nonce") != nonce:
                raise _failed("its ID token is not of this sign-in")
        except RequestError:
            raise
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _failed(f"its ID token: {type(error).__name__} {error}") from None
        except Exception as error:  # authlib's own errors have a base class each release
            if type(error).__module__.startswith(("authlib.", "joserfc.")):
                raise _failed(f"its ID token: {type(error).__name__} {error}") from None
            raise
        return decoded.claims

    def _decoded(self, token: str) -> jwt.Token:
        try:
            return jwt.decode(token, self._key_set(anew=False), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            return jwt.decode(token, self._key_set(anew=True), algorithms=_ALGORITHMS)

    def _key_set(self, *, anew: bool) -> KeySet:
        with self._lock:
            known, again_s = self._keys, self._keys_again_s
        if known is not None and (not anew or time.monotonic() < again_s):
            return known
        try:
            content = _content(self._client.get(self._endpoint("jwks_uri")), "its keys")
            keys = KeySet.import_key_set(content)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise _failed(f"its keys: {error}") from None
        with self._lock:
            self._keys, self._keys_again_s = keys, time.monotonic() + _KEYS_FETCH_S
        return keys

    def _endpoint(self, name: str) -> str:
        endpoint = self._known().get(name)
        if not isinstance(endpoint, str) or urlsplit(endpoint).scheme != urlsplit(self._config.issuer).scheme:
            raise _failed(f"its configuration has no usable {name}: {shown(endpoint)}")
        return endpoint

    def _known(self) -> Mapping[str, Any]:
        with self._lock:
            if self._metadata and time.monotonic() < self._metadata_until_s:
                return self._metadata
        try:
            answer = self._client.get(f"{self._config.issuer}/.well-known/openid-configuration")
        except httpx.HTTPError as error:
            raise _failed(f"its configuration: {error}") from None
        metadata = _content(answer, "its configuration")
        if str(metadata.get("issuer", "")).rstrip("/") != self._config.issuer:
            raise _failed(f"its configuration is of the issuer {shown(metadata.get('issuer'))}")
        with self._lock:
            self._metadata, self._metadata_until_s = metadata, time.monotonic() + _METADATA_FRESH_S
        return metadata


def _content(answer: httpx.Response, what: str) -> Mapping[str, Any]:
    if answer.status_code != 200 or len(answer.content) > _ANSWER_MAX_BYTES:
        raise _failed(f"{what}: status {answer.status_code}, {len(answer.content)} bytes")
    try:
        content = answer.json()
    except ValueError:
        raise _failed(f"{what}: is not JSON") from None
    if not isinstance(content, dict):
        raise _failed(f"{what}: is no JSON object")
    return content


def _failed(why: str) -> RequestError:
    return RequestError(502, "sign_in_failed", f"the sign-in provider: {why}")
