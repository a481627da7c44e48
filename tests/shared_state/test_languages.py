"""The catalogues: every key in every language, every plural, the same places, and no English left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_state import DeltaId, Event, Match, fold
from shared_state.catalogues.en import TEXTS
from shared_state.events import STATUSES
from shared_state.language import ENGLISH, Language, Phrase, filled
from shared_state.languages import LANGUAGES, language_of
from shared_state.plurals import CATEGORIES, plural_category
from shared_state.var_outcomes import VAR_OUTCOMES, reason_words, var_words
from shared_state.view import scoreboard, summary_row
from testkit.built_widget import run_node

KICKOFF = 1_531_666_800_000
OTHERS = [tag for tag in LANGUAGES if tag != "en"]
# Words that another language writes as English does: names of the thing itself, and forms that they share.
SHARED = {
    *{"VAR", "Penalty", "Assist", "Assist: {player}", "Live", "live", "Page {number} of {numbers}", "Pages"},
    *{"Competition", "Substitution", "Suspended", "Withdrawn", "Penalty stands", "HT", "FT", "pen", "foul"},
    *{"Script", "Ticker", "Fouls", "Possession", "Tackles", "Passes", "Corners", "oEmbed"},
    *{"{time} UTC", "Correction", "Offside", "{n} minute", "{n} minutes"},
}


def forms(text: str | Mapping[str, str]) -> Mapping[str, str]:
    return {"": text} if isinstance(text, str) else text


def places(text: str) -> list[str]:
    return sorted(set(re.findall(r"\{([^{}]*)\}", text)))


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_key_is_in_every_language_with_the_same_places(tag: str) -> None:
    texts = LANGUAGES[tag].texts
    assert sorted(set(TEXTS) - set(texts)) == []
    for key, text in TEXTS.items():
        wanted = {place for form in forms(text).values() for place in places(form)}
        for form in forms(texts[key]).values():
            assert form.strip(), key
            assert set(places(form)) == wanted, key
            assert form.count("{") == form.count("}") == len(re.findall(r"\{\w+\}", form)), key


@pytest.mark.parametrize("tag", LANGUAGES)
def test_what_is_counted_has_each_plural_of_its_language(tag: str) -> None:
    for key, text in TEXTS.items():
        own = LANGUAGES[tag].texts[key]
        assert isinstance(own, str) == isinstance(text, str), key
        if not isinstance(own, str):
            assert tuple(own) == CATEGORIES[tag], key


def test_plurals_are_those_of_the_browser() -> None:
    numbers = [*range(330), 1_000, 10_000, 999_999, 1_000_000, 1_000_001, 2_000_000, 3_500_000, 10_000_000]
    script = """
        print(Object.fromEntries(input.tags.map((tag) => {
          const rules = new Intl.PluralRules(tag);
          const categories = rules.resolvedOptions().pluralCategories;
          return [tag, { categories, of: input.numbers.map((n) => rules.select(n)) }];
        })));
    """
    known: dict[str, Any] = run_node(script, {"tags": list(LANGUAGES), "numbers": numbers})
    for tag, rules in known.items():
        assert sorted(CATEGORIES[tag]) == sorted(rules["categories"])
        assert [plural_category(tag, n) for n in numbers] == rules["of"], tag


def test_months_are_those_of_the_browser() -> None:
    script = """
        print(Object.fromEntries(input.map((tag) => {
          const day = { year: "numeric", month: "short", day: "numeric", timeZone: "UTC" };
          const parts = (n) => new Intl.DateTimeFormat(tag, day).formatToParts(Date.UTC(2018, n, 15));
          const month = (n) => parts(n).find(({ type }) => type === "month").value;
          return [tag, [...Array(12).keys()].map(month)];
        })));
    """
    known: dict[str, Any] = run_node(script, OTHERS)
    for tag, months in known.items():
        own = [LANGUAGES[tag].text(f"month.{n}").removesuffix("月") for n in range(1, 13)]
        assert own == [month.removesuffix("月") for month in months], tag


@pytest.mark.parametrize(
    ("tag", "chosen"),
    [
        ("de", "de"), ("de-AT", "de"), ("DE", "de"), ("de_CH", "de"), ("de-AT-1996", "de"), ("pt-BR", "pt"),
        ("ar-EG", "ar"), ("en_US", "en"), ("xx", "en"), ("", "en"), (None, "en"), ("deutsch", "en"),
        ("constructor", "en"), ("-", "en"), ("de" * 5_000, "en"), ("de-" * 3_400, "en"), ("\0", "en"),
    ],
)  # fmt: skip
def test_a_tag_that_is_not_here_falls_back(tag: str | None, chosen: str) -> None:
    assert language_of(tag).tag == chosen


@given(st.text())
def test_no_tag_is_fatal(tag: str) -> None:
    assert language_of(tag) in LANGUAGES.values()


@pytest.mark.parametrize("tag", LANGUAGES)
def test_what_is_filled_in_can_be_read_back(tag: str) -> None:
    """No place is lost or doubled in the grammar of a language, and no value is taken for a place."""
    language = LANGUAGES[tag]
    for key, text in language.texts.items():
        for form in forms(text).values():
            values = {place: f"⟦{n}{{{place}}}⟧" for n, place in enumerate(places(form))}
            made = filled(form, values)
            pattern = re.escape(form)
            for place in values:
                pattern = pattern.replace(re.escape(f"{{{place}}}"), f"(?P<{place}>⟦[^⟦⟧]*⟧)", 1)
            found = re.fullmatch(pattern, made)
            assert found is not None, key
            assert found.groupdict() == values, key


def test_a_key_that_a_language_lacks_is_in_english_with_english_plurals() -> None:
    bare = Language("pl", "ltr", {})
    assert bare.text("row.goal") == "Goal"
    assert bare.counted("row.stoppage.minutes", 2) == "2 minutes"
    with pytest.raises(KeyError):
        bare.text("no.such.key")


@pytest.mark.parametrize("tag", OTHERS)
def test_no_text_was_left_in_english(tag: str) -> None:
    same = {
        form
        for key, text in TEXTS.items()
        for category, form in forms(LANGUAGES[tag].texts[key]).items()
        if form == forms(text).get(category) and not key.startswith("month.")
    }
    assert {form for form in same - SHARED if re.search("[a-z]{3}", re.sub(r"\{\w+\}", "", form))} == set()


class TextNodes(HTMLParser):
    """The texts of a page, with those of the attributes that are read out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value or "" for name, value in attrs if name in ("aria-label", "title", "data-title")]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


NAMES = (
    "Frankrike",
    "Kroatia",
    "Spieler",
    "Zweiter",
    "Pokal",
    "Stadion",
    "Bemerkung",
    "Anlass",
    "KRO",
    "FRA",
)


def event(event_id: str, type_: str = "", **fields: Any) -> Event:
    given_ = {"rev": 1, "op": "ADD", "period": "H1", **fields}
    return Event(match_id="m", event_id=event_id, type=type_, **given_)


def matches() -> Iterator[Match]:
    """Matches that between them have every text of a scoreboard."""
    sides = {"home": {"name": "Frankrike", "code": "FRA"}, "away": {"name": "Kroatia", "code": "KRO"}}
    details = {"competition": "Pokal", "venue": "Stadion", "kickoff_ms": KICKOFF}
    info = event("info", "MATCH_INFO", period="PRE", detail={**sides, **details})
    common = {"team": "home", "player": "Spieler"}
    rows = [
        event("g", "GOAL", minute=18, player2="Zweiter", **common),
        event("o", "GOAL", minute=45, stoppage=2, detail={"own_goal": True}, **common),
        event("p", "GOAL", minute=60, period="H2", detail={"penalty": True}, status="PROVISIONAL", **common),
        event("m", "PENALTY_MISSED", minute=61, period="H2", **common),
        event("y", "YELLOW_CARD", minute=62, period="H2", op="AMEND", reason="Anlass", **common),
        event("z", "SECOND_YELLOW", minute=63, period="H2", op="AMEND", **common),
        event("r", "RED_CARD", minute=64, period="H2", **common),
        event("s1", "SUBSTITUTION", minute=65, period="H2", player2="Zweiter", **common),
        event("s2", "SUBSTITUTION", minute=66, period="H2", **common),
        event("s3", "SUBSTITUTION", minute=66, period="H2", team="home", player2="Zweiter"),
        event("s4", "SUBSTITUTION", minute=66, period="H2", team="home"),
        event("v1", "VAR", period="HT", detail={"state": "OPEN"}),
        event("v2", "VAR", period="HT", detail={"state": "CLOSED"}),
        event("a1", "STOPPAGE_ANNOUNCED", period="ET1", detail={"minutes": 1}),
        event("a2", "STOPPAGE_ANNOUNCED", period="ET2", detail={"minutes": 5}),
        event("n", "NOTE", period="BREAK_ET", detail={"text": "Bemerkung"}),
        event("n2", "NOTE", period="ET_HT", detail={"text": "Bemerkung"}),
        event("n3", "NOTE", period="BREAK_PENS", detail={"text": "Bemerkung"}),
        event("n4", "NOTE", period="POST", detail={"text": "Bemerkung"}),
        event("n5", "NOTE", period="PRE", detail={"text": "Bemerkung"}),
        event("k1", "SHOOTOUT_KICK", period="PENS", detail={"order": 1, "scored": True}, **common),
        event("k2", "SHOOTOUT_KICK", period="PENS", team="away", detail={"order": 2, "scored": False}),
    ]
    rows += [
        event(f"w{n}", "VAR", period="HT", detail={"state": "CLOSED", "outcome": outcome})
        for n, outcome in enumerate(VAR_OUTCOMES)
        if VAR_OUTCOMES[outcome]
    ]
    gone = [
        event(f"x{row.event_id}", row.type, period=row.period, minute=row.minute, detail=row.detail, **common)
        for row in rows[:8]
        if row.op == "ADD"
    ]
    back = [event(row.event_id, rev=2, op="RETRACT", reason="VAR: offside") for row in gone]
    override = event("ov", "SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 3}, reason="Anlass")
    for status in STATUSES:
        for period in ("PRE", "H1", "HT", "H2", "ET1", "ET_HT", "PENS", "POST"):
            change = event("st", "STATUS_CHANGE", period=period, reason="Anlass", detail={"to": status})
            yield fold("m", [info, change] if status == "LIVE" else [change])
    yield fold("m", [info, event("st", "STATUS_CHANGE", detail={"to": "LIVE"}), *rows, *gone, *back])
    yield fold("m", [info, *rows, override, event("st", "STATUS_CHANGE", detail={"to": "AWARDED"})])
    yield fold("m", [])


def letters(text: str) -> str:
    for name in NAMES:
        text = text.replace(name, "")
    return " ".join(re.findall(r"[^\W\d_]{3,}", text))


@pytest.mark.parametrize("tag", OTHERS)
def test_a_page_in_another_language_has_no_text_of_the_english_one(tag: str) -> None:
    language, at = LANGUAGES[tag], DeltaId(KICKOFF, 7)
    shared = {letters(re.sub(r"\{\w+\}", "", text)) for text in SHARED}
    for match in matches():
        plain = TextNodes(scoreboard(match, at, language=ENGLISH)).texts
        other = TextNodes(scoreboard(match, at, language=language)).texts
        assert len(plain) == len(other)
        for english, own in zip(plain, other, strict=True):
            words = letters(english)
            is_kept = not words or words in shared or words == "UTC"
            assert own != english or is_kept, f"{own!r} in {tag}"


def test_a_scoreboard_says_its_language_and_direction() -> None:
    match, at = Match(match_id="m"), DeltaId(KICKOFF, 1)
    assert ' lang="ar" dir="rtl"' in scoreboard(match, at, language=LANGUAGES["ar"])
    assert ' lang="en" dir="ltr"' in scoreboard(match, at, language=ENGLISH)
    assert " lang=" not in scoreboard(match, at)


def test_the_minute_is_written_as_each_language_does() -> None:
    stoppage = Phrase("minute.stoppage", (("minute", "45"), ("stoppage", "2")))
    written = {tag: LANGUAGES[tag].phrase(stoppage) for tag in ("en", "de", "fr", "ja", "ar")}
    assert written == {"en": "45+2'", "de": "45'+2", "fr": "45'+2", "ja": "45+2分", "ar": "45+2'"}


def test_a_list_row_is_in_no_language_and_can_be_written_in_each() -> None:
    sides = {"home": {"name": "Frankrike"}, "away": {"name": "Kroatia"}}
    info = event("info", "MATCH_INFO", period="PRE", detail={**sides, "kickoff_ms": KICKOFF})
    kick = event("k", "SHOOTOUT_KICK", period="PENS", team="home", detail={"order": 1, "scored": True})
    over = event("s", "STATUS_CHANGE", period="POST", detail={"to": "FT_PENS"})
    row = summary_row(fold("m", [info, kick, over]))
    german = LANGUAGES["de"]
    assert (row.chip, row.note) == ("FT", "1–0 pens")
    assert german.phrase(row.status) == "Ende"
    assert [german.phrase(note) for note in row.notes] == ["1–0 i. E."]
    assert row.kickoff(german) == "15. Juli 2018, 15:00 UTC"
    nameless = summary_row(fold("n", []))
    assert (nameless.side("home", german), nameless.home) == ("Heim", "Home")


@pytest.mark.parametrize(
    ("reason", "german"),
    [
        ("VAR: offside", "VAR: Abseits"),
        ("offside", "Abseits"),
        ("VAR - handball", "VAR: Handspiel"),
        ("VAR: no foul", "VAR: no foul"),
        ("Spieler war gesperrt", "Spieler war gesperrt"),
        ("VAR", "VAR"),
    ],
)
def test_the_reasons_of_referees_are_translated_and_those_of_editors_are_not(
    reason: str, german: str
) -> None:
    assert reason_words(reason, LANGUAGES["de"]) == german
    assert reason_words(reason) == reason


@pytest.mark.parametrize("tag", OTHERS)
def test_every_outcome_of_a_var_check_is_in_every_language(tag: str) -> None:
    for phrase, english in VAR_OUTCOMES.items():
        words = var_words(phrase, LANGUAGES[tag])
        assert bool(words) == bool(english)
        assert words != english or not english or english in SHARED
    assert var_words("Penalty: handball", LANGUAGES[tag]) == "Penalty: handball"
    assert var_words("No goal, offside", LANGUAGES[tag]) == LANGUAGES[tag].text("var.no_goal_offside")
    assert var_words("No goal, offside") == "No goal, offside"
