"""Browsers and an origin, each started once for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from testkit.browser import launch
from testkit.engines import ENGINES, Engine, EngineName, EnginePage, launch_engine
from testkit.services.origin import OriginServer


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin")) as server:
        yield server


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
