"""The console through the shipped nginx, where its site lets operators in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from websockets.sync.client import connect

from testkit.console import PASSWORD, console_env
from testkit.services.caches import NginxCache
from testkit.services.origin import OriginServer

pytestmark = pytest.mark.services


class OperatorsNginx(NginxCache):
    console = True


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxCache]:
    directory: Path = tmp_path_factory.mktemp("console")
    with OriginServer(directory, env=console_env(directory, "ana")) as server:
        edge = OperatorsNginx(server.port)
        edge.start()
        yield edge
        edge.__exit__()


def test_an_operator_signs_in_and_opens_a_match_and_nothing_is_kept(edge: NginxCache) -> None:
    with httpx.Client(base_url=edge.url, headers={"Origin": edge.url}) as client:
        signed_in = client.post("/console/sign-in", data={"operator": "ana", "password": PASSWORD})
        assert signed_in.status_code == 303
        for _ in range(2):
            answer = client.get("/console/")
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
            assert "X-Cache" not in answer.headers
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    with httpx.Client(base_url=edge.url) as stranger:
        assert stranger.get("/console/").status_code == 303, "nobody gets another's page"
    sock = socket.create_connection(("127.0.0.1", edge.port))
    address = f"{edge.url.replace('http', 'ws', 1)}/console/ws/m1"
    with connect(
        address,
        sock=sock,
        additional_headers={"Cookie": cookie},
        origin=cast("Any", edge.url),
        proxy=None,
    ) as window:
        assert '"operator":"ana"' in str(window.recv(timeout=20))
