"""Any document, cut anywhere or with any field of another type: events, or one typed error with its line."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feeds.hostile_documents import SOURCES, damaged, read_one


@pytest.mark.parametrize("name", SOURCES)
def test_the_documents_are_good_before_they_are_damaged(name: str) -> None:
    assert [read_one(name, data) for data in SOURCES[name]] == ["events"] * len(SOURCES[name])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SOURCES)), st.randoms(use_true_random=False))
def test_a_damaged_document_gives_events_or_one_typed_error(name: str, draw: random.Random) -> None:
    assert read_one(name, damaged(draw, name)) in ("events", "error")


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SOURCES)), st.data())
def test_a_document_that_is_cut_anywhere_is_an_error(name: str, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SOURCES[name])).rstrip()
    assert read_one(name, whole[: data.draw(st.integers(0, len(whole) - 1))]) == "error"
