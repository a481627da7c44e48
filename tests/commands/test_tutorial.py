"""The commands of docs/tutorial.md, in one shell, one after the other; then its page in a real browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from deploy.ports import free_port
from testkit.browser import launch
from testkit.publisher import Publisher
from testkit.services.process import require_program

ROOT = Path(__file__).parents[2]
MARK = "=== next"

pytestmark = pytest.mark.browser


def test_the_tutorial_leads_to_a_score_on_a_page(tmp_path: Path) -> None:
    for name in ("curl", "openssl"):
        require_program(name)
    port = free_port()
    text = (
        (ROOT / "docs" / "tutorial.md")
        .read_text(encoding="utf-8")
        .replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    )
    blocks = re.findall(r"```sh\n(.*?)```", text.replace("--port 8000", f"--port {port}"), re.DOTALL)
    (page,) = re.findall(r"```html\n(.*?)```", text, re.DOTALL)
    # The folder has what a clone has after step 1, which made the environment that runs this.
    assert blocks[0].strip() == "make setup"
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    script = "set -e\n" + f"\necho '{MARK}'\n".join(blocks[1:]) + f"\necho '{MARK}'\nwait"
    output = tmp_path / "output"
    with output.open("wb") as out, (tmp_path / "errors").open("wb") as errors:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while output.read_text().count(MARK) < len(blocks) - 1:
            assert shell.poll() is None, output.read_text() + (tmp_path / "errors").read_text()
            assert time.monotonic() < deadline, output.read_text() + (tmp_path / "errors").read_text()
            time.sleep(0.1)
        _, first, second, log, _ = output.read_text().split(MARK)
        assert json.loads(first)["score"] == {"home": 1, "away": 0}
        assert json.loads(second)["score"] == {"home": 0, "away": 0}
        records = [json.loads(line) for line in log.strip().splitlines()]
        assert [(record["key"], record["event"]["op"]) for record in records] == [("key-1", "ADD")] * 3 + [
            ("key-1", "RETRACT")
        ]
        with launch() as browser, Publisher() as publisher:
            shown = browser.new_page()
            shown.goto(publisher.page("/mine", page))
            shown.locator("live-score[data-connection=open]").wait_for(state="attached")
            board = shown.locator("live-score article")
            expect(board).to_contain_text("Rovers")
            expect(board).to_contain_text("VAR: offside")
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(timeout=30)
