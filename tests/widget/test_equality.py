"""The same corpus on every runtime; tests.widget.equality, run by itself, takes a larger one."""

from __future__ import annotations

import json

import pytest

from shared_state.jsontext import parse
from testkit.built_widget import manifest
from tests.widget.corpus import HOSTILE, corpus, replies
from tests.widget.equality import RUNTIMES, Corpus, run, summary

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.fixture(scope="module")
def walks() -> Corpus:
    manifest()
    return corpus(1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_reply_is_that_of_cpython(runtime: str, walks: Corpus) -> None:
    result = run(runtime, walks)
    print(summary(runtime, result))
    assert result.keys() == walks.keys()
    for part, found in result.items():
        assert found["first"] is None, json.dumps(found["first"], ensure_ascii=False)
        assert found["replies"] == sum(len(walk) for walk in walks[part]) > 50
        # A value that is shown may hold a character that one Unicode knows and the other does not.
        assert (
            found["worded"] <= found["replies"] / 20
            if part in ("mutated", "hostile")
            else not found["worded"]
        )


def test_the_corpus_is_the_same_each_time() -> None:
    assert corpus(1) == corpus(1)


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.count("[") + text.count("{") >= 1_000])
def test_what_is_nested_beyond_a_stack_is_refused_before_it_is_read(text: str) -> None:
    if '"' + "[" * 1_000 in text:  # inside of a text, brackets nest nothing
        assert parse(text)["k"]["x"] == "[" * 1_000
    else:
        with pytest.raises(ValueError, match="nested too deep"):
            parse(text)


def test_a_reply_that_differs_is_found() -> None:
    request = '{"slot":"m","match":"m","op":"receive","deltas":[]}'
    wrong = [(request, replies([request])[0][1].replace("need_snapshot", "applied"))]
    found = run("micropython-node", {"part": [wrong]})["part"]
    assert (found["replies"], found["equal"], found["worded"]) == (1, 0, 0)
    assert found["first"]["request"] == request
