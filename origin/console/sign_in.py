"""Who is signed in: local accounts, a trusted proxy's header, or OpenID Connect; each becomes a session.

A session's cookie is HttpOnly, ``SameSite=Strict``, ``Secure`` under https and sent below ``/console`` alone.
What changes something must come from a page of this origin: its ``Origin`` is compared, and a page of a
session sends the session's own token too.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from flask import Request, Response

from origin.console.accounts import Accounts
from origin.console.config import ConsoleConfig, is_operator_name
from origin.console.store import Limit, Session, Store
from origin.errors import ConfigError, RequestError
from origin.stream.http.forwarded import TrustedProxies, viewer_address
from shared_state.errors import shown

__all__ = ["CSRF_HEADER", "SESSION_COOKIE", "SignIn"]

logger = logging.getLogger(__name__)

SESSION_COOKIE: Final = "touchline-console"
PENDING_COOKIE: Final = "touchline-console-oidc"
CSRF_HEADER: Final = "X-Touchline-Csrf"
#: Attempts from one address: so many at once, then one each so many seconds.
ADDRESS_BURST: Final = 20
ADDRESS_REFILL_S: Final = 15.0
#: Attempts at one account that fail.
ACCOUNT_BURST: Final = 10
ACCOUNT_REFILL_S: Final = 60.0
#: Sign-ins that begin at the provider, from one address.
PROVIDER_BURST: Final = 10
PROVIDER_REFILL_S: Final = 6.0


class SignIn:
    """See the module.

    Args:
        public_url: how readers reach this origin; empty: as the request says.
    """

    def __init__(self, config: ConsoleConfig, accounts: Accounts, store: Store, public_url: str) -> None:
        self._config = config
        self._accounts = accounts
        self._store = store
        self._public = urlsplit(public_url)

    # --- requests

    def session(self, request: Request) -> tuple[str, Session] | None:
        """The token and the session of a request; None if nobody is signed in."""
        token = request.cookies.get(SESSION_COOKIE, "")
        session = self._store.session(token) if token else None
        if session is None or not self.still_valid(session):
            return None
        if session.kind == "proxy" and self._operator_by_proxy(request) != session.operator:
            return None
        return token, session

    def still_valid(self, session: Session) -> bool:
        """Whether what a session rests on is still so; that its time is not over is the store's to say."""
        if session.kind != "local":
            return True
        try:
            return self._accounts.proof(session.operator) == session.proof
        except ConfigError as error:
            logger.warning("console: %s", error)
            return False

    def is_open(self, token: str) -> bool:
        """Whether a session that a WebSocket began with is still one."""
        session = self._store.session(token)
        return session is not None and self.still_valid(session)

    def check_origin(self, request: Request) -> None:
        """Refuse what did not come from a page of this origin.

        Raises:
            RequestError: 403.
        """
        origin = request.headers.get("Origin", "")
        parts = urlsplit(origin) if "://" in origin else None
        is_ours = parts is not None and parts.netloc in {request.host, self._public.netloc} - {""}
        # Under https a page of the same host that came by http may be anybody's on the way.
        if parts is None or not is_ours or (self._is_secure(request) and parts.scheme != "https"):
            raise RequestError(
                403, "wrong_origin", f"this must come from a page of this origin, not {shown(origin)}"
            )

    def check_csrf(self, request: Request, session: Session) -> None:
        """Refuse a change that a page of this session did not send.

        Raises:
            RequestError: 403.
        """
        self.check_origin(request)
        given = request.headers.get(CSRF_HEADER) or request.form.get("csrf", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode()):
            raise RequestError(403, "wrong_csrf", "this page is of another session; load it again")

    # --- signing in

    def by_password(self, request: Request, name: str, password: str) -> str:
        """Sign in by a local account; the new session's token.

        Raises:
            RequestError: 401 the name or the password is wrong; 429 too many attempts; 503 too many at once.
        """
        address = self._address(request)
        of_address = Limit(f"address {address}", ADDRESS_BURST, ADDRESS_REFILL_S)
        known = is_operator_name(name) and self._accounts.proof(name) is not None
        # All names that there are not share one bucket, so made-up ones fill no memory.
        of_account = Limit(f"account {name if known else ''}", ACCOUNT_BURST, ACCOUNT_REFILL_S)
        wait_s = self._store.take([of_address, of_account])
        if wait_s > 0:
            logger.warning("console: too many attempts to sign in as %s from %s", shown(name), address)
            raise RequestError(
                429,
                "too_many_attempts",
                f"too many attempts to sign in; try again in {math.ceil(wait_s)} s",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        if not self._accounts.check(name, password):
            logger.warning("console: wrong name or password for %s from %s", shown(name), address)
            raise RequestError(401, "wrong_password", "the name or the password is wrong")
        self._store.give_back(of_account)
        self._store.give_back(of_address)
        return self._begin(name, "local", self._accounts.proof(name) or "", address)

    def by_proxy(self, request: Request) -> str | None:
        """Sign in by a trusted proxy's header; the new session's token, or None without such a header."""
        operator = self._operator_by_proxy(request)
        return None if operator is None else self._begin(operator, "proxy", "", self._address(request))

    def check_provider_attempt(self, request: Request) -> None:
        """Refuse one more sign-in by the OpenID Connect provider, which is asked for each.

        Raises:
            RequestError: 429 too many from this address.
        """
        limit = Limit(f"provider {self._address(request)}", PROVIDER_BURST, PROVIDER_REFILL_S)
        wait_s = self._store.take([limit])
        if wait_s > 0:
            raise RequestError(
                429,
                "too_many_attempts",
                "too many sign-ins were begun; try again in a moment",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )

    def by_provider(self, request: Request, operator: str) -> str:
        """Sign in whom the OpenID Connect provider named; the new session's token."""
        return self._begin(operator, "oidc", "", self._address(request))

    def _begin(self, operator: str, kind: str, proof: str, address: str) -> str:
        token = self._store.begin(operator, kind, proof, self._config.session_hours * 3_600.0)
        logger.info("console: %s signed in (%s) from %s", operator, kind, address)
        return token

    def _operator_by_proxy(self, request: Request) -> str | None:
        if not self._config.proxy_header:
            return None
        values = request.headers.getlist(self._config.proxy_header)
        # Of the connection itself: what X-Forwarded-For says is no proof of who speaks here.
        if not values or not _is_from(request.remote_addr or "", self._config.proxy_addresses):
            return None
        if len(values) != 1 or not is_operator_name(values[0]):
            logger.warning("console: the proxy named %s, which cannot be an operator", shown(values[0]))
            return None
        return values[0]

    def _address(self, request: Request) -> str:
        return viewer_address(
            request.remote_addr or "", request.headers.getlist("X-Forwarded-For"), self._config.forwarded_by
        )

    # --- cookies

    def set_cookie(self, response: Response, request: Request, path: str, token: str) -> None:
        """Give a browser its session."""
        self._cookie(response.set_cookie, SESSION_COOKIE, token, request, path, "Strict", None)

    def drop_cookie(self, response: Response, request: Request, path: str) -> None:
        """Take a browser's session away."""
        self._cookie(response.set_cookie, SESSION_COOKIE, "", request, path, "Strict", 0)

    def set_pending_cookie(self, response: Response, request: Request, path: str, key: str) -> None:
        """Mark the browser that was sent to the provider. It comes back from there, so ``Lax``."""
        self._cookie(response.set_cookie, PENDING_COOKIE, key, request, path, "Lax", 600 if key else 0)

    def _cookie(
        self,
        set_cookie: Callable[..., None],
        name: str,
        value: str,
        request: Request,
        path: str,
        same_site: str,
        max_age: int | None,
    ) -> None:
        secure = self._is_secure(request)
        set_cookie(name, value, path=path, httponly=True, samesite=same_site, secure=secure, max_age=max_age)

    def _is_secure(self, request: Request) -> bool:
        return request.is_secure or self._public.scheme == "https"


def _is_from(address: str, proxies: TrustedProxies) -> bool:
    from ipaddress import ip_address

    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (parsed if mapped is None else mapped) in proxies
