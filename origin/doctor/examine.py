"""The order of an examination: can it be reached, TLS, the clock, then everything about one match."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from origin.doctor.answers import Site, examine_answers, examine_clock, examine_stale
from origin.doctor.page import examine_page, matches_of
from origin.doctor.probe import NotAnswered, Probe, Target
from origin.doctor.publisher_page import examine_publisher_page
from origin.doctor.report import Report
from origin.doctor.streams import examine_long_poll, examine_stream, examine_websocket
from origin.doctor.tls import examine_tls
from shared_state.errors import shown
from shared_state.events import MATCH_ID_PATTERN

__all__ = ["examine"]

_PAGE_OF_MATCH: Final = re.compile(r"(.*)/(?:match|embed)/([A-Za-z0-9_-]{1,64})/?")


def examine(
    url: str,
    *,
    match_id: str = "",
    origin: str = "",
    page: str = "",
    ca_file: str = "",
    listen_s: float = 20.0,
    timeout_s: float = 10.0,
) -> Report:
    """Examine a set-up from outside.

    Args:
        url: the site's address, or that of a match's page on it.
        match_id: a match; empty: that of the page, or the first one of the list, running ones first.
        origin: the origin's own address, to compare with; empty: it is not known.
        page: a page on another site that shows matches of this one; empty: none is looked at.
        ca_file: certificates that are trusted instead of the system's.
        listen_s: how long a stream is listened to, seconds.
        timeout_s: for each other answer, seconds.

    Raises:
        NotAnswered: the site could not be asked at all, or has no such match.
        ValueError: an address or a match is none.
    """
    for address in (url, origin, page):
        if address:
            Target.of(address)
    if match_id and not MATCH_ID_PATTERN.fullmatch(match_id):
        raise ValueError(f"match {shown(match_id)}: an id is 1 to 64 of A-Z a-z 0-9 _ -")
    probe, report = Probe(timeout_s=timeout_s, ca_file=ca_file), Report()
    probe.context()  # a file of certificates that cannot be read is said now, also where no TLS is
    parts = urlsplit(url)
    found = _PAGE_OF_MATCH.fullmatch(parts.path)
    path, match_id = (found[1], match_id or found[2]) if found else (parts.path.rstrip("/"), match_id)
    base = _reach(probe, f"{parts.scheme}://{parts.netloc}{path}", report)
    site = Site(base, match_id, _on_loopback(base), listen_s, origin.rstrip("/"))
    if site.on_loopback and base.startswith("http:"):
        report.skip("TLS and HTTP/2: this is plain HTTP on this machine")
    elif base.startswith("http:"):
        report.error(
            "no_tls", base, "readers get plain HTTP: anybody on the way can change scores, service workers"
            " and clipboards do not work, and"
            " there is no HTTP/2",
            "nginx: listen 443 ssl http2; with ssl_certificate and ssl_certificate_key, and a redirect from"
            " port 80",
        )  # fmt: skip
    examine_clock(probe, site, report)
    site.match_id = site.match_id or _choose_match(probe, site, report)
    if match_id:
        _refuse_unknown(probe, site)
    if site.match_id:
        _examine_match(probe, site, report)
    else:
        report.skip("streams, polls and pages of a match: the list names none; name one by --match")
    if page:
        examine_publisher_page(probe, site, page, report)
    report.asked += probe.asked
    report.sort()
    return report


def _examine_match(probe: Probe, site: Site, report: Report) -> None:
    """Streams and long-polls take their time, so all else is asked meanwhile."""
    parts: list[Callable[[Probe, Site, Report], None]] = [
        examine_stream, examine_long_poll, examine_websocket, examine_page, examine_answers,
    ]  # fmt: skip
    reports = [Report() for _ in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        running = [
            pool.submit(_part, part, probe, site, own) for part, own in zip(parts, reports, strict=True)
        ]
        for one in running:
            one.result()
    _part(examine_stale, probe, site, report)
    for own in reports:
        report.take(own)


def _part(part: Callable[[Probe, Site, Report], None], probe: Probe, site: Site, report: Report) -> None:
    try:
        part(probe, site, report)
    except NotAnswered as error:
        report.skip(f"{part.__name__.removeprefix('examine_')}: {error}")


def _reach(probe: Probe, base: str, report: Report) -> str:
    """The address that the site has in the end, without a slash at its end.

    Raises:
        NotAnswered: there is none.
    """
    if base.startswith("https:"):
        examine_tls(probe, f"{base}/", report)
    answer, through = probe.follow(f"{base}/", {"Accept": "text/html"})
    if not through:
        return base
    final = urlsplit(answer.url)
    last = f"{final.scheme}://{final.netloc}{final.path.rstrip('/')}"
    if base.startswith("https:") and final.scheme == "http":
        report.error(
            "redirect_to_http",
            base,
            f"https is redirected to {shown(answer.url)}",
            "redirect http to https, and never back",
        )
    elif last != base and not (base.startswith("http:") and last == f"https{base[4:]}"):
        report.warning(
            "redirected", base, f"the site's address is redirected to {shown(answer.url)}, which is"
            " examined instead",
            f"give out {last}, and set TOUCHLINE_PUBLIC_URL={last}",
        )  # fmt: skip
    if final.scheme == "https" and not base.startswith("https:"):
        examine_tls(probe, answer.url, report)
    return last


def _refuse_unknown(probe: Probe, site: Site) -> None:
    """A match that was named and that nobody knows would make a finding of every address.

    Raises:
        NotAnswered: the origin says that it does not know the match.
    """
    answer = probe.get(f"{site.base}/score?matchId={site.match_id}", {"Accept": "application/json"})
    if answer.status == 404 and '"unknown_match"' in answer.text():
        raise NotAnswered(f"{site.base} has no match {shown(site.match_id)}")


def _choose_match(probe: Probe, site: Site, report: Report) -> str:
    answer, _ = probe.follow(f"{site.base}/", {"Accept": "text/html"})
    if answer.status != 200:
        report.error(
            "not_200", f"{site.base}/", f"the list of matches is answered by {answer.status}",
            "compare with the origin's own answer; below a path, name it in the address: https://host/path",
        )  # fmt: skip
        return ""
    return next(iter(matches_of(answer.text())), "")


def _on_loopback(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
