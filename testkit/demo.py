"""A real ``touchline demo`` on a free port, with the final played at once."""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path
from typing import Any

from deploy.ports import free_port
from testkit.services.process import ServerProcess

__all__ = ["Demo"]


class Demo:
    """The demo, until the block ends.

    Args:
        directory: for its log.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.log_path = directory / "demo.log"
        argv = [sys.executable, "-m", "origin", "demo", "--port", str(self.port), "--speed", "100000"]
        self.process = ServerProcess(argv, log_path=self.log_path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Demo:
        self.process.wait_until(lambda: "Full time" in self.log_path.read_text(), timeout_s=60)
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.stop()

    def ask(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of a request to the lab's API; with a body it is a POST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = None if body is None else json.dumps(body)
            given = {"Touchline-Lab": "1"} if headers is None else headers
            connection.request("GET" if body is None else "POST", f"/lab/api/{path}", sent, given)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()
