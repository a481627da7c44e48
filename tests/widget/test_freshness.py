"""Clocks and freshness of the loader, run as they are under Node: what is live, and how old it is."""

from __future__ import annotations

import pytest

from testkit.built_widget import run_node

# Both clocks in the test's hands.
CLOCKS = """
    let wall = 1_800_000_000_000, steady = 0;
    Date.now = () => wall;
    performance.now = () => steady;
    const pass = (ms) => { wall += ms; steady += ms; };
    const { ServerClock, elapsedMs, mark } = await import("./clock.js");
    const { learnAnswer } = await import("./answered-clock.js");
    const { Freshness } = await import("./freshness.js");
    const { IN_ENGLISH } = await import("./words.js");
    const clock = new ServerClock();
    const fresh = new Freshness(clock, 0);
"""


def test_a_page_that_was_loaded_is_no_contact() -> None:
    script = CLOCKS + "fresh.begin(wall); fresh.show('1-1'); print([fresh.isFresh, fresh.ageMs]);"
    assert run_node(script) == [False, 0]


def test_the_age_of_a_page_out_of_a_cache_counts_from_when_it_was_made() -> None:
    script = CLOCKS + "fresh.begin(wall - 130_000); pass(1_000); print(Math.round(fresh.ageMs));"
    assert run_node(script) == 131_000


def test_a_heartbeat_counts_only_for_the_id_that_is_shown() -> None:
    script = (
        CLOCKS
        + """
        const seen = [];
        clock.learn(wall);
        fresh.hear("1-5", wall, "1-5");
        seen.push(fresh.isFresh);
        fresh.hear("1-6", wall, "1-5");
        pass(4_000);
        seen.push(fresh.isFresh);
        pass(2_000);
        seen.push(fresh.isFresh, fresh.isOverdue);
        fresh.show("1-6");
        seen.push(fresh.isFresh, fresh.isOverdue);
        fresh.hear("2-1", wall, "1-6");  // the log was rebuilt: lower in number, and still what counts
        pass(6_000);
        seen.push(fresh.isFresh);
        print(seen);
    """
    )
    assert run_node(script) == [True, True, False, True, True, False, False]


def test_neither_an_older_id_nor_two_heartbeats_of_silence_are_live() -> None:
    script = (
        CLOCKS
        + """
        const seen = [];
        clock.learn(wall);
        fresh.hear("1-4", wall, "1-5");
        seen.push(fresh.contacted);
        fresh.hear("1-5", wall, "1-5");
        pass(30_000);
        fresh.hear("1-4", wall, "1-5");
        seen.push(fresh.isFresh);
        pass(3_000);
        seen.push(fresh.isFresh);
        print(seen);
    """
    )
    assert run_node(script) == [False, True, False]


def test_two_heartbeats_later_it_is_not_fresh_and_sleep_counts() -> None:
    script = (
        CLOCKS
        + """
        const seen = [];
        clock.learn(wall);
        fresh.hear("1-5", wall, "1-5");
        pass(30_000);
        seen.push(fresh.isFresh);
        wall += 600_000;  // asleep: the steady clock stands still
        seen.push(fresh.isFresh, fresh.ageMs > 629_900);
        print(seen);
    """
    )
    assert run_node(script) == [True, False, True]


def test_a_reader_who_sets_the_clock_back_makes_nothing_younger() -> None:
    script = (
        CLOCKS
        + """
        clock.learn(wall);
        fresh.hear("1-5", wall, "1-5");
        pass(60_000);
        wall -= 3_600_000;
        clock.look();
        print([clock.known, Math.round(fresh.ageMs)]);
    """
    )
    assert run_node(script) == [False, 60_000]


def test_the_age_is_by_the_servers_clock_whatever_the_readers_says() -> None:
    script = (
        CLOCKS
        + """
        print(input.map((skewMs) => {
          const clock = new ServerClock();
          const fresh = new Freshness(clock, 0);
          const serverMs = wall - skewMs;
          clock.learn(serverMs - 300);  // 300 ms on its way
          clock.learn(serverMs - 20);
          clock.learn(serverMs - 9_000);  // kept on its way: no reason to believe another time
          fresh.hear("1-5", serverMs - 45_000, "1-5");
          return [Math.round(clock.nowMs - serverMs), Math.round(fresh.ageMs)];
        }));
    """
    )
    assert run_node(script, [0, 86_400_000, -86_400_000]) == [[-20, 44_980]] * 3


def test_a_frame_that_was_kept_on_its_way_is_noticed() -> None:
    script = CLOCKS + "clock.learn(wall); pass(30_000); print(Math.round(clock.learn(wall - 15_000)));"
    assert 14_990 <= run_node(script) <= 15_000


def test_an_answer_that_a_cache_may_have_kept_tells_no_time_by_itself() -> None:
    """A cache that answers for ten minutes with what it got first; then one that asks each time."""
    script = (
        CLOCKS
        + """
        const seen = [];
        const say = () => seen.push([clock.known, fresh.isFresh, Math.round(fresh.ageMs)]);
        const answer = (serverMs) => { learnAnswer(clock, serverMs); fresh.hear("1-5", serverMs, "1-5"); };
        fresh.begin(wall - 600_000);
        answer(wall - 600_000);
        say();
        pass(5_000);
        answer(wall - 605_000);
        say();
        pass(5_000);
        answer(wall);
        pass(5_000);
        answer(wall);
        say();
        print(seen);
    """
    )
    assert run_node(script) == [[False, False, 600_000], [False, False, 605_000], [True, True, 0]]


def test_a_kept_answer_is_no_contact_whatever_the_readers_clock_says() -> None:
    script = (
        CLOCKS
        + """
        const kept = wall + 3_000_000;  // of ten minutes ago; the reader's clock is an hour behind
        fresh.begin(kept);
        learnAnswer(clock, kept);
        fresh.hear("1-5", kept, "1-5");
        print([fresh.isFresh, fresh.contacted]);
    """
    )
    assert run_node(script) == [False, False]


def test_where_the_readers_clock_is_behind_only_polls_that_go_on_say_how_much() -> None:
    script = (
        CLOCKS
        + """
        const seen = [];
        const line = () => fresh.ageLine({ wall: 0, steady: 0 }, { wall: 0, steady: 0 }, IN_ENGLISH);
        const serverMs = () => wall + 3_600_000;
        fresh.begin(serverMs() - 120_000);  // out of a cache; by the reader's clock it is from the future
        seen.push(/ago/.test(line()), /As of/.test(line()));
        learnAnswer(clock, serverMs());
        fresh.hear("1-5", serverMs() - 120_000, "1-5");
        seen.push(fresh.isFresh, /ago/.test(line()));
        pass(5_000);
        learnAnswer(clock, serverMs());
        fresh.hear("1-5", serverMs() - 125_000, "1-5");
        seen.push(line().endsWith("2 min ago."));
        print(seen);
    """
    )
    assert run_node(script) == [False, True, False, False, True]


def test_a_gateways_date_bounds_the_age_of_a_kept_page() -> None:
    script = (
        CLOCKS
        + """
        const serverMs = wall + 3_600_000;
        fresh.begin(serverMs - 120_000);
        const before = Math.round(fresh.ageMs);
        clock.bound(NaN);  // another site's answers do not show theirs
        clock.bound(Date.parse(new Date(serverMs).toUTCString()));
        print([before, Math.round(fresh.ageMs), clock.known]);
    """
    )
    assert run_node(script) == [0, 120_000, False]


def test_a_first_frame_that_took_long_makes_nothing_younger() -> None:
    """It was written after it was asked for: at that moment, it may be."""
    script = (
        CLOCKS
        + """
        const seen = [];
        const hear = (lateMs, tookMs) => {
          clock.learn(wall - lateMs, tookMs);
          fresh.hear("1-5", wall - lateMs, "1-5");
          seen.push(Math.round(fresh.ageMs));
        };
        hear(6_000, 7_000);
        pass(15_000);
        hear(6_000);
        pass(15_000);
        hear(0);
        print(seen);
    """
    )
    assert run_node(script) == pytest.approx([7_000, 7_000, 1_000], abs=10)


def test_another_tab_hands_on_the_servers_time_and_not_its_frames_lateness() -> None:
    script = (
        CLOCKS
        + """
        clock.learn(wall - 50_000);  // came out of a buffer
        clock.adopt(-2_000);
        const later = clock.nowMs - wall;
        clock.adopt(-3_000);  // it has set its clock since
        print([later, clock.nowMs - wall]);
    """
    )
    assert run_node(script) == [-2_000, -3_000]


def test_the_age_that_is_written_stays_true_until_it_is_written_again() -> None:
    script = (
        CLOCKS
        + """
        clock.learn(wall);
        fresh.hear("1-5", wall, "1-5");
        pass(59_100);
        const line = fresh.ageLine({ wall: 0, steady: 0 }, { wall: 0, steady: 0 }, IN_ENGLISH);
        print(line.endsWith(" 1 min ago."));
    """
    )
    assert run_node(script) is True


def test_a_delay_on_purpose_is_no_age() -> None:
    script = (
        CLOCKS
        + """
        const late = new Freshness(clock, 60_000);
        clock.learn(wall);
        late.hear("1-5", wall - 60_000, "1-5");
        print(late.isFresh);
    """
    )
    assert run_node(script) is True


def test_no_language_throws() -> None:
    script = """
        import { ageText, localTime } from "./wording.js";
        const format = { hour: "2-digit", minute: "2-digit" };
        print([...input.map((lang) => localTime(0, lang, format)), ageText(Date.now() - 120_000, 120_000)]);
    """
    *times, age = run_node(script, ["en_US", "x", "de-DE", "", "not a language", "zz-zz-zz-zz"])
    assert all(len(time) >= 5 for time in times)
    assert "As of" in age
    assert age.endswith("2 min ago.")
