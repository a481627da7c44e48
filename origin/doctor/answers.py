"""Polls and errors: what a cache or a proxy did to their headers, their bodies and their addresses."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from origin.doctor.probe import Answer, NotAnswered, Probe
from origin.doctor.report import Report
from shared_state.errors import shown
from shared_state.jsontext import JsonObject
from shared_state.wire import HEADER_AS_OF

__all__ = ["Site", "examine_answers", "examine_clock", "examine_stale", "judge_compression", "judge_headers"]

#: A poll is kept for a second and used for five more while it is fetched anew (origin/web/cache_policy.py).
KEPT_MAX_S: Final = 10.0
#: A difference of clocks that is worth a word, and one that refuses webhooks (five minutes) soon, seconds.
CLOCK_WARNING_S: Final = 3.0
CLOCK_ERROR_S: Final = 60.0
#: Compression begins at this length (origin/web/compression.py), bytes.
COMPRESSED_FROM_BYTES: Final = 1_024
#: What a script of some other site sends as its origin.
FOREIGN_ORIGIN: Final = "https://touchline-doctor.invalid"
_NGINX_HEADERS: Final = (
    "look for proxy_hide_header, add_header or a CDN's rule that removes or replaces it; the shipped"
    " deploy/nginx and"
    " deploy/varnish pass all headers on"
)


@dataclass(slots=True)
class Site:
    """What is examined.

    Attributes:
        base: the site's address without a slash at its end, with the path that it is below.
        match_id: a match that is there; empty: none is known.
        on_loopback: whether it is on this machine, where nobody expects TLS or a public address.
        listen_s: how long a stream and a held long-poll are listened to, seconds.
        origin: the origin's own address, to compare with; empty: not known.
        server_offset_s: the server's clock less this machine's, by its ``Date``; None: not known.
    """

    base: str
    match_id: str = ""
    on_loopback: bool = False
    listen_s: float = 20.0
    origin: str = ""
    server_offset_s: float | None = None
    heads: list[tuple[float, int, int]] = field(default_factory=list)  #: when, epoch, seq of heartbeats

    @property
    def prefix(self) -> str:
        """The path that it is below; empty: the root."""
        return urlsplit(self.base).path


def examine_clock(probe: Probe, site: Site, report: Report) -> None:
    """Compare the clock of whoever answers with this machine's."""
    url = f"{site.base}/healthz"
    try:
        answer = probe.get(url)
    except NotAnswered as error:
        report.skip(f"the clock: {error}")
        return
    try:
        date = parsedate_to_datetime(answer.get("date"))
    except ValueError:
        report.warning("no_date", url, "answers have no Date that can be read", _NGINX_HEADERS)
        return
    # A Date has no fractions: it is half a second old in the middle.
    try:
        offset_s = date.timestamp() + 0.5 + _age_s(answer) - answer.asked_utc_s
    except (OverflowError, OSError):
        return
    site.server_offset_s = offset_s
    if abs(offset_s) <= CLOCK_WARNING_S:
        return
    seen = f"the clock of the server that answers is {abs(offset_s):.0f} s"
    f" {'ahead of' if offset_s > 0 else 'behind'} this machine's"
    change = "set both clocks right (timedatectl set-ntp true; chronyc tracking); on the server it dates"
    " pages and deltas, and webhooks are refused beyond 300 s"
    (report.error if abs(offset_s) > CLOCK_ERROR_S else report.warning)("clock", url, seen, change)


def examine_answers(probe: Probe, site: Site, report: Report) -> None:
    """Judge polls, errors and closed addresses of a match."""
    state_url = f"{site.base}/api/match/{site.match_id}/state"
    score_url = f"{site.base}/score?matchId={site.match_id}"
    for url in (state_url, score_url):
        try:
            answer = probe.get(url, {"Accept": "application/json", "Origin": FOREIGN_ORIGIN})
        except NotAnswered as error:
            report.error("not_answered", url, f"no answer: {error}", "look at the log of the proxy in front")
            continue
        if not _judge_status(answer, report):
            continue
        judge_headers(answer, report, data=True)
        _judge_json(answer, site.match_id, report)
        if answer.get("etag"):
            _examine_revalidation(probe, answer, report)
    _examine_compression(probe, state_url, report)
    _examine_preflight(probe, state_url, report)
    _examine_key(probe, site, score_url, report)
    _examine_error(probe, site, report)
    _examine_closed(probe, site, report)
    if site.origin:
        _compare(probe, site, report)


def examine_stale(probe: Probe, site: Site, report: Report) -> None:
    """Whether polls follow what the stream has said: asked after the stream was listened to."""
    url = f"{site.base}/score?matchId={site.match_id}"
    try:
        probe.get(url)  # a cache may answer the first one with what it has, and fetch anew behind it
        time.sleep(1.5)
        answer = probe.get(url)
        reread = probe.get(f"{site.base}/api/match/{site.match_id}/state")
    except NotAnswered as error:
        report.skip(f"whether polls are stale: {error}")
        return
    for polled in (answer, reread):
        _judge_age(polled, site, report)
        _judge_behind_stream(polled, site, report)


def judge_headers(answer: Answer, report: Report, *, data: bool) -> None:
    """Judge the headers of an answer that may be kept for a second.

    Args:
        answer: a poll or a page.
        report: gets the findings.
        data: whether scripts of other sites must be able to read it.
    """
    url = answer.url
    policy = answer.get("cache-control").lower()
    if not policy:
        report.error(
            "no_cache_control", url, "Cache-Control is gone, so each cache and browser decides by itself"
            " how long it keeps this",
            _NGINX_HEADERS,
        )  # fmt: skip
    else:
        kept_s = _max_age_s(policy)
        if kept_s is not None and kept_s > KEPT_MAX_S:
            report.error(
                "kept_by_browsers", url,
                f"Cache-Control is {shown(policy)}: a browser shows this for {kept_s:g} s without asking,"
                " whatever happens on"
                " the pitch",
                "the origin sends max-age=0: remove expires, add_header Cache-Control, or the CDN's"
                " \"browser cache TTL\"",
            )  # fmt: skip
    if answer.all("set-cookie"):
        report.warning(
            "cookie_added", url, "an answer that all readers share has Set-Cookie, which the origin never"
            " sends: caches do not keep"
            " it, or give one reader's cookie to all",
            "switch off cookies of the load balancer for this host (nginx: no sticky; proxy_hide_header"
            " Set-Cookie;)",
        )  # fmt: skip
    missing = [
        name for name in ("ETag", HEADER_AS_OF, "X-Content-Type-Options", "Content-Security-Policy")
        if not answer.get(name) and (data or name not in (HEADER_AS_OF, "ETag"))
    ]  # fmt: skip
    if data and not answer.get("touchline-id"):
        missing.append("Touchline-Id")
    if "ETag" in missing and answer.get(HEADER_AS_OF) and "stale-while-revalidate" not in policy:
        missing.remove("ETag")
        report.warning(
            "bus_away", url, "the origin itself says that it cannot ask its bus, and shows what it knew last",
            "look at /readyz and touchline_web_bus_breaker_open of the origin (docs/operations.md)",
        )  # fmt: skip
    if missing:
        code = "headers_stripped"
        text = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} gone"
        if {"ETag", HEADER_AS_OF, "Touchline-Id"} & set(missing):
            report.error(
                code, url, f"{text}: pages cannot tell what is new and how old it is", _NGINX_HEADERS
            )
        else:
            report.warning(code, url, f"{text}: browsers are less strict than they should be", _NGINX_HEADERS)
    if data:
        _judge_cors(answer, report)


def judge_compression(compressed: Answer, plain: Answer, report: Report) -> None:
    """Judge the two forms of one address: asked for with gzip and br, and with neither."""
    url = compressed.url
    if plain.coding:
        report.error(
            "compressed_unasked", url,
            f"who does not take compression gets {plain.coding}: a cache keeps one form for all readers",
            "nginx: gunzip on;  and a key with the encoding, as deploy/nginx has it; do not remove Vary:"
            " Accept-Encoding",
        )  # fmt: skip
    elif compressed.status == 200 and not compressed.coding and len(compressed.raw) >= COMPRESSED_FROM_BYTES:
        report.warning(
            "not_compressed", url, f"{len(compressed.raw)} bytes are sent without compression to a browser"
            " that takes gzip and br",
            "nginx: proxy_set_header Accept-Encoding gzip;  towards the origin, which compresses itself; or"
            " gzip on;"
            " gzip_types application/json text/html text/javascript text/css;  (never text/event-stream)",
        )  # fmt: skip
    elif compressed.coding:
        try:
            compressed.body()
        except ValueError as error:
            report.error(
                "compression_broken", url, str(error),
                "a proxy has compressed or unpacked the body and left the headers: do either in one place"
                " only",
            )  # fmt: skip


def _judge_status(answer: Answer, report: Report) -> bool:
    if answer.status in (301, 302, 303, 307, 308):
        report.error(
            "redirected", answer.url, f"{answer.status} to {shown(answer.get('location'))}: each poll costs"
            " a second round trip, and"
            " a script of another site may not follow it",
            "give pages and embeds the final address (TOUCHLINE_PUBLIC_URL), and redirect no path but http"
            " to https",
        )  # fmt: skip
        return False
    if answer.status != 200:
        report.error(
            "not_200", answer.url, f"the answer is {answer.status}",
            "look at the origin's own answer to this path (--origin), then at the proxy's routes",
        )  # fmt: skip
        return False
    if answer.cut:
        report.error(
            "cut", answer.url, "the body ends before its length",
            "look at the proxy's log: temporary files that cannot be written (proxy_temp_path), or timeouts",
        )  # fmt: skip
        return False
    return True


def _judge_json(answer: Answer, match_id: str, report: Report) -> None:
    if answer.media_type != "application/json":
        report.error(
            "media_type", answer.url, f"Content-Type is {shown(answer.get('content-type'))} and not"
            " application/json",
            "nginx: remove default_type or types for this path; a proxy passes the origin's type on",
        )  # fmt: skip
    content = _object(answer)
    if content.get("match_id") != match_id:
        report.error(
            "wrong_body", answer.url, f"the body is not of match {match_id}: it is"
            f" {shown(answer.text()[:60])}",
            "the path or the query is lost on the way: compare with --origin",
        )  # fmt: skip


def _judge_cors(answer: Answer, report: Report) -> None:
    url = answer.url
    allowed = answer.all("access-control-allow-origin")
    if len(allowed) > 1 or (allowed and "," in allowed[0]):
        report.error(
            "cors_doubled", url, f"Access-Control-Allow-Origin is there {max(2, len(allowed))} times, which"
            " browsers refuse",
            "the origin sends it: remove add_header Access-Control-Allow-Origin from the proxy",
        )  # fmt: skip
    elif allowed != ["*"]:
        report.error(
            "cors", url, f"Access-Control-Allow-Origin is {shown(allowed[0]) if allowed else 'missing'}:"
            " widgets on other sites cannot"
            " read this",
            "let the origin's own header through (nginx: no proxy_hide_header Access-Control-Allow-Origin)",
        )  # fmt: skip
    else:
        exposed = {name.strip().lower() for name in answer.get("access-control-expose-headers").split(",")}
        wanted = [name for name in ("ETag", "Touchline-Id", HEADER_AS_OF) if name.lower() not in exposed]
        if wanted:
            report.warning(
                "cors_headers", url, f"Access-Control-Expose-Headers does not name {', '.join(wanted)}:"
                " widgets on other sites"
                " cannot read them",
                "let the origin's own header through (nginx: no proxy_hide_header"
                " Access-Control-Expose-Headers)",
            )  # fmt: skip


def _examine_revalidation(probe: Probe, answer: Answer, report: Report) -> None:
    """The same tag again must be 304, unless the match has gone on meanwhile."""
    for _ in range(2):
        tag = answer.get("etag")
        again = probe.get(answer.url, {"Accept": "application/json", "If-None-Match": tag})
        if again.status == 304:
            return
        if again.status != 200 or again.get("etag") == tag:
            break
        answer = again
    else:
        return
    report.warning(
        "no_304", answer.url, f"If-None-Match with the current ETag is answered by {again.status} and not"
        " by 304, so each poll is"
        " sent whole",
        "nginx: do not clear If-None-Match towards the origin where nothing is cached, nor add etag off;",
    )  # fmt: skip


def _examine_compression(probe: Probe, url: str, report: Report) -> None:
    try:
        packed = probe.get(url, {"Accept": "application/json"})
        plain = probe.get(url, {"Accept": "application/json", "Accept-Encoding": "identity"})
    except NotAnswered as error:
        report.skip(f"compression: {error}")
        return
    judge_compression(packed, plain, report)


def _examine_preflight(probe: Probe, url: str, report: Report) -> None:
    asked = {
        "Origin": FOREIGN_ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-none-match",
    }
    try:
        answer = probe.get(url, asked, method="OPTIONS")
    except NotAnswered as error:
        report.skip(f"preflights: {error}")
        return
    allowed = {name.strip().lower() for name in answer.get("access-control-allow-headers").split(",")}
    if not 200 <= answer.status < 300 or not {"if-none-match", "*"} & allowed:
        report.warning(
            "cors_preflight", url, "a preflight (OPTIONS) that asks for If-None-Match is answered by"
            f" {answer.status} without leave, so"
            " widgets on other sites poll everything anew each time",
            "pass OPTIONS on to the origin: no limit_except GET, no return 204 for OPTIONS of your own",
        )  # fmt: skip


def _examine_key(probe: Probe, site: Site, score_url: str, report: Report) -> None:
    """Whether the query is a part of what a cache keeps an answer under."""
    other = f"{site.base}/score?matchId=touchline-doctor-no-such-match"
    probe.get(score_url)
    answer = probe.get(other, {"Accept": "application/json"})
    if answer.status == 200:
        report.error(
            "query_ignored", other, "a match that does not exist is answered by 200: the query is not a"
            " part of the cache's key, so"
            " readers get other matches",
            "nginx: proxy_cache_key $uri$is_args$args;   Varnish: hash_data(req.url) with its query; or the"
            " shipped files",
        )  # fmt: skip


def _examine_error(probe: Probe, site: Site, report: Report) -> None:
    url = f"{site.base}/api/match/touchline-doctor-no-such-match/state"
    answer = probe.get(url, {"Accept": "application/json", "Origin": FOREIGN_ORIGIN})
    error = _object(answer).get("error")
    if answer.status != 404:
        report.error(
            "error_status", url, f"a match that does not exist is answered by {answer.status} and not by 404",
            "nginx: no error_page that changes the status (error_page 404 =200 …), no try_files to an index"
            " page",
        )  # fmt: skip
    elif not isinstance(error, dict):
        report.warning(
            "errors_replaced", url, "the origin's error in JSON is replaced by a page of the proxy's own,"
            " so clients cannot tell why",
            "nginx: proxy_intercept_errors off;   CDN: no custom error pages for this host",
        )  # fmt: skip
    elif _max_age_s(answer.get("cache-control")) not in (None, 0) or _age_s(answer) > KEPT_MAX_S:
        report.warning(
            "errors_kept", url, "an error is kept by caches: a match that begins now stays unknown to"
            " readers for so long",
            "nginx: no proxy_cache_valid any or 404 of more than a second;   CDN: no negative caching",
        )  # fmt: skip


def _examine_closed(probe: Probe, site: Site, report: Report) -> None:
    for path in ("/metrics", "/readyz"):
        url = site.base + path
        try:
            answer = probe.get(url, body_max_bytes=16_384)
        except NotAnswered:
            continue
        text = answer.text()
        if answer.status in (200, 503) and ("touchline_" in text or '"status"' in text):
            report.warning(
                "admin_public", url, f"{path} is open to everybody",
                'nginx: location ~ "^/(metrics|readyz)([^A-Za-z0-9_-]|\\z)" { return 404; }   or touchline'
                ' serve --admin-port 9000',
            )  # fmt: skip


def _judge_age(answer: Answer, site: Site, report: Report) -> None:
    age_s = _age_s(answer)
    as_of = answer.get(HEADER_AS_OF)
    if as_of.isdigit() and len(as_of) < 18 and site.server_offset_s is not None:
        now_s = time.time() + site.server_offset_s
        age_s = max(age_s, now_s - int(as_of) / 1000)
    if age_s <= KEPT_MAX_S or not math.isfinite(age_s):
        return
    if answer.get(HEADER_AS_OF) and not answer.get("etag"):
        return  # the origin itself says so, and judge_headers has said it
    report.error(
        "stale", answer.url,
        f"after two requests the answer is still {age_s:.0f} s old (Age, Touchline-As-Of): a cache keeps it"
        " longer than its second",
        "nginx: no proxy_ignore_headers Cache-Control and no proxy_cache_valid for pages and polls;"
        " proxy_cache_background_update"
        " on;   Varnish: no beresp.ttl of your own;   CDN: \"respect origin headers\"",
    )  # fmt: skip


def _judge_behind_stream(answer: Answer, site: Site, report: Report) -> None:
    content = _object(answer)
    epoch, seq = content.get("epoch"), content.get("seq")
    if not isinstance(epoch, int) or not isinstance(seq, int):
        return
    # What the stream had said this long before the poll was asked, every cache must have by now.
    known = [(e, s) for at_s, e, s in site.heads if at_s < answer.asked_s - KEPT_MAX_S] or [
        (e, s) for _, e, s in site.heads[:1]
    ]
    if known and (epoch, seq) < max(known):
        report.error(
            "behind_stream", answer.url,
            f"the stream was at {max(known)[0]}-{max(known)[1]} and this answer, asked for later, is at"
            f" {epoch}-{seq}: old state"
            " after contact",
            "nginx: no proxy_ignore_headers Cache-Control, no proxy_cache_valid for polls;   Varnish: no"
            " beresp.ttl of your own; if"
            " there are several regions, look at touchline_fanout_seconds of the one that is behind",
        )  # fmt: skip


def _compare(probe: Probe, site: Site, report: Report) -> None:
    """Headers that the origin sends and that do not come through."""
    path = f"/api/match/{site.match_id}/state"
    try:
        theirs = probe.get(f"{site.origin}{path}", {"Accept": "application/json", "Origin": FOREIGN_ORIGIN})
        ours = probe.get(f"{site.base}{path}", {"Accept": "application/json", "Origin": FOREIGN_ORIGIN})
    except NotAnswered as error:
        report.skip(f"the comparison with {site.origin}: {error}")
        return
    if theirs.status != 200:
        report.skip(f"the comparison with {site.origin}: it answers {theirs.status} to {path}")
        return
    hop = {
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "date",
        "server",
        "content-encoding",
        "vary",
    }
    # Those that a cache may keep for itself.
    kept = {"surrogate-key", "cache-tag", "cdn-cache-control", "last-modified", "surrogate-control"}
    names = {name for name, _ in theirs.headers} - hop - kept - {name for name, _ in ours.headers}
    if names:
        report.warning(
            "headers_lost", ours.url, f"the origin sends {', '.join(sorted(names))}, which readers do not"
            " get", _NGINX_HEADERS
        )  # fmt: skip


def _object(answer: Answer) -> JsonObject:
    try:
        content = json.loads(answer.body())
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _age_s(answer: Answer) -> float:
    text = answer.get("age").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0.0


def _max_age_s(policy: str) -> float | None:
    """``max-age`` of a ``Cache-Control``, seconds; None if it has none."""
    for directive in policy.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "max-age" and value.isascii() and value.isdigit() and len(value) < 12:
            return float(value)
    return None
