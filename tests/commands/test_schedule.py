"""``touchline schedule``: a list of fixtures as values of the chart."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from origin.capacity.schedule import Kickoff, cron, windows
from origin.cli import main

FROM = datetime(2026, 7, 1, tzinfo=UTC)
HEAD = "kickoff,viewers,match\n"


def run(tmp_path: Path, text: str, *options: str) -> Result:
    file = tmp_path / "fixtures"
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(main, ["schedule", str(file), "--from", FROM.isoformat(), *options])


def schedule_of(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = yaml.safe_load(result.output)["stream"]["autoscaling"]["schedule"]
    return found


def test_a_match_has_its_pods_before_it_begins(tmp_path: Path) -> None:
    made = run(tmp_path, HEAD + "2026-07-19T21:00:00+02:00,1250000,final\n")
    assert schedule_of(made) == [{"start": "15 18 19 7 *", "end": "45 21 19 7 *", "replicas": 139}]
    assert "# final" in made.output


def test_matches_that_overlap_are_added_up_and_windows_do_not_overlap(tmp_path: Path) -> None:
    """KEDA takes the largest of its triggers; two matches of 100,000 need pods for 200,000."""
    text = HEAD + "2026-07-04T15:00:00Z,100000,a\n2026-07-04T16:00:00Z,100000,b\n"
    made = run(tmp_path, text, "--before", "30", "--after", "120", "--viewers-per-pod", "10000")
    assert schedule_of(made) == [
        {"start": "30 14 4 7 *", "end": "30 15 4 7 *", "replicas": 10},
        {"start": "30 15 4 7 *", "end": "0 17 4 7 *", "replicas": 20},
        {"start": "0 17 4 7 *", "end": "0 18 4 7 *", "replicas": 10},
    ]


def test_the_example_of_the_documents_is_one(tmp_path: Path) -> None:
    document = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
    example = re.search(r"^```csv\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    command = re.search(r"^\$ touchline schedule fixtures\.csv (.*)$", document, re.MULTILINE)
    assert example is not None
    assert command is not None
    made = run(tmp_path, example[1], *command[1].split(), "--days", "31")
    assert [one["replicas"] for one in schedule_of(made)] == [17, 139]


def test_a_match_without_a_number_has_the_default(tmp_path: Path) -> None:
    made = run(tmp_path, HEAD + "2026-07-04T15:00:00Z,,a\n", "--viewers", "45000")
    assert [one["replicas"] for one in schedule_of(made)] == [5]


def test_what_is_over_and_what_is_far_away_is_left_out(tmp_path: Path) -> None:
    """A cron expression has no year: a match of last summer would be one of this summer."""
    made = run(tmp_path, HEAD + "2025-07-04T15:00:00Z,9,a\n2026-09-04T15:00:00Z,9,b\n")
    assert schedule_of(made) == []
    assert "2 matches, none in these 31 days" in made.output


def test_canonical_events_have_their_kickoffs(tmp_path: Path) -> None:
    """As ``touchline convert`` writes a fixture; the last time counts, since matches are moved."""
    text = "".join(
        json.dumps(
            {
                "match_id": "m1",
                "event_id": "info",
                "rev": rev,
                "op": op,
                "type": "MATCH_INFO",
                "period": "PRE",
                "minute": None,
                "stoppage": 0,
                "team": None,
                "player": None,
                "player2": None,
                "status": "CONFIRMED",
                "reason": None,
                "source_ts": None,
                "source": "test",
                "detail": {"home": {"name": "A"}, "away": {"name": "B"}, "kickoff_ms": at_ms},
            }
        )
        + "\n"
        for rev, op, at_ms in ((1, "ADD", 1783177200000), (2, "AMEND", 1783180800000))
    )
    made = run(tmp_path, text, "--viewers", "9000", "--before", "0", "--after", "60")
    assert schedule_of(made) == [{"start": "0 16 4 7 *", "end": "0 17 4 7 *", "replicas": 1}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("when,viewers,match\n", "'when'"),
        (HEAD + "tomorrow,1,a\n", "line 2: kickoff 'tomorrow'"),
        (HEAD + "2026-07-04T15:00:00,1,a\n", "line 2: kickoff '2026-07-04T15:00:00': has no time zone"),
        (HEAD + "2026-07-04T15:00:00Z,many,a\n", "line 2: viewers 'many'"),
        (HEAD + "2026-07-04T15:00:00Z,-5,a\n", "line 2: viewers '-5'"),
        (HEAD + "2026-07-04T15:00:00Z,1\n", "line 2: 3 columns"),
        (HEAD + "2026-07-04T15:00:00Z,1,a,b\n", "line 2: 3 columns"),
        (HEAD + "2026-07-04T15:00:00Z,9000000,a\n", "1000 pods for a, more than --pods-max 160"),
        ("{not json\n", ":1: not JSON"),
    ],
)
def test_a_list_that_cannot_be_read_names_its_line_and_prints_no_schedule(
    text: str, says: str, tmp_path: Path
) -> None:
    made = run(tmp_path, text)
    assert made.exit_code == 1
    assert says in made.output
    assert "schedule:" not in made.output


def test_a_name_cannot_leave_its_comment(tmp_path: Path) -> None:
    made = run(tmp_path, HEAD + '2026-07-04T15:00:00Z,1,"a\n      - {start: x}"\n')
    assert len(schedule_of(made)) == 1


kickoffs = st.lists(
    st.builds(
        Kickoff,
        st.integers(0, 40 * 24 * 60 * 60).map(lambda second: FROM + timedelta(seconds=second)),
        st.integers(0, 10_000_000),
        st.just("a"),
    ),
    max_size=12,
)


@given(kickoffs, st.integers(1, 20_000), st.integers(0, 200), st.integers(1, 200))
def test_at_each_moment_there_is_room_for_all_who_are_expected(
    matches: list[Kickoff], per_pod: int, before: int, after: int
) -> None:
    end = FROM + timedelta(days=31)
    early, late = timedelta(minutes=before), timedelta(minutes=after)
    made = windows(matches, viewers_per_pod=per_pod, before=early, after=late, begin=FROM, end=end)
    assert all(one.begin < one.end for one in made)
    assert all(one.end <= two.begin for one, two in pairwise(made))
    for match in matches:
        for moment in (match.at - early, match.at, match.at + late - timedelta(seconds=1)):
            if FROM <= moment < end:
                running = [one for one in matches if one.at - early <= moment < one.at + late]
                pods = next(one.pods for one in made if one.begin <= moment < one.end)
                assert pods * per_pod >= sum(one.viewers for one in running)


def test_a_cron_expression_is_of_utc() -> None:
    zone = datetime.fromisoformat("2026-12-31T23:30:00-05:00")
    assert cron(zone) == "30 4 1 1 *"


def test_numbers_that_cannot_be_are_named() -> None:
    match = [Kickoff(FROM, 1, "a")]
    for days, per_pod, says in ((301, 1, "300 days"), (0, 1, "0:00:00 ahead"), (1, 0, "0 viewers per pod")):
        with pytest.raises(ValueError, match=says):
            windows(
                match,
                viewers_per_pod=per_pod,
                before=timedelta(0),
                after=timedelta(1),
                begin=FROM,
                end=FROM + timedelta(days=days),
            )
