"""The page of a match: whether it has the loader, and whether everything it names is there."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

from origin.doctor.answers import FOREIGN_ORIGIN, Site, judge_compression, judge_headers
from origin.doctor.probe import Answer, NotAnswered, Probe
from origin.doctor.report import Report
from shared_state.errors import shown
from shared_state.events import MATCH_ID_PATTERN

__all__ = ["PageReader", "examine_page", "matches_of", "read_page"]

#: Files that one page may make us fetch.
FILES_MAX: Final = 24
SCRIPT_TYPES: Final = ("text/javascript", "application/javascript")
#: By the end of a file's name, the types with which a browser uses it.
MEDIA_TYPES: Final = {
    "js": SCRIPT_TYPES,
    "mjs": SCRIPT_TYPES,
    "css": ("text/css",),
    "svg": ("image/svg+xml",),
    "wasm": ("application/wasm",),
}
_HASHED: Final = re.compile(r".*-([0-9a-f]{12})\.([a-z]+)")
# The names of further files in the loader and its modules.
_NAMED: Final = re.compile(rb"[\"'`/]([a-z][a-z0-9-]{0,40}-[0-9a-f]{12}\.(?:js|mjs|wasm))[\"'`]")
_MATCH_LINK: Final = re.compile(r"/match/([A-Za-z0-9_-]{1,64})")


@dataclass(slots=True)
class _Page:
    scripts: list[tuple[str, str, str]] = field(default_factory=list)  #: src, type, integrity
    styles: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    lists: int = 0  #: how many <live-scores>
    elements: list[str] = field(default_factory=list)  #: matches of <live-score>
    matches: list[tuple[str, bool]] = field(default_factory=list)  #: of rows: id, live
    has_snapshot: bool = False
    language: str = ""
    canonical: str = ""


class PageReader(HTMLParser):
    """Reads of a page what this module looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.page = _Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As its base has it."""
        values = {name: value or "" for name, value in attrs}
        page = self.page
        if tag == "html":
            page.language = values.get("lang", "")
        elif tag == "script":
            if values.get("src"):
                page.scripts.append((values["src"], values.get("type", ""), values.get("integrity", "")))
            elif values.get("id") == "tl-snapshot":
                page.has_snapshot = True
        elif tag == "link":
            if values.get("rel") == "stylesheet":
                page.styles.append(values.get("href", ""))
            elif values.get("rel") == "canonical":
                page.canonical = values.get("href", "")
        elif tag == "iframe":
            page.frames.append(values.get("src", ""))
        elif tag == "live-scores":
            page.lists += 1
        elif tag == "live-score":
            page.elements.append(values.get("match", ""))
        elif tag == "li" and MATCH_ID_PATTERN.fullmatch(values.get("data-match", "")):
            page.matches.append((values["data-match"], "data-live" in values))


def read_page(text: str) -> _Page:
    """Read a page, however broken it is."""
    reader = PageReader()
    reader.feed(text)
    return reader.page


def matches_of(text: str) -> list[str]:
    """The matches that a list page names, running ones first."""
    found = read_page(text).matches
    ordered = [id_ for id_, live in found if live] + [id_ for id_, live in found if not live]
    return ordered or list(dict.fromkeys(_MATCH_LINK.findall(text)))


def examine_page(probe: Probe, site: Site, report: Report) -> None:
    """Judge a match's page, its embed and the files that they name."""
    url = f"{site.base}/match/{site.match_id}"
    page_headers = {"Accept": "text/html,application/xhtml+xml"}
    try:
        answer, through = probe.follow(url, page_headers)
        plain = probe.get(answer.url, {**page_headers, "Accept-Encoding": "identity"})
    except NotAnswered as error:
        report.error("not_answered", url, f"no answer: {error}", "look at the log of the proxy in front")
        return
    if through:
        report.warning(
            "redirected", url, f"the page is redirected to {shown(answer.url)}: a round trip for each reader",
            "redirect nothing but http to https; no slash at the end, no upper case",
        )  # fmt: skip
    if answer.status != 200:
        report.error(
            "not_200", url, f"the page is answered by {answer.status}", "compare with the origin's own answer"
        )
        return
    if answer.media_type != "text/html":
        report.error(
            "media_type", url, f"Content-Type of the page is {shown(answer.get('content-type'))}",
            "let the origin's own type through (nginx: no default_type for this path)",
        )  # fmt: skip
    judge_headers(answer, report, data=False)
    judge_compression(answer, plain, report)
    page = read_page(answer.text())
    _judge_policy(answer, report)
    if _judge_loader(page, site, url, report):
        _examine_files(probe, page, answer.url, site, report)
    _judge_public_url(page, site, url, report)
    _examine_language(probe, site, report)
    _examine_embed(probe, site, report)
    _examine_stable_names(probe, site, report)


def _judge_loader(page: _Page, site: Site, url: str, report: Report) -> bool:
    loaders = [(src, type_) for src, type_, _ in page.scripts if "live-score" in src.rpartition("/")[2]]
    lacking = []
    if site.match_id not in page.elements:
        lacking.append(f'<live-score match="{site.match_id}">')
    if not loaders:
        lacking.append("the loader (<script type=module src=…/widget/live-score-….js>)")
    elif loaders[0][1] != "module":
        lacking.append("type=module on the loader's script")
    if not page.has_snapshot:
        lacking.append("its snapshot (<script id=tl-snapshot>)")
    if lacking:
        report.error(
            "no_loader", url, f"the page has no {', no '.join(lacking)}: it stays as it was when it was"
            " loaded",
            "switch off what rewrites HTML in front (minifiers, Rocket Loader, sub_filter, mod_pagespeed),"
            " or what serves another page"
            " at this address",
        )  # fmt: skip
    return bool(loaders)


def _examine_files(probe: Probe, page: _Page, page_url: str, site: Site, report: Report) -> None:
    """Fetch what the page names, and what the loader names."""
    integrity = {urljoin(page_url, src): value for src, _, value in page.scripts}
    wanted = [urljoin(page_url, address) for address in (*integrity, *page.styles) if address]
    own = urlsplit(site.base).netloc
    seen: set[str] = set()
    while wanted and len(seen) < FILES_MAX:
        url = wanted.pop(0)
        if url in seen or urlsplit(url).netloc != own:
            continue
        seen.add(url)
        answer = _file(probe, url, site, report)
        if answer is None:
            continue
        try:
            content = answer.body()
        except ValueError:
            content = b""
        _judge_content(url, content, integrity.get(url, ""), report)
        # Only those beside the loader: what it names by its full path is the runtime, of several megabytes.
        folder = url.rpartition("/")[0]
        wanted += [f"{folder}/{name.decode()}" for name in _NAMED.findall(content)]


def _file(probe: Probe, url: str, site: Site, report: Report) -> Answer | None:
    """A file of the widget, judged; None if it is not there."""
    try:
        answer = probe.get(url, {"Origin": FOREIGN_ORIGIN})
    except NotAnswered as error:
        report.error("file_missing", url, f"no answer: {error}", "look at the log of the proxy in front")
        return None
    if answer.status != 200 or answer.cut:
        path = urlsplit(url).path
        if site.prefix and not path.startswith(site.prefix + "/"):
            report.error(
                "path_prefix", url, f"the page is below {site.prefix} and names {path}, which is"
                f" {answer.status}",
                f"set TOUCHLINE_PUBLIC_URL={site.base}   and let the proxy take the path away: location"
                f" {site.prefix}/"
                " { proxy_pass http://127.0.0.1:8000/; }",
            )  # fmt: skip
        else:
            report.error(
                "file_missing", url, "the page names a file that is answered by"
                f" {answer.status}{', cut' if answer.cut else ''}",
                "the page is of another release than the files: purge the page, keep the files of the"
                " release before (docs/operations.md,"
                " Releases of the widget), route /widget/ to the same origins as pages; a path prefix needs"
                " TOUCHLINE_PUBLIC_URL",
            )  # fmt: skip
        return None
    suffix = urlsplit(url).path.rpartition(".")[2]
    types = MEDIA_TYPES.get(suffix)
    if types and answer.media_type not in types:
        report.error(
            "media_type", url, f"Content-Type is {shown(answer.get('content-type'))} and not {types[0]}:"
            " with nosniff a browser refuses it",
            "nginx: include mime.types; and no default_type; for proxied files no types { } of your own",
        )  # fmt: skip
    elif not answer.coding and suffix != "wasm" and len(answer.raw) >= 1_024:
        report.warning(
            "not_compressed", url, f"{len(answer.raw)} bytes are sent without compression to a browser that"
            " takes gzip and br",
            "nginx: pass Accept-Encoding on for /widget/ (proxy_set_header Accept-Encoding"
            " $http_accept_encoding;), the origin has each file"
            " in br, zstd and gzip",
        )  # fmt: skip
    if answer.all("access-control-allow-origin") != ["*"]:
        report.error(
            "file_cors", url, "Access-Control-Allow-Origin of a widget's file is not one *: module scripts"
            " of other sites cannot load it",
            "let the origin's own header through, once",
        )  # fmt: skip
    if _HASHED.fullmatch(urlsplit(url).path) and "immutable" not in answer.get("cache-control"):
        report.warning(
            "file_not_kept", url, "a file with its hash in its name has Cache-Control"
            f" {shown(answer.get('cache-control'))}: browsers ask for it again",
            "remove expires and add_header Cache-Control for /widget/; the origin sends a year, immutable",
        )  # fmt: skip
    return answer


def _judge_content(url: str, content: bytes, integrity: str, report: Report) -> None:
    """A file's bytes against the hash in its name, and against the page's ``integrity``."""
    digest = hashlib.sha256(content)
    named = _HASHED.fullmatch(urlsplit(url).path)
    is_right = named is None or hashlib.sha256(digest.digest()).hexdigest().startswith(named[1])
    if integrity.startswith("sha256-"):
        is_right &= base64.b64encode(digest.digest()).decode() in integrity
    if not is_right:
        report.error(
            "file_changed", url, "the file is not what its name's hash (or the page's integrity) says: it"
            " was changed on the way",
            "switch off what rewrites scripts in front (minifiers, \"auto minify\", sub_filter), and purge"
            " the file",
        )  # fmt: skip


def _judge_policy(answer: Answer, report: Report) -> None:
    policies = answer.all("content-security-policy")
    for policy in policies:
        directives = {part.strip().partition(" ")[0]: part for part in policy.split(";")}
        script = directives.get("script-src", directives.get("default-src", ""))
        if script and "'self'" not in script and "*" not in script:
            report.error(
                "policy_forbids_loader", answer.url, "a Content-Security-Policy forbids the page its own"
                f" scripts: {shown(policy)}",
                "the origin sends its policy itself: remove add_header Content-Security-Policy, or add what"
                " you need to script-src 'self'",
            )  # fmt: skip
            return
    if len(policies) > 1:
        report.warning(
            "policy_doubled", answer.url, f"there are {len(policies)} Content-Security-Policy headers, and"
            " a browser obeys all of them",
            "the origin sends its policy itself: remove add_header Content-Security-Policy",
        )  # fmt: skip


def _judge_public_url(page: _Page, site: Site, url: str, report: Report) -> None:
    canonical = urlsplit(page.canonical)
    own = urlsplit(site.base)
    if canonical.netloc and not site.on_loopback and canonical.netloc != own.netloc:
        report.warning(
            "public_url", url, f"the page says that its address is {shown(page.canonical)}: shares, embeds"
            " and search engines use that one",
            f"set TOUCHLINE_PUBLIC_URL={site.base}, or redirect this host to that one",
        )  # fmt: skip
    elif page.canonical and not canonical.path.startswith(f"{own.path}/match/"):
        report.error(
            "path_prefix", url, f"the page is below {own.path or '/'} and says that its address is"
            f" {shown(page.canonical)}",
            f"set TOUCHLINE_PUBLIC_URL={site.base}",
        )  # fmt: skip
    elif not canonical.netloc and not site.on_loopback:
        report.warning(
            "public_url", url, "the origin does not know its own address: links are relative, and og:url"
            " and oEmbed are left out",
            f"set TOUCHLINE_PUBLIC_URL={site.base}",
        )  # fmt: skip


def _examine_language(probe: Probe, site: Site, report: Report) -> None:
    url = f"{site.base}/match/{site.match_id}?lang=de"
    try:
        answer = probe.get(url, {"Accept": "text/html"})
    except NotAnswered as error:
        report.skip(f"languages: {error}")
        return
    if answer.status == 200 and read_page(answer.text()).language not in ("de", ""):
        report.error(
            "query_ignored", url, "?lang=de is answered in another language: the query does not reach the"
            " origin or is not a part of the"
            " cache's key",
            "nginx: proxy_pass without a URI of its own, or with $is_args$args; proxy_cache_key"
            " $uri$is_args$args;",
        )  # fmt: skip


def _examine_embed(probe: Probe, site: Site, report: Report) -> None:
    url = f"{site.base}/embed/{site.match_id}"
    try:
        answer = probe.get(url, {"Accept": "text/html"})
    except NotAnswered as error:
        report.skip(f"the embed: {error}")
        return
    ancestors = [
        part.strip() for policy in answer.all("content-security-policy") for part in policy.split(";")
        if part.strip().startswith("frame-ancestors")
    ]  # fmt: skip
    forbidding = [part for part in ancestors if part != "frame-ancestors *"]
    if answer.get("x-frame-options") and not ancestors:
        forbidding.append(f"X-Frame-Options: {answer.get('x-frame-options')}")
    if answer.status == 200 and forbidding:
        report.error(
            "embed_not_framed", url, f"other sites cannot show the embed in a frame: {shown(forbidding[0])}",
            "nginx: no add_header X-Frame-Options and no Content-Security-Policy of your own for /embed/;"
            " the origin sends both rules",
        )  # fmt: skip


def _examine_stable_names(probe: Probe, site: Site, report: Report) -> None:
    """The loader by the name that other sites embed, and the service worker."""
    _file(probe, f"{site.base}/widget/live-score.js", site, report)
    worker = _file(probe, f"{site.base}/widget/sw.js", site, report)
    if worker is None:
        return
    if not worker.get("service-worker-allowed"):
        report.warning(
            "service_worker_scope", worker.url, "Service-Worker-Allowed is gone, so the service worker"
            " cannot serve pages without a network",
            "let the origin's own header through",
        )  # fmt: skip
    if "no-cache" not in worker.get("cache-control"):
        report.warning(
            "service_worker_kept", worker.url, "Cache-Control of the service worker is"
            f" {shown(worker.get('cache-control'))}: browsers stay with an old one",
            "remove expires and add_header Cache-Control for /widget/sw.js; the origin sends no-cache",
        )  # fmt: skip
