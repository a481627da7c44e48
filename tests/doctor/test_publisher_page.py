"""A page on another site: what its author did wrong is named, and a good one has no finding."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator

import pytest

from origin.doctor.answers import Site
from origin.doctor.probe import Probe
from origin.doctor.publisher_page import examine_publisher_page
from origin.doctor.report import Report
from testkit.faults.bad_proxies import bad_server
from testkit.services.origin import OriginServer

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


ELEMENT = '<live-score match="m1"></live-score>'
LOADER = '<script type="module" src="{base}/widget/live-score.js" async></script>'


def examined(origin: OriginServer, html: str, headers: str = "", status: str = "200 OK") -> set[str]:
    body = html.replace("{base}", origin.url).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n{headers}\r\n"

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(head.replace("{base}", origin.url).encode() + body)

    report = Report()
    with bad_server(talk) as port:
        examine_publisher_page(Probe(), Site(origin.url), f"http://127.0.0.1:{port}/story", report)
    return {finding.code for finding in report.findings}


def integrity(origin: OriginServer) -> str:
    _, content = origin.get("/widget/live-score.js")
    return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode()


@pytest.mark.parametrize(
    ("html", "found"),
    [
        (LOADER + ELEMENT, set()),
        (LOADER + '<live-scores day="2026-11-28"></live-scores>', set()),
        ('<iframe src="{base}/embed/m1"></iframe>', set()),
        (ELEMENT, {"no_loader"}),
        ("<p>no scores</p>", {"no_loader"}),
        (LOADER, {"no_element"}),
        (LOADER.replace("module", "text/javascript") + ELEMENT, {"no_loader"}),
        (LOADER.replace("{base}", "https://other.example") + ELEMENT, {"loader_of_another_site"}),
        (LOADER.replace("live-score.js", "live-score-0123456789ab.js") + ELEMENT, {"file_missing"}),
        (LOADER.replace(" async", f' integrity="sha256-{"A" * 43}="') + ELEMENT, {"integrity"}),
        ("<script src='{base}/widget/live-score.js' type=module><live-score match=m1>", {"no_element"}),
    ],
)
def test_a_page(origin: OriginServer, html: str, found: set[str]) -> None:
    assert examined(origin, html) == found


def test_a_page_that_pins_the_present_release_is_fine(origin: OriginServer) -> None:
    html = LOADER.replace(" async", f' integrity="{integrity(origin)}" crossorigin') + ELEMENT
    assert examined(origin, html) == set()


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ("script-src 'self' {base}; connect-src {base}", set()),
        ("default-src *", set()),
        ("img-src 'self'", set()),
        ("script-src 'nonce-abc' {base}; connect-src https: {base}", set()),
        ("script-src 'self'; connect-src {base}", {"policy_forbids_loader"}),
        ("script-src {base}; connect-src 'self'", {"policy_forbids_loader"}),
        ("default-src 'none'", {"policy_forbids_loader"}),
    ],
)
def test_a_policy(origin: OriginServer, policy: str, found: set[str]) -> None:
    assert examined(origin, LOADER + ELEMENT, f"Content-Security-Policy: {policy}\r\n") == found


def test_a_page_that_is_not_there(origin: OriginServer) -> None:
    assert examined(origin, "", status="404 Not Found") == {"not_200"}
