"""The engines, started once for all tests that run in each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.engines import ENGINES, Engine, EngineName, EnginePage, launch_engine


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    name: EngineName = request.param
    with launch_engine(name) as engine:
        yield engine


@pytest.fixture
def engine_page(engine: Engine) -> Iterator[EnginePage]:
    page = engine.new_page()
    yield page
    page.close()
