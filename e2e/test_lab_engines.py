"""The lab's page in every engine that readers have: a smoke test; e2e/test_lab.py has the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.demo import Demo
from testkit.engines import EnginePage

pytestmark = [pytest.mark.browser, pytest.mark.services]

STEP = """["proxied", "straight"].every(
    (name) => document.querySelector(`[data-who=${name}]`)?.dataset.step === "yes")"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


def test_the_lab_runs_in_every_engine(engine_page: EnginePage, demo: Demo) -> None:
    page = engine_page
    page.open(f"{demo.url}/lab")
    page.wait_until_true(STEP, 90)
    page.evaluate("void document.querySelector('[data-action=goal]').click()")
    page.wait_until_true("document.querySelector('[data-lab=wire]').textContent.includes('score')", 60)
    page.wait_until_true("document.querySelector('[data-delta]') !== null", 60)
    page.wait_until_true(STEP, 60)
    assert [error for error in page.errors() if "501" not in error] == []
