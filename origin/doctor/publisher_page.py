"""A page on another site that shows matches of ours: whether it has the loader, and lets it run."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import urljoin, urlsplit

from origin.doctor.answers import FOREIGN_ORIGIN, Site
from origin.doctor.page import read_page
from origin.doctor.probe import Answer, NotAnswered, Probe
from origin.doctor.report import Report
from shared_state.errors import shown

__all__ = ["examine_publisher_page"]


def examine_publisher_page(probe: Probe, site: Site, url: str, report: Report) -> None:
    """Judge a page on another site that shows matches of this one.

    Args:
        probe: asks.
        site: whose matches the page shows.
        url: the page's address.
        report: gets the findings.
    """
    try:
        answer, _ = probe.follow(url, {"Accept": "text/html,application/xhtml+xml"})
    except NotAnswered as error:
        report.error("not_answered", url, f"no answer: {error}", "look at that page's own server")
        return
    if answer.status != 200:
        report.error(
            "not_200", url, f"the page is answered by {answer.status}", "look at that page's own server"
        )
        return
    page = read_page(answer.text())
    loaders = [
        (urljoin(answer.url, src), type_, integrity)
        for src, type_, integrity in page.scripts
        if urlsplit(src).path.rpartition("/")[2].startswith("live-score")
    ]
    frames = [urljoin(answer.url, src) for src in page.frames]
    if (
        any(frame.startswith(f"{site.base}/embed/") for frame in frames)
        and not page.elements
        and not page.lists
    ):
        return  # a frame is a page of this site, which is examined as such
    snippet = f'<script type="module" src="{site.base}/widget/live-score.js" async></script>'
    if not loaders:
        report.error(
            "no_loader", url, "the page has no loader, so its elements stay empty", f"put it there: {snippet}"
        )
        return
    if not page.elements and not page.lists:
        report.warning(
            "no_element", url, "the page has the loader and no <live-score> (unless a script of its own"
            " adds one)",
            '<live-score match="<id>"></live-score>',
        )  # fmt: skip
    source, type_, integrity = loaders[0]
    if type_ != "module":
        report.error("no_loader", url, "the loader's script is not type=module, so it does not run", snippet)
    if urlsplit(answer.url).scheme == "https" and urlsplit(source).scheme == "http":
        report.error(
            "mixed_content", url, f"an https page names the loader by http: {shown(source)}", snippet
        )
        return
    if not source.startswith(f"{site.base}/widget/"):
        report.warning(
            "loader_of_another_site",
            url,
            f"its loader is {shown(source)} and not one of {site.base}",
            snippet,
        )
    else:
        _judge_pinned(probe, source, integrity, url, snippet, report)
    _judge_publisher_policy(answer, site, report)


def _judge_pinned(probe: Probe, source: str, integrity: str, url: str, snippet: str, report: Report) -> None:
    """Whether the loader that the page names is there, and is the release that the page pins."""
    try:
        answer = probe.get(source, {"Origin": FOREIGN_ORIGIN})
        content = answer.body()
    except (NotAnswered, ValueError) as error:
        report.error("file_missing", url, f"the loader {shown(source)} cannot be had: {error}", snippet)
        return
    if answer.status != 200:
        report.error(
            "file_missing", url, f"the loader {shown(source)} is answered by {answer.status}: it is of a"
            " release that has gone",
            f"name the loader without a hash: {snippet}",
        )  # fmt: skip
    elif integrity.startswith("sha256-"):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        if digest not in integrity:
            report.error(
                "integrity", url, "the page's integrity is not that of the loader, so browsers refuse it:"
                " there was a release since",
                f'integrity="sha256-{digest}", or none and {snippet}',
            )  # fmt: skip


def _judge_publisher_policy(answer: Answer, site: Site, report: Report) -> None:
    own = urlsplit(site.base)
    origin = f"{own.scheme}://{own.netloc}"
    for policy in answer.all("content-security-policy"):
        directives = {
            part.strip().partition(" ")[0]: part.split()[1:] for part in policy.split(";") if part.strip()
        }
        for name in ("script-src", "connect-src"):
            sources = directives.get(name, directives.get("default-src"))
            if sources is not None and not any(_permits(source, origin, answer.url) for source in sources):
                report.error(
                    "policy_forbids_loader", answer.url, "the page's Content-Security-Policy has no"
                    f" {origin} in its {name}",
                    f"add {origin} to script-src, connect-src, style-src and img-src (docs/embedding.md)",
                )  # fmt: skip
                return


def _permits(source: str, origin: str, page_url: str) -> bool:
    """Whether a source of a policy covers this site; a nonce or a hash may, so it counts as one that does."""
    host = urlsplit(origin).netloc
    if source in ("*", "https:", origin, host) or source.startswith(("'nonce-", "'sha", f"{origin}/")):
        return True
    if source == "'self'":
        return urlsplit(page_url).netloc == host
    return source.startswith("*.") and host.endswith(source[1:])
