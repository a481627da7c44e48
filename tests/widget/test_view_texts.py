"""The English texts in the image of tier 2."""

from __future__ import annotations

import ast

import pytest

from shared_state.catalogues.en import TEXTS
from widget.build.bundle import BRIDGE_CALL, image_sources, library_sources
from widget.build.micropython import TextsError, lowered_program, view_texts
from widget.build.micropython.texts import SERVER_TEXTS


def literals(program: str) -> set[str]:
    nodes = ast.walk(ast.parse(program))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_the_image_has_the_views_texts_and_asks_for_no_other() -> None:
    found = literals(lowered_program(image_sources(), library_sources(), BRIDGE_CALL))
    assert {key for key in TEXTS if not key.startswith(SERVER_TEXTS)} <= found
    # Neither as a key nor as the beginning of one.
    assert not [text for text in found if text.startswith(SERVER_TEXTS)]


@pytest.mark.parametrize("source", ["TEXTS = dict(a='b')", "TEXTS = {NAME: 'b'}", "TEXTS = {**OTHERS}"])
def test_a_catalogue_that_is_not_written_out_is_refused(source: str) -> None:
    with pytest.raises(TextsError):
        view_texts(source)
