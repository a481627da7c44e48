"""``python -m bench.feeds``: what it counts, against files whose numbers are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.feeds import Corpus, read_corpus, table
from shared_state import fold
from tests.feeds.test_openfootball import DATA, read, row

VENDOR = DATA.parent / "vendor"


def test_the_files_of_the_tests_are_read_and_none_is_wrong() -> None:
    corpus = read_corpus([DATA, VENDOR])
    assert corpus.matches == {"openfootball": 64 * 4 + 51, "opta-f24": 1, "sportradar-v4": 1}
    assert corpus.compared == corpus.matches
    assert corpus.wrong == corpus.left_out == []
    assert [name for name, _ in corpus.refused] == ["real-amendments-leagues.json", "opta-f7.xml"]
    assert [name for name, _ in corpus.contradictory] == ["euro-2020.json"]
    shown = table(corpus, "python -m bench.feeds x", 5)
    assert "| openfootball | 6 | 307 | 307 | 307 |" in shown
    assert "| the goals make N-N at half-time, the file says N-N | 3 |" in shown


def test_every_form_of_a_result_is_compared(tmp_path: Path) -> None:
    rows = [
        row(1, score=[2, 0]),
        row(2, score1=1, score2=1, score1et=2, score2et=2, score1p=4, score2p=3),
        row(3, score={"ft": [1, 1], "p": [2, 4]}),
        row(4, score1=None, score2=None),
        row(5, team1="N.N.", team2="N.N.", time="15:00"),
        row(5, team1="N.N.", team2="N.N.", time="21:00"),
        row(6, score=[1, 0]),
        row(6, score=[1, 0]),
    ]
    (tmp_path / "cup.json").write_text(json.dumps({"name": "Cup", "matches": rows}))
    (tmp_path / "note.txt").write_text("no file of a feed")
    corpus = read_corpus([tmp_path])
    assert (corpus.matches, corpus.compared) == ({"openfootball": 7}, {"openfootball": 4})
    assert corpus.wrong == []
    assert corpus.left_out == [("cup.json", "2018-05-06 Redtown Bluetown ")]
    assert corpus.warnings.total() == 1


@pytest.mark.parametrize("shown", [{"score": [2, 1]}, {}, {"score": {"ft": [1, 1], "p": [3, 1]}}])
def test_a_match_that_shows_another_result_is_wrong(shown: dict[str, object]) -> None:
    events, _ = read({"matches": [row(1, **shown)]})
    match = fold(events[0].match_id, events)
    corpus = Corpus()
    data = json.dumps({"matches": [row(1, score=[1, 1])]}).encode()
    corpus._compare("cup.json", "openfootball", data, {match.match_id: match})
    assert [name for name, _ in corpus.wrong] == ["cup.json"]


def test_a_file_that_records_nothing_readable_ends_nothing(tmp_path: Path) -> None:
    good = row(1, score=[1, 0])
    (tmp_path / "a.json").write_text(json.dumps({"matches": [good, row(1, date=7)]}))
    (tmp_path / "b.json").write_text(json.dumps({"matches": [good]}))
    corpus = read_corpus([tmp_path])
    assert [name for name, _ in corpus.refused] == ["a.json"]
    assert corpus.matches == {"openfootball": 2}
    with pytest.raises(FileNotFoundError, match="no such directory"):
        read_corpus([tmp_path / "nowhere"])
