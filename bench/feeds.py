"""A corpus through the feed readers: how much is read, refused, and wrong by the files' own results.

    python -m bench.feeds DIR ... [--list N]

Every file below the directories (``.json``, ``.jsonl``, ``.xml``) goes through the reader of its format,
and each match is folded. What the file itself records as a result is read here once more, by code that
shares nothing with the readers, and compared: a match whose fold differs is *wrong*. Where a file's goals do
not make its own result, the match counts as *contradictory*: of a record of results the result is shown, of a
live feed the goals are. Files that are none of the formats are refused; the reason is listed. Writes
bench/results/feeds.json and feeds.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import xml.etree.ElementTree as ET  # the corpus is the caller's own; the readers use defusedxml
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bench.results import RESULTS, keep
from origin.errors import FeedError
from origin.feeds import DOCUMENT_MAX_BYTES, open_converter
from origin.feeds.document_kind import kind_of_bytes
from shared_state import Event, Match, fold
from shared_state.jsontext import JsonObject

__all__ = ["Corpus", "main", "read_corpus", "table"]

SUFFIXES: Final = frozenset({".json", ".jsonl", ".xml"})
NOT_SHOWN: Final = ("canonical",)  # has no vendor's result beside its events
# Of which kind each format's documents are, in the words of ``kind_of_bytes``.
_FORMATS: Final = (("Opta", "opta-f24"), ("Sportradar", "sportradar-v4"), ("canonical", "canonical"))
_FULL_TIME: Final = ("FT", "AET", "FT_PENS", "AWARDED")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a file says of one match.

    Attributes:
        key: the match within the file: its date and teams, or the vendor's number.
        result: after extra time, without the shoot-out; None where none is recorded.
        pens: the shoot-out's result, likewise.
        goals: of the rows of a live feed, counted here; None for a record of results.
    """

    key: tuple[str, ...]
    result: tuple[int, int] | None
    pens: tuple[int, int] | None
    goals: tuple[int, int] | None = None


@dataclass(slots=True)
class Corpus:
    """What came of all files so far."""

    files: Counter[str] = field(default_factory=Counter)  #: by format
    refused: list[tuple[str, str]] = field(default_factory=list)  #: files with the reason
    matches: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    contradictory: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    warned_in: dict[str, str] = field(default_factory=dict)  #: an example of each kind

    def read(self, path: Path, name: str) -> None:
        """Read one file; nothing in it ends the run."""
        data = path.read_bytes()
        format_ = _format_of(data, path)
        self.files[format_] += 1
        events: dict[str, list[Event]] = {}

        def warn(doubt: FeedError) -> None:
            kind = _kind_of_warning(str(doubt))
            self.warnings[kind] += 1
            self.warned_in.setdefault(kind, f"{name}:{doubt.evidence.get('line', 0)}: {doubt}")

        try:
            with path.open("rb") as source:
                for event in open_converter(format_)(source, warn):
                    events.setdefault(event.match_id, []).append(event)
        except FeedError as error:
            line = error.evidence.get("line", 0)
            self.refused.append((name, f"line {line}: {error.where and error.where + ': '}{error}"))
        folded = {match_id: fold(match_id, told) for match_id, told in events.items()}
        self.matches[format_] += len(folded)
        self.finished[format_] += sum(match.status in _FULL_TIME for match in folded.values())
        if folded and format_ not in NOT_SHOWN:
            self._compare(name, format_, data, folded)

    def _compare(self, name: str, format_: str, data: bytes, folded: dict[str, Match]) -> None:
        by_key = {_key_of(match, format_): match for match in folded.values()}
        recorded: dict[tuple[str, ...], Recorded] = {}
        try:
            records = list(_RECORDED[format_](data))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.left_out.append(
                (name, f"records no result that can be read: {type(error).__name__} {error}")
            )
            return
        for record in records:
            earlier = recorded.get(record.key)
            if earlier is not None:  # entered twice: one of them is read
                self.left_out.append((name, " ".join(record.key)))
            if earlier is None or earlier.result is None:
                recorded[record.key] = record
        for key, record in recorded.items():
            match = by_key.get(key)
            if match is None:
                self.left_out.append((name, " ".join(key)))
                continue
            if record.result is None and record.pens is None:
                continue
            self.compared[format_] += 1
            if record.goals is not None and record.goals != (0, 0) and record.goals != record.result:
                what = f"{match.match_id}: goals {record.goals}, result {record.result}"
                self.contradictory.append((name, what))
                record = replace(record, result=record.goals)
            shown = (tuple(match.score), None if match.shootout is None else tuple(match.shootout))
            wanted = (record.result or tuple(match.score), record.pens)
            is_open = record.goals is None and record.result is not None and match.status not in _FULL_TIME
            if shown != wanted or is_open:
                what = f"{match.match_id}: shows {shown} {match.status}, records {wanted}"
                self.wrong.append((name, what))
            elif record.goals is None and tuple(match.goals) not in (wanted[0], (0, 0)):
                self.contradictory.append(
                    (name, f"{match.match_id}: goals {tuple(match.goals)}, result {wanted[0]}")
                )


def read_corpus(directories: Sequence[Path]) -> Corpus:
    """Read every file of the known suffixes below the directories.

    Raises:
        FileNotFoundError: a directory is not there.
    """
    corpus = Corpus()
    for directory in directories:
        if not directory.is_dir():
            raise FileNotFoundError(f"{directory}: no such directory")
        for path in sorted(directory.rglob("*")):
            if path.suffix in SUFFIXES and path.is_file() and path.stat().st_size <= DOCUMENT_MAX_BYTES:
                corpus.read(path, str(path.relative_to(directory)))
    return corpus


def _format_of(data: bytes, path: Path) -> str:
    kind = kind_of_bytes(data) or ""
    for word, name in _FORMATS:
        if word in kind:
            return name
    return "opta-f24" if path.suffix == ".xml" else "openfootball"


def _kind_of_warning(text: str) -> str:
    """A warning without what is particular to its match."""
    text = re.sub(r"'[^']*'|match \S+:|[a-z]+\[[^ ,]*", "…", text)
    return re.sub(r"\d+", "N", text)


def _key_of(match: Match, format_: str) -> tuple[str, ...]:
    if format_ != "openfootball" or match.info is None:
        return (match.match_id.partition("-")[2],)
    detail = match.info.detail
    time = match.match_id[10:].rpartition("-")[2] if detail["home"]["name"] == detail["away"]["name"] else ""
    return (match.match_id[:10], detail["home"]["name"], detail["away"]["name"], time)


# --- What the files record, read without the readers ---------------------------------------------


def _recorded_openfootball(data: bytes) -> Iterator[Recorded]:
    document = json.loads(data.decode("utf-8-sig"))
    rows = document.get("matches") or [row for part in document["rounds"] for row in part["matches"]]
    for row in rows:
        home, away = (_name(row.get(a) or row.get(b)) for a, b in (("team1", "home"), ("team2", "away")))
        if home is None or away is None:
            continue
        key = (_date(row["date"]), home, away, "" if home != away else _digits(row))
        yield Recorded(key, *_recorded_scores(row))


def _recorded_scores(row: dict[str, Any]) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    score = row.get("score")
    if isinstance(score, list):
        return _pair(score), _pair(row.get("pens"))
    if isinstance(score, dict):
        return _pair(score.get("et")) or _pair(score.get("ft")), _pair(score.get("p"))
    extra, plain, pens = (
        _pair([row.get(f"score1{key}"), row.get(f"score2{key}")]) for key in ("et", "", "p")
    )
    return extra or plain, pens


def _pair(counts: Any) -> tuple[int, int] | None:
    if not isinstance(counts, list) or len(counts) != 2 or not all(isinstance(n, int) for n in counts):
        return None
    return (counts[0], counts[1])


def _name(team: Any) -> str | None:
    name = team.get("name") if isinstance(team, dict) else team
    return name.strip() if isinstance(name, str) else None


_MONTHS: Final = {datetime.date(2000, month, 1).strftime("%b").lower(): month for month in range(1, 13)}


def _date(text: str) -> str:
    """``2018-06-14`` of the two forms that openfootball has."""
    found = re.fullmatch(r"(\d{4}) ([A-Za-z]{3})[a-z]* (\d{1,2})", text)
    if found is None:
        return text
    return f"{found[1]}-{_MONTHS[found[2].lower()]:02}-{int(found[3]):02}"


def _digits(row: dict[str, Any]) -> str:
    said = str(row["num"]) if isinstance(row.get("num"), int) else str(row.get("time") or "")
    return "".join(re.findall(r"\d+", said)[:2])


def _recorded_sportradar(data: bytes) -> Iterator[Recorded]:
    document = json.loads(data.decode("utf-8-sig"))
    status = document.get("sport_event_status", {})
    if status.get("status") not in ("ended", "closed"):
        return
    periods = [part for part in status.get("period_scores", []) if part.get("type") == "penalties"]
    pens = [(part["home_score"], part["away_score"]) for part in periods]
    result = _pair([status.get("home_score"), status.get("away_score")])
    number = str(document["sport_event"]["id"]).rpartition(":")[2]
    sides = [
        row["competitor"]
        for row in document.get("timeline", [])
        if row.get("type") == "score_change" and row.get("period_type") != "penalties"
    ]
    goals = None if status.get("decided_by_fed") else (sides.count("home"), sides.count("away"))
    yield Recorded((number,), result, pens[0] if pens else None, goals)


def _recorded_opta(data: bytes) -> Iterator[Recorded]:
    for game in ET.fromstring(data).iter("Game"):
        score = (game.get("home_score"), game.get("away_score"))
        result = (int(score[0]), int(score[1])) if score[0] and score[1] else None
        goals = {game.get("home_team_id"): 0, game.get("away_team_id"): 0}
        home, away = goals
        for row in game.iter("Event"):
            if row.get("type_id") == "16" and row.get("period_id") != "5":
                is_own = any(q.get("qualifier_id") == "28" for q in row.iter("Q"))
                scorer = row.get("team_id")
                goals[(away if scorer == home else home) if is_own else scorer] += 1
        yield Recorded(
            (game.get("id", ""),), result or (goals[home], goals[away]), None, (goals[home], goals[away])
        )


_RECORDED: Final = {
    "openfootball": _recorded_openfootball,
    "sportradar-v4": _recorded_sportradar,
    "opta-f24": _recorded_opta,
}


# --- The table -----------------------------------------------------------------------------------


def table(corpus: Corpus, command: str, shown: int) -> str:
    """The result as Markdown.

    Args:
        corpus: what was read.
        command: what made it.
        shown: how many of each list are shown.
    """
    lines = ["## A corpus through the feed readers", "", f"`{command}`", ""]
    lines += ["| format | files | matches | finished | compared |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {name} | {count} | {corpus.matches[name]} | {corpus.finished[name]} | {corpus.compared[name]} |"
        for name, count in sorted(corpus.files.items())
    ]
    lists = {
        "wrong by the file's own result": corpus.wrong,
        "files refused": corpus.refused,
        "matches whose file contradicts itself": corpus.contradictory,
        "rows left out": corpus.left_out,
    }
    lines += ["", "| | |", "|---|--:|"]
    lines += [f"| {title} | {len(found)} |" for title, found in lists.items()]
    lines += [f"| warnings | {corpus.warnings.total()} |"]
    for title, found in lists.items():
        if found:
            lines += ["", f"### {title[0].upper()}{title[1:]}", ""]
            lines += [f"- `{name}`: {what}" for name, what in found[:shown]]
            lines += [f"- and {len(found) - shown} more"] if len(found) > shown else []
    if corpus.warnings:
        lines += ["", "### Warnings by kind", "", "| kind | count | for example |", "|---|--:|---|"]
        lines += [
            f"| {kind} | {count} | {corpus.warned_in[kind]} |"
            for kind, count in corpus.warnings.most_common()
        ]
    return "\n".join(lines) + "\n"


def _measured(corpus: Corpus) -> JsonObject:
    return {
        "formats": {
            name: {
                "files": count,
                "matches": corpus.matches[name],
                "finished": corpus.finished[name],
                "compared": corpus.compared[name],
            }
            for name, count in sorted(corpus.files.items())
        },
        "wrong": [list(item) for item in corpus.wrong],
        "refused": [list(item) for item in corpus.refused],
        "contradictory": [list(item) for item in corpus.contradictory],
        "left_out": [list(item) for item in corpus.left_out],
        "warnings": dict(corpus.warnings.most_common()),
    }


def main() -> int:
    """Read a corpus and keep the table; 1 where a match is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", metavar="DIR", nargs="+", type=Path)
    parser.add_argument("--list", metavar="N", type=int, default=20, help="how many of each list are shown")
    given = parser.parse_args()
    try:
        corpus = read_corpus(given.directories)
    except OSError as error:
        parser.error(str(error))
    text = table(corpus, " ".join(["python -m bench.feeds", *sys.argv[1:]]), given.list)
    keep("feeds", _measured(corpus))
    (RESULTS / "feeds.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 1 if corpus.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
