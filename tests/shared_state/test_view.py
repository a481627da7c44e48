"""What a reader sees and hears: words by table, structure by a real HTML parser, escaping by hostile text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state import DeltaId, Event, Match, apply, fold
from shared_state.events import PERIODS, STATUSES, TYPES
from shared_state.timeline import rows
from shared_state.view import announcement, json_ld, page_title, scoreboard, status_chip, summary_row
from shared_state.wording import ticking

KICKOFF = 1_531_666_800_000  # 2018-07-15 15:00 UTC
MINUTE = 60_000
AT = DeltaId(KICKOFF, 7)
VOID = {"circle", "img", "line", "path", "rect"}  # closed in the same tag, as all SVG here is


def event(event_id: str, type_: str = "", **fields: Any) -> Event:
    fields = {"rev": 1, "op": "ADD", "period": "H1", **fields}
    return Event(match_id="m", event_id=event_id, type=type_, **fields)


def info(home: str = "France", away: str = "Croatia", **detail: Any) -> Event:
    teams = {"home": {"name": home, "code": home[:16]}, "away": {"name": away, "code": away[:16]}}
    return event("info", "MATCH_INFO", period="PRE", detail={**teams, **detail})


def status(to: str, period: str = "H1", **fields: Any) -> Event:
    return event(f"s-{to}-{period}", "STATUS_CHANGE", period=period, detail={"to": to}, **fields)


def goal(event_id: str, team: str = "home", minute: int = 18, **fields: Any) -> Event:
    return event(event_id, "GOAL", team=team, minute=minute, **fields)


def retract(event_id: str, reason: str | None = None, rev: int = 2) -> Event:
    return event(event_id, rev=rev, op="RETRACT", reason=reason)


def kick(order: int, team: str, *, scored: bool) -> Event:
    return event(
        f"k{order}", "SHOOTOUT_KICK", period="PENS", team=team, detail={"order": order, "scored": scored}
    )


def match(*events: Event) -> Match:
    return fold("m", events)


class Node:
    """An element with what a test asks of it."""

    def __init__(self, tag: str, attributes: dict[str, str | None], parent: Node | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Node | str] = []

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, class_or_tag: str) -> list[Node]:
        """In the order of the document."""
        found: list[Node] = []
        for child in self.children:
            if isinstance(child, Node):
                found += [child] if class_or_tag in (child.tag, *child.classes) else []
                found += child.all(class_or_tag)
        return found

    def one(self, class_or_tag: str) -> Node:
        (found,) = self.all(class_or_tag)
        return found


class Strict(HTMLParser):
    """Refuses a tag that is closed by another, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("#root", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice in <{tag}>"
        node = Node(tag, dict(attrs), self.at)
        self.at.children.append(node)
        self.at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.at.tag == tag, f"</{tag}> closes <{self.at.tag}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(data)


def parsed(html: str) -> Node:
    parser = Strict()
    parser.feed(html)
    parser.close()
    assert parser.at is parser.root, f"<{parser.at.tag}> is not closed"
    (article,) = parser.root.children
    assert isinstance(article, Node)
    assert article.tag == "article"
    return article


def shown(*events: Event, **kwargs: Any) -> Node:
    return parsed(scoreboard(match(*events), AT, **kwargs))


def row_of(article: Node, event_id: str) -> Node:
    (row,) = [row for row in article.all("tl-row") if row.attributes["data-event"] == event_id]
    return row


def rows_in_order(article: Node) -> list[str | None]:
    return [row.attributes["data-event"] for row in article.all("tl-row")]


# --- the status chip ---


@pytest.mark.parametrize(
    ("to", "period", "chip"),
    [
        ("SCHEDULED", "PRE", "Upcoming"),
        ("DELAYED", "PRE", "Delayed"),
        ("LIVE", "H1", "1st half"),
        ("LIVE", "H2", "2nd half"),
        ("LIVE", "PRE", "Live"),
        ("LIVE", "HT", "HT"),
        ("HALF_TIME", "HT", "HT"),
        ("EXTRA_TIME", "BREAK_ET", "ET"),
        ("EXTRA_TIME", "ET1", "ET"),
        ("EXTRA_TIME", "ET_HT", "ET HT"),
        ("PENALTIES", "PENS", "Pens"),
        ("INTERRUPTED", "H2", "Interrupted"),
        ("SUSPENDED", "H2", "Suspended"),
        ("FT", "POST", "FT"),
        ("AET", "POST", "AET"),
        ("FT_PENS", "POST", "FT (pens)"),
        ("POSTPONED", "PRE", "Postponed"),
        ("CANCELLED", "PRE", "Cancelled"),
        ("ABANDONED", "H2", "Abandoned"),
        ("AWARDED", "POST", "Awarded"),
    ],
)
def test_chip_by_status(to: str, period: str, chip: str) -> None:
    assert status_chip(match(status(to, period))) == chip


@pytest.mark.parametrize(
    ("period", "minute", "stoppage", "chip"),
    [
        ("H1", 0, 0, "1'"),
        ("H1", 38, 0, "38'"),
        ("H1", 45, 0, "45'"),
        ("H1", 45, 2, "45+2'"),
        ("H1", 47, 0, "45+2'"),  # some sources count on
        ("H2", 45, 0, "46'"),  # a source that starts the half at 45
        ("H2", 90, 8, "90+8'"),
        ("ET1", 105, 1, "105+1'"),
        ("ET2", 120, 3, "120+3'"),
    ],
)
def test_chip_tells_the_furthest_minute(period: str, minute: int, stoppage: int, chip: str) -> None:
    to = "EXTRA_TIME" if period.startswith("ET") else "LIVE"
    card = event("c", "YELLOW_CARD", period=period, minute=minute, stoppage=stoppage, team="home")
    assert status_chip(match(status(to, period), card)) == chip


@pytest.mark.parametrize(
    ("now", "chip"),
    [(-5, "18'"), (0, "18'"), (17.99, "18'"), (18, "19'"), (44, "45'"), (45, "45+1'"), (400, "18'")],
)
def test_chip_lets_the_minute_run_but_not_backwards_and_not_for_ever(now: float, chip: str) -> None:
    live = match(status("LIVE", source_ts=KICKOFF, minute=0), goal("g"))
    assert status_chip(live, KICKOFF + int(now * MINUTE)) == chip
    assert status_chip(live) == "18'"


def test_the_minute_does_not_run_when_play_was_stopped_and_nobody_says_at_which_minute_it_went_on() -> None:
    stop = status("INTERRUPTED", source_ts=KICKOFF + 20 * MINUTE, minute=21)
    again = event("s2", "STATUS_CHANGE", source_ts=KICKOFF + 50 * MINUTE, detail={"to": "LIVE"})
    start = status("LIVE", source_ts=KICKOFF, minute=0)
    assert ticking(match(start, stop, again)) is None
    dated = event("s2", "STATUS_CHANGE", rev=2, minute=21, source_ts=again.source_ts, detail={"to": "LIVE"})
    assert status_chip(match(start, stop, again, dated), KICKOFF + 52 * MINUTE) == "23'"


def test_the_clock_is_a_silent_timer_with_all_that_it_takes_to_run() -> None:
    live = (status("LIVE", "H2", source_ts=KICKOFF, minute=46), goal("g", minute=60, period="H2"))
    chip = shown(*live).one("tl-chip")
    assert chip.attributes["role"] == "timer"
    given_ = {key: value for key, value in chip.attributes.items() if key.startswith("data-clock-")}
    assert given_ == {
        "data-clock-start": str(KICKOFF),
        "data-clock-base": "45",
        "data-clock-limit": "90",
        "data-clock-least": "60",
        "data-clock-most": "120",
    }
    assert (
        "role" not in shown(*live, status("HALF_TIME", "HT", source_ts=KICKOFF + 1)).one("tl-chip").attributes
    )


# --- sides and score ---


def test_a_match_of_which_nothing_is_known() -> None:
    article = shown()
    assert [name.text for name in article.all("tl-name")] == ["Home", "Away"]
    assert article.one("tl-versus").text == "v"
    assert not article.all("tl-goals")
    assert not article.all("tl-log")
    assert page_title(Match(match_id="m")) == "Home v Away"


def test_the_root_says_where_it_stands() -> None:
    article = shown(status("LIVE"), goal("g"), announcement='Goal! "A" <b>')
    assert article.attributes | {"aria-label": None} == {
        "class": "tl",
        "part": "board",
        "data-id": "1531666800000-7",
        "data-match": "m",
        "data-status": "LIVE",
        "data-period": "H1",
        "data-phase": "live",
        "data-announce": 'Goal! "A" <b>',
        "aria-label": None,
    }
    assert article.attributes["aria-label"] == "Home 1, Away 0, 18 minutes"


def test_a_shoot_out_is_shown_beside_the_score_and_never_in_it() -> None:
    kicks = [kick(1, "home", scored=True), kick(2, "away", scored=False), kick(3, "home", scored=True)]
    events = [goal("a"), goal("b", "away"), *kicks, status("FT_PENS", "POST")]
    article = shown(info(), *events)
    assert article.one("tl-goals").text == "1–1"
    assert article.one("tl-pens").text == "(2–0 pens)"
    assert [line.one("b").text for line in article.all("tl-kicks")] == ["2", "0"]
    assert [len(line.all("tl-kick")) for line in article.all("tl-kicks")] == [2, 2]
    assert status_chip(match(*events)) == "FT (2–0 pens)"
    assert page_title(match(info(), *events)) == "France 1–1 Croatia · FT (2–0 pens)"
    row = summary_row(match(*events))
    assert (row.home_score, row.away_score, row.chip, row.note) == (1, 1, "FT", "2–0 pens")


def test_a_goal_in_the_period_of_the_shoot_out_is_no_line_under_its_side() -> None:
    in_pens = goal("p", minute=120, period="PENS", player="Kicker")
    article = shown(info(), goal("a"), goal("b", "away"), in_pens, status("PENALTIES", "PENS"))
    assert article.one("tl-goals").text == "1–1"
    assert [row.tally for row in rows(match(goal("a"), goal("b", "away"), in_pens))] == [(1, 0), (1, 1), None]
    assert "Kicker" not in article.one("tl-players").text


def test_an_open_shoot_out_has_a_place_for_each_kick_to_come() -> None:
    article = shown(status("PENALTIES", "PENS"), kick(1, "home", scored=True))
    assert [len(line.all("tl-kick")) for line in article.all("tl-kicks")] == [5, 5]
    assert len(article.all("tl-kick-scored")) == 1


def test_an_official_result_is_marked_and_the_goals_are_kept() -> None:
    override = event(
        "o", "SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 3}, reason="Ineligible player"
    )
    article = shown(goal("g", player="Sissoko"), status("AWARDED", "POST"), override)
    assert article.one("tl-goals").text == "0–3"
    assert article.one("tl-pens").text == "Official"
    assert article.one("tl-explanation").text == (
        "Official result 0–3: Ineligible playerGoals on the pitch 1–0"
    )
    assert row_of(article, "g").one("tl-tally").text == "1–0"
    assert summary_row(match(override)).note == "official result"


def override(period: str = "H2", **fields: Any) -> Event:
    return event("o", "SCORE_OVERRIDE", period=period, detail={"home": 2, "away": 1}, **fields)


def says_official(*events: Event) -> bool:
    """Whether the page says so; the list has to agree with it."""
    article = shown(*events)
    on_page = "Official" in [label.text for label in article.all("tl-pens")]
    explained = any("Official result" in line.text for line in article.all("tl-explanation"))
    assert on_page == explained == ("official result" in summary_row(match(*events)).note)
    assert (article.one("tl-goals").text) == "2–1"
    return on_page


@pytest.mark.parametrize(
    ("to", "period"),
    [
        ("LIVE", "H1"), ("LIVE", "H2"), ("HALF_TIME", "HT"), ("EXTRA_TIME", "ET1"), ("PENALTIES", "PENS"),
        ("INTERRUPTED", "H2"), ("SUSPENDED", "H1"), ("DELAYED", "H2"), ("ABANDONED", "H2"),
    ],
)  # fmt: skip
def test_a_running_score_without_its_goals_is_no_official_result(to: str, period: str) -> None:
    """football-data.org's free plan has the running score alone."""
    assert not says_official(status(to, period), override(period))
    assert says_official(status(to, period), override(period, reason="Decided by the federation"))


@pytest.mark.parametrize("to", ["FT", "AET", "AWARDED"])
def test_the_score_of_a_match_that_is_over_is_its_official_result(to: str) -> None:
    assert says_official(status(to, "POST"), override("POST"))
    assert not says_official(status(to, "POST"), override("POST", status="PROVISIONAL", reason="Not yet"))


def test_goals_that_no_source_listed_are_not_said_to_be_none() -> None:
    assert shown(status("FT", "POST"), override("POST")).one("tl-explanation").text == "Official result 2–1"
    listed = shown(goal("g"), status("FT", "POST"), override("POST")).one("tl-explanation").text
    assert listed == "Official result 2–1Goals on the pitch 1–0"
    awarded = shown(status("AWARDED", "POST"), override("POST")).one("tl-explanation").text
    assert awarded == "Official result 2–1Goals on the pitch 0–0"


@given(
    to=st.sampled_from(STATUSES),
    period=st.sampled_from(PERIODS),
    reason=st.none() | st.just("Ineligible player"),
    certain=st.sampled_from(["PROVISIONAL", "CONFIRMED"]),
)
def test_only_a_decided_score_is_official(to: str, period: str, reason: str | None, certain: str) -> None:
    decided = reason is not None or period == "POST" or to in ("FT", "AET", "FT_PENS", "AWARDED")
    said = says_official(status(to, period), override(period, reason=reason, status=certain))
    assert said == (decided and certain == "CONFIRMED")


@pytest.mark.parametrize("to", ["SCHEDULED", "DELAYED", "POSTPONED", "CANCELLED"])
def test_no_score_is_shown_where_no_ball_was_kicked(to: str) -> None:
    article = shown(info(kickoff_ms=KICKOFF), status(to, "PRE"))
    assert not article.all("tl-goals")
    time = article.one("tl-kickoff").one("time")
    assert (time.attributes["datetime"], time.text) == ("2018-07-15T15:00:00Z", "15 Jul 2018, 15:00 UTC")
    assert summary_row(match(status(to, "PRE"))).home_score is None


def test_a_match_under_way_whose_news_is_delayed_keeps_its_score() -> None:
    article = shown(info(), status("LIVE", "H2"), status("DELAYED", "H2", source_ts=1))
    assert article.one("tl-goals").text == "0–0"
    assert article.one("tl-chip").text == "Delayedupdates delayed"  # for the eye, and for the ear
    assert article.attributes["data-phase"] == "paused"
    assert "updates delayed" in str(article.attributes["aria-label"])


def test_a_kick_off_that_is_no_date_is_left_out() -> None:
    far = info(kickoff_ms=2**53 - 1)
    assert not shown(far).all("time")
    assert "startDate" not in json_ld(match(far), "https://scores.example/match/m")


@pytest.mark.parametrize("to", ["DELAYED", "INTERRUPTED", "POSTPONED", "ABANDONED", "AWARDED"])
def test_an_unusual_status_says_why(to: str) -> None:
    assert shown(status(to, reason="Floodlights")).one("tl-explanation").text.endswith(": Floodlights")


def test_scorers_stand_under_the_side_that_is_credited() -> None:
    article = shown(
        goal("1", minute=12, player="Kane"),
        goal("2", minute=45, stoppage=2, player="Kane", detail={"penalty": True}),
        goal("3", "away", 50, period="H2", player="Stones", detail={"own_goal": True}),
        goal("4", "away", 60, period="H2", player="Reyna", status="PROVISIONAL"),
        goal("5", "away", 61, period="H2"),
        goal("6", "away", 62, period="H2", player="Gone"),
        retract("6"),
        event("7", "RED_CARD", period="H2", minute=70, team="home", player="Bellingham"),
    )
    home, away = article.one("tl-players").all("ul")
    assert [item.text for item in home.all("li")] == [
        "Kane 12', 45+2'\N{NO-BREAK SPACE}(pen)",
        "Red card: Bellingham 70'",
    ]
    assert [item.text for item in away.all("li")] == [
        "Stones 50'\N{NO-BREAK SPACE}(og)",
        "Reyna 60'\N{NO-BREAK SPACE}(under review)",
        "Away 61'",
    ]


# --- rows ---


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        (goal("e", player="Kane"), "Kane Goal"),
        (goal("e"), "Home Goal"),
        (goal("e", player="Kane", player2="Foden"), "Kane GoalAssist: Foden"),
        (goal("e", player="Stones", detail={"own_goal": True}), "Stones Own goal"),
        (goal("e", player="Kane", detail={"penalty": True}), "Kane Penalty"),
        (event("e", "PENALTY_MISSED", team="home", player="Kane"), "Kane Penalty missed"),
        (event("e", "YELLOW_CARD", team="away", player="Vida"), "Vida Yellow card"),
        (event("e", "YELLOW_CARD"), "Yellow card"),
        (event("e", "SECOND_YELLOW", team="away", player="Vida"), "Vida Second yellow card"),
        (event("e", "RED_CARD", team="away", player="Vida"), "Vida Red card"),
        (event("e", "SUBSTITUTION", team="home", player="On", player2="Off"), "On on for Off"),
        (event("e", "SUBSTITUTION", team="home", player="On"), "On comes on"),
        (event("e", "SUBSTITUTION", team="home", player2="Off"), "SubstitutionOff off"),
        (event("e", "VAR", detail={"state": "OPEN"}), "VAR check In progress"),
        (event("e", "VAR", detail={"state": "CLOSED"}), "VAR Check complete"),
        (event("e", "VAR", detail={"state": "CLOSED", "outcome": "No goal"}), "VAR No goal"),
        (
            event("e", "VAR", detail={"state": "CLOSED", "outcome": "Goal Disallowed - offside"}),
            "VAR No goal: offside",
        ),
        (event("e", "VAR", detail={"state": "CLOSED", "outcome": "unknown"}), "VAR Check complete"),
        (
            event("e", "VAR", detail={"state": "CLOSED", "outcome": "ball_out_of_play"}),
            "VAR Ball out of play",
        ),
        (event("e", "STOPPAGE_ANNOUNCED", detail={"minutes": 6}), "Added time 6 minutes"),
        (event("e", "STOPPAGE_ANNOUNCED", detail={"minutes": 1}), "Added time 1 minute"),
        (event("e", "NOTE", detail={"text": "Rain."}), "Rain."),
        (kick(1, "home", scored=False), "Home Missed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_row_text(given_: Event, text: str) -> None:
    assert row_of(shown(given_), given_.event_id).one("tl-what").text == text


def test_unknown_types_and_those_without_a_row_show_nothing() -> None:
    article = shown(info(), status("LIVE"), event("x", "DRONE_ON_PITCH", detail={"color": "<red>"}))
    assert not article.all("tl-row")
    assert "DRONE" not in scoreboard(match(event("x", "DRONE_ON_PITCH")), AT)


def test_what_was_taken_back_stays_struck_through_with_the_reason() -> None:
    article = shown(goal("g", player="Rebić"), retract("g", "VAR: offside"))
    row = row_of(article, "g")
    assert row.attributes["data-state"] == "retracted"
    assert row.one("s").text == "Rebić Goal"
    assert row.one("tl-mark").text == "Goal ruled out (VAR: offside)"
    assert not row.all("tl-tally")
    # A retraction that came before its event has nothing to show yet.
    assert not shown(retract("g", "VAR: offside")).all("tl-row")


def test_a_goal_under_review_is_marked_and_counts() -> None:
    article = shown(status("LIVE"), goal("g", status="PROVISIONAL"))
    assert article.one("tl-goals").text == "1–0"
    assert row_of(article, "g").one("tl-mark").text == "Under review"


def test_an_amended_row_says_so() -> None:
    article = shown(goal("a", rev=2, op="AMEND", reason="minute was 17"), goal("b", rev=2, op="AMEND"))
    assert row_of(article, "a").one("tl-mark").text == "Corrected (minute was 17)"
    assert row_of(article, "b").one("tl-mark").text == "Corrected"


def test_a_review_that_ended_is_not_called_corrected() -> None:
    closed = event("v", "VAR", rev=2, op="AMEND", detail={"state": "CLOSED", "outcome": "No goal"})
    assert not row_of(shown(closed), "v").all("tl-mark")


def test_a_correction_hours_later_does_not_move_its_row() -> None:
    events = [
        goal(f"g{late}", minute=45, stoppage=late, source_ts=KICKOFF + (45 + late) * MINUTE)
        for late in (1, 2, 3)
    ]
    touched = goal("g2", rev=2, op="AMEND", minute=45, stoppage=2, source_ts=KICKOFF + 999 * MINUTE)
    article = shown(*events, touched)
    assert rows_in_order(article) == ["g3", "g2", "g1"]
    assert [row.one("tl-tally").text for row in article.all("tl-row")] == ["3–0", "2–0", "1–0"]


def test_rows_are_newest_first_under_their_periods() -> None:
    article = shown(
        goal("a", minute=45, stoppage=2),
        goal("b", minute=45),
        goal("c", minute=46, period="H2"),
        kick(2, "away", scored=True),
        kick(1, "home", scored=True),
    )
    assert rows_in_order(article) == ["k2", "k1", "c", "a", "b"]
    assert [item.text for item in article.all("tl-period")] == [
        "Penalty shoot-out",
        "Second half",
        "First half",
    ]


def test_the_row_that_just_came_is_marked_once() -> None:
    article = shown(goal("a"), goal("b"), fresh="a")
    assert [
        row.attributes["data-event"] for row in article.all("tl-row") if "data-fresh" in row.attributes
    ] == ["a"]


def test_the_log_is_not_read_out_again_with_every_swap() -> None:
    log = shown(goal("a")).one("tl-log")
    assert (log.attributes["role"], log.attributes["aria-live"]) == ("log", "off")


# --- announcements ---

BASE = (info(), status("LIVE"), goal("g", player="Griezmann"))
AWARD = event("o", "SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 3})
FULL_TIME = event("ft", "STATUS_CHANGE", period="POST", source_ts=KICKOFF, detail={"to": "FT"})
AWARDED = event("aw", "STATUS_CHANGE", period="POST", source_ts=KICKOFF + 1, detail={"to": "AWARDED"})


@pytest.mark.parametrize(
    ("before", "given_", "said"),
    [
        (BASE, goal("h", minute=20, player="Pogba"), "Goal! France 2, Croatia 0. Pogba, 20'."),
        (
            BASE,
            goal("h", "away", 45, stoppage=2, player="Pogba", detail={"own_goal": True}),
            "Goal! France 1, Croatia 1. Pogba (own goal), 45+2'.",
        ),
        (BASE, goal("h", detail={"penalty": True}), "Goal! France 2, Croatia 0."),
        (
            BASE,
            goal("h", status="PROVISIONAL", player="Pogba"),
            "Goal, under review. France 2, Croatia 0. Pogba, 18'.",
        ),
        (
            BASE,
            retract("g", "VAR: offside"),
            "Correction: goal ruled out (VAR: offside). France 0, Croatia 0.",
        ),
        (
            (*BASE, retract("g")),
            goal("g", rev=3, player="Griezmann"),
            "Correction: the goal stands. France 1, Croatia 0. Griezmann, 18'.",
        ),
        # Credited to the other side: the score moved, but nobody scored.
        (BASE, goal("g", "away", rev=2, op="AMEND"), "Correction: the score is France 0, Croatia 1."),
        # Re-credited as an own goal, confirmed, or a minute put right: no goal alert.
        (BASE, goal("g", rev=2, op="AMEND", player="Vida", detail={"own_goal": True}), ""),
        (BASE, goal("g", rev=2, op="AMEND", minute=19), ""),
        # Born dead: its retraction had come first.
        ((*BASE, retract("h")), goal("h"), ""),
        (BASE, retract("never-seen"), ""),
        (
            BASE,
            event("r", "RED_CARD", minute=70, team="away", player="Vida"),
            "Red card, Vida, Croatia, 70'.",
        ),
        (BASE, event("r", "SECOND_YELLOW", team="away"), "Second yellow card, sent off, Croatia."),
        (BASE, event("r", "RED_CARD"), "Red card, player not named."),
        (
            (*BASE, event("r", "RED_CARD", team="away", player="Vida")),
            retract("r", "VAR: no foul"),
            "Correction: red card withdrawn (VAR: no foul), Vida, Croatia.",
        ),
        (
            (*BASE, event("r", "RED_CARD", team="away", player="Vida")),
            event("r", "YELLOW_CARD", rev=2, op="AMEND", team="away", player="Vida"),
            "Correction: no red card, Vida, Croatia.",
        ),
        (BASE, FULL_TIME, "Full time. France 1, Croatia 0."),
        ((*BASE, FULL_TIME), retract("ft"), "Correction: not full time, 18 minutes. France 1, Croatia 0."),
        (
            (*BASE, kick(1, "away", scored=True)),
            event("e", "STATUS_CHANGE", period="POST", source_ts=1, detail={"to": "FT_PENS"}),
            "Full time. France 1, Croatia 0. Shoot-out 0–1.",
        ),
        (
            (*BASE, kick(1, "away", scored=True)),
            retract("k1", "retaken"),
            "Correction: kick struck off (retaken). No shoot-out.",
        ),
        (
            BASE,
            AWARD,
            "Correction: the score is France 0, Croatia 3.",
        ),
        # Months after full time, at once, or after an abandonment: it ends the match, it corrects nothing.
        ((*BASE, FULL_TIME), AWARDED, "Result awarded. France 1, Croatia 0."),
        (BASE, AWARDED, "Result awarded. France 1, Croatia 0."),
        ((*BASE, status("ABANDONED", "H1")), AWARDED, "Result awarded. France 1, Croatia 0."),
        (
            (*BASE, FULL_TIME, AWARDED),
            retract("aw", "appeal upheld"),
            "Correction: result not awarded, full time. France 1, Croatia 0.",
        ),
        (
            (*BASE, AWARDED),
            retract("aw"),
            "Correction: result not awarded, 18 minutes. France 1, Croatia 0.",
        ),
        # An official result stands: the goal is kept, and nothing that is shown changes.
        ((*BASE, AWARD), goal("h"), ""),
        (BASE, event("y", "YELLOW_CARD", team="away", player="Vida"), ""),
        (BASE, event("n", "NOTE", detail={"text": "Rain."}), ""),
        (BASE, event("v", "VAR", detail={"state": "OPEN"}), ""),
        (BASE, event("x", "DRONE_ON_PITCH"), ""),
        (BASE, kick(1, "home", scored=True), "Scored, France. Shoot-out 1–0."),
        (BASE, BASE[-1], ""),
    ],
)
def test_announcement(before: tuple[Event, ...], given_: Event, said: str) -> None:
    was = match(*before)
    assert announcement(was, apply(was, given_), given_) == said


# --- for search engines and lists ---


@pytest.mark.parametrize(
    ("to", "event_status"),
    [
        ("SCHEDULED", "EventScheduled"),
        ("LIVE", "EventScheduled"),
        ("FT", "EventScheduled"),
        ("POSTPONED", "EventPostponed"),
        ("SUSPENDED", "EventPostponed"),
        ("CANCELLED", "EventCancelled"),
        ("ABANDONED", "EventCancelled"),
    ],
)
def test_json_ld_event_status(to: str, event_status: str) -> None:
    data = json_ld(match(status(to, "PRE")), "https://scores.example/match/m")
    assert data["eventStatus"] == f"https://schema.org/{event_status}"


def test_json_ld_of_an_award_keeps_the_end_of_play() -> None:
    """The court sat months later; the match ended when it ended. One that was never played did not end."""
    ended = FULL_TIME.source_ts
    played = json_ld(match(*BASE, FULL_TIME), "u")
    awarded = json_ld(match(*BASE, FULL_TIME, AWARDED), "u")
    assert ended == KICKOFF
    assert awarded["endDate"] == played["endDate"]
    assert "endDate" not in json_ld(match(info(), AWARDED), "u")


def test_json_ld_of_a_whole_match() -> None:
    played = match(
        info(competition="World Cup", kickoff_ms=KICKOFF, venue="Luzhniki"),
        goal("g"),
        status("FT", "POST", source_ts=KICKOFF + 114 * MINUTE),
    )
    home, away = ({"@type": "SportsTeam", "name": name} for name in ("France", "Croatia"))
    assert json_ld(played, "https://scores.example/match/m") == {
        "@context": "https://schema.org",
        "@type": "SportsEvent",
        "@id": "https://scores.example/match/m",
        "url": "https://scores.example/match/m",
        "name": "France v Croatia",
        "sport": "Association football",
        "eventStatus": "https://schema.org/EventScheduled",
        "homeTeam": home,
        "awayTeam": away,
        "competitor": [home, away],
        "description": "France 1–0 Croatia, full time",
        "startDate": "2018-07-15T15:00:00+00:00",
        "endDate": "2018-07-15T16:54:00+00:00",
        "location": {"@type": "Place", "name": "Luzhniki"},
        "superEvent": {"@type": "SportsEvent", "name": "World Cup"},
    }


def test_a_list_of_summaries_sorts_live_first_and_results_latest_first() -> None:
    def at(match_id: str, to: str, kickoff_ms: int) -> Match:
        teams = {"home": {"name": "A"}, "away": {"name": "B"}}
        change = {"event_id": "s", "type": "STATUS_CHANGE", "period": "H1", "detail": {"to": to}}
        told = {
            "event_id": "i",
            "type": "MATCH_INFO",
            "period": "PRE",
            "detail": {**teams, "kickoff_ms": kickoff_ms},
        }
        both = [{"match_id": match_id, "rev": 1, "op": "ADD", **body} for body in (change, told)]
        return fold(match_id, [Event.from_json(body) for body in both])

    given_ = [
        at("old", "FT", 1),
        at("new", "FT", 2),
        at("soon", "SCHEDULED", 3),
        at("later", "SCHEDULED", 4),
        at("half", "HALF_TIME", 5),
        at("live", "LIVE", 6),
        at("off", "POSTPONED", 7),
    ]
    order = [row.match_id for row in sorted(map(summary_row, given_), key=lambda row: row.rank)]
    assert order == ["live", "half", "soon", "later", "new", "old", "off"]


# --- whatever comes ---

# Whole pieces of mark-up: single characters hardly ever make a tag.
pieces = st.sampled_from(
    ["<b>", "</p>", "<script>", "<!--", "&lt;", "&", "<", ">", '"', "'", "` x=1", "\u202e", "é", "A"]
)
names = st.lists(pieces, min_size=1, max_size=8).map("".join)


def details(text: str) -> dict[str, dict[str, Any]]:
    """A detail for each type that must have one."""
    return {
        "SHOOTOUT_KICK": {"order": 1, "scored": True},
        "VAR": {"state": "OPEN", "outcome": text},
        "STOPPAGE_ANNOUNCED": {"minutes": 3},
        "SCORE_OVERRIDE": {"home": 1, "away": 2},
        "NOTE": {"text": text},
        "STATUS_CHANGE": {"to": "LIVE"},
        "LINE_UP": {
            "formation": text[:16],
            "starting": [{"name": text, "number": 7, "captain": True}],
            "bench": [{"name": text}],
            "coach": text,
        },
        "STAT": {"key": "shots", "home": 3, "away": 0},
    }


@given(name=names, reason=names)
def test_text_from_a_feed_comes_out_as_text(name: str, reason: str) -> None:
    events = [info(name, name, competition=name, venue=name), status("ABANDONED", reason=reason)]
    for type_ in TYPES:
        if type_ not in ("MATCH_INFO", "STATUS_CHANGE"):
            fields: dict[str, Any] = {"team": "home", "player": name, "player2": name}
            fields["detail"] = details(name).get(type_, {})
            events.append(event(f"{name} {type_}", type_, **fields, op="AMEND", reason=reason))
    events += [goal("gone", player=name), retract("gone", reason)]
    article = shown(*events, announcement=name)

    assert article.attributes["data-announce"] == name
    assert (article.attributes["aria-label"] or "").startswith(f"{name} 1, {name} 2")
    assert article.one("tl-competition").text == article.one("tl-place").text == name
    assert [node.text for node in article.all("tl-name")] == [name, name]
    assert [node.text for node in article.all("tl-code")] == [name[:16]] * 2
    assert {node.text for node in article.all("tl-side")} == {name[:16]}
    assert article.one("tl-kick-scored").text == f"{name} scored"
    scorer, sent_off = (item.text for item in article.one("tl-players").all("li"))
    assert (scorer, sent_off) == (f"{name} ", f"Red card: {name} ")
    assert article.one("tl-explanation").all("p")[0].text == f"Abandoned: {reason}"
    assert row_of(article, "gone").one("tl-mark").text == f"Goal ruled out ({reason})"
    texts = {row.attributes["data-event"]: row.one("tl-what").text for row in article.all("tl-row")}
    for type_, text in {
        "GOAL": f"{name} GoalAssist: {name}",
        "SUBSTITUTION": f"{name} on for {name}",
        "VAR": f"VAR check In progress{name}",
        "NOTE": name,
    }.items():
        assert texts[f"{name} {type_}"] == f"{text}Corrected ({reason})"


@given(
    to=st.sampled_from(STATUSES),
    period=st.sampled_from(PERIODS),
    minute=st.none() | st.integers(0, 999),
    source_ts=st.none() | st.integers(0, 2**53 - 1),
    now_ms=st.none() | st.integers(0, 2**53 - 1),
    types=st.lists(st.sampled_from([name for name in TYPES if name != "MATCH_INFO"]), max_size=6),
)
def test_every_match_makes_well_formed_html_and_the_same_again(
    to: str, period: str, minute: int | None, source_ts: int | None, now_ms: int | None, types: list[str]
) -> None:
    events = [status(to, period, minute=minute, source_ts=source_ts)]
    for number, type_ in enumerate(types):
        detail = details("x").get(type_, {})
        events.append(event(f"e{number}", type_, team="away", minute=minute, period=period, detail=detail))
    made = match(*events)
    html = scoreboard(made, AT, now_ms=now_ms)
    assert html == scoreboard(match(*reversed(events)), AT, now_ms=now_ms)
    article = parsed(html)
    assert status_chip(made, now_ms) in article.one("tl-chip").text
    assert page_title(made)
    assert summary_row(made, now_ms).phase == article.attributes["data-phase"]


# --- A vendor that fell silent --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "until_min"),
    [
        ([status("LIVE", "H1", source_ts=KICKOFF)], 75),
        (
            [status("LIVE", "H1", source_ts=KICKOFF), goal("g", minute=12, source_ts=KICKOFF + 12 * MINUTE)],
            75,
        ),
        ([status("HALF_TIME", "HT", source_ts=KICKOFF + 47 * MINUTE)], 47 + 45),
        ([status("PENALTIES", "PENS", source_ts=KICKOFF + 150 * MINUTE)], 150 + 60),
        ([info(kickoff_ms=KICKOFF), status("LIVE", "H2")], 105 + 75),
    ],
)
def test_a_running_match_without_news_is_called_delayed(events: list[Event], until_min: int) -> None:
    made = match(*events)
    until = KICKOFF + until_min * MINUTE
    for now_ms, hidden in ((None, True), (until - 1, True), (until, False), (until + 360 * MINUTE, False)):
        article = parsed(scoreboard(made, AT, now_ms=now_ms))
        words = article.one("tl-delayed")
        assert words.text == "Updates delayed. The match may have moved on."
        assert ("hidden" in words.attributes) is hidden
        assert words.attributes["data-tl-until"] == str(until)
        assert ("updates delayed" in summary_row(made, now_ms).note) is not hidden


@pytest.mark.parametrize("to", ["SCHEDULED", "FT", "AET", "FT_PENS", "POSTPONED", "INTERRUPTED", "DELAYED"])
def test_a_match_that_does_not_run_is_not_called_delayed(to: str) -> None:
    made = match(info(kickoff_ms=KICKOFF), status(to, source_ts=KICKOFF))
    assert "tl-delayed" not in scoreboard(made, AT, now_ms=KICKOFF + 9_999 * MINUTE)


def test_a_kick_off_in_the_past_is_not_called_upcoming() -> None:
    made = match(info(kickoff_ms=KICKOFF))
    until = KICKOFF + 15 * MINUTE
    for now_ms, hidden in ((None, True), (until - 1, True), (until, False)):
        words = parsed(scoreboard(made, AT, now_ms=now_ms)).one("tl-awaited")
        assert ("hidden" in words.attributes) is hidden
        assert words.attributes["data-tl-until"] == str(until)
    assert "tl-awaited" not in scoreboard(match(info(kickoff_ms=KICKOFF), status("LIVE")), AT)
