"""A real Prometheus that scrapes what a test names, and evaluates the shipped rules."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.ports import free_port
from testkit.services.process import ServerProcess, require_program

__all__ = ["Prometheus"]

PATIENCE_S = 30.0


class Prometheus:
    """One server, on loopback alone; its data is below ``directory``.

    Args:
        targets: host and port of each job.
        rules: a file of rules.
    """

    def __init__(self, directory: Path, targets: Mapping[str, str], rules: Path) -> None:
        program = require_program("prometheus")
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
        ]
        interval = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "500ms"}
        config = directory / "prometheus.yml"  # JSON is YAML
        config.write_text(
            json.dumps({"global": interval, "rule_files": [str(rules)], "scrape_configs": jobs})
        )
        self._port = free_port()
        self._process = ServerProcess(
            [
                *(program, f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"),
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            log_path=directory / "prometheus.log",
        )
        self._process.wait_until(self._answers)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; fails with Prometheus' own words."""
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def wait_for(self, expression: str, enough: Callable[[list[dict[str, Any]]], bool] = bool) -> None:
        """Wait until the result of a query is enough."""
        until_s = time.monotonic() + PATIENCE_S
        while not enough(found := self.query(expression)):
            assert time.monotonic() < until_s, (expression, found)
            time.sleep(0.1)

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with what became of each."""
        groups = self._get("/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        """End it."""
        self._process.stop()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                read: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            read = json.load(error)
        return read
