"""A page that is asked to leave its stream, and to come back: under Node, before a real HTTP server."""

from __future__ import annotations

from testkit.built_widget import run_node
from tests.widget.test_ladder import LADDER

# A server with one match, whose log and step the test sets. Streams and long-polls are held.
SERVER = """
    const step = { now: 0 };
    const log = ["1-1"];
    const advice = () => (step.now ? { step: step.now } : {});
    const seq = (id) => Number(id.split("-")[1]);
    const streams = new Set(), held = new Set();
    let most = 0;
    const score = (id) => `id: ${id}\\nevent: score\\ndata: {"e":"g${id}"}\\n\\n`;
    const beat = (response) => {
      const said = { epoch: 1, seq: log.length, hash: "h", server_ms: Date.now(), ...advice() };
      const data = JSON.stringify(said);
      response.write(`event: heartbeat\\ndata: ${data}\\n\\n`);
    };
    const beats = setInterval(() => streams.forEach(beat), 200);
    answers.stream = (request, response) => {
      const after = new URL(request.url, base).searchParams.get("last_event_id") ?? "1-0";
      frames(response, log.slice(seq(after)).map(score).join(""));
      beat(response);
      streams.add(response);
      request.on("close", () => streams.delete(response));
    };
    answers.state = (request, response) => {
      const headers = { "Touchline-As-Of": String(Date.now()), "Touchline-Step": String(step.now) };
      json(response, 200, { match_id: "m", epoch: 1, seq: log.length, hash: "h" }, headers);
    };
    const poll = ({ response, after }) => {
      const deltas = log.slice(seq(after)).map((id) => [id, { e: `g${id}` }]);
      const next = { id: log.at(-1), slice: Math.floor(Date.now() / 10_000) + (deltas.length ? 0 : 1) };
      json(response, 200, { match_id: "m", after, deltas, next, as_of: Date.now(), ...advice() });
    };
    answers.deltas = (request, response) => {
      const one = { response, after: request.url.split("/")[5] };
      if (log.length > seq(one.after)) return poll(one);
      held.add(one);
      request.on("close", () => held.delete(one));
    };
    const publish = () => {
      log.push(`1-${log.length + 1}`);
      streams.forEach((response) => response.write(score(log.at(-1))));
      held.forEach(poll);
      held.clear();
    };
    const release = () => {
      held.forEach(poll);
      held.clear();
    };
    const until = async (is) => {
      for (let n = 0; n < 300 && !is(); n++) await pause(50);
      return is();
    };
    const end = (value) => {
      clearInterval(beats);
      finish(value);
    };
    const scores = () => heard.filter(({ event }) => event === "score").map(({ id }) => id);
    // What is drawn at random is a twentieth: the moves take half a second, not ten.
    Math.random = () => 0.05;
    wanted.set("m", "1-1");
    ladder.update();
    await until(() => ladder.connection === "open");
"""


def test_a_page_leaves_its_stream_for_long_polls_and_comes_back_and_misses_nothing() -> None:
    script = """
        publish();
        step.now = 2;
        const left = await until(() => streams.size === 0 && held.size === 1);
        const connection = ladder.connection;
        publish();
        await until(() => scores().length === 2 && held.size === 1);
        publish();
        await until(() => scores().length === 3 && held.size === 1);
        step.now = 0;
        release();
        const back = await until(() => streams.size === 1 && ladder.connection === "open" && !held.size);
        publish();
        await until(() => scores().length === 4);
        await pause(300);
        end({ left, connection, back, scores: scores(), held: held.size, streams: streams.size });
    """
    result = run_node(LADDER + SERVER + script)
    assert (result["left"], result["connection"], result["back"]) == (True, "polling", True)
    assert result["scores"] == ["1-2", "1-3", "1-4", "1-5"]
    assert (result["held"], result["streams"]) == (0, 1)


def test_where_no_request_is_to_be_held_it_polls() -> None:
    script = """
        step.now = 3;
        const left = await until(() => streams.size === 0);
        const from = asked.length;
        publish();
        await until(() => wanted.get("m") === "1-2");
        const paths = asked.slice(from).map(([, path]) => path);
        step.now = 0;
        const back = await until(() => streams.size === 1 && ladder.connection === "open");
        publish();
        await until(() => wanted.get("m") === "1-3");
        end({ left, paths, back, at: wanted.get("m"), scores: scores() });
    """
    result = run_node(LADDER + SERVER + script)
    assert (result["left"], result["back"], result["at"]) == (True, True, "1-3")
    assert set(result["paths"]) == {"/api/match/m/state"}
    assert result["scores"] == ["1-3"]


def test_the_stream_stays_until_polls_are_answered() -> None:
    """A server that answers no polls must not lose the pages that it has."""
    script = """
        const works = answers.state;
        answers.state = null;
        step.now = 3;
        await pause(2_500);
        const kept = streams.size;
        publish();
        await until(() => scores().length === 1);
        answers.state = works;
        const left = await until(() => streams.size === 0);
        end({ kept, scores: scores(), left });
    """
    result = run_node(LADDER + SERVER + script)
    assert result == {"kept": 1, "scores": ["1-2"], "left": True}


def test_a_step_that_a_cache_kept_moves_nobody_for_long() -> None:
    """What was heard last counts, so one stale answer among right ones is no move."""
    script = """
        Math.random = () => 0.1;
        step.now = 2;
        await pause(300);
        step.now = 0;
        await pause(2_000);
        end({ streams: streams.size, connection: ladder.connection, asked: asked.length });
    """
    assert run_node(LADDER + SERVER + script) == {"streams": 1, "connection": "open", "asked": 1}


def test_a_reader_who_comes_back_does_not_open_a_stream_that_is_not_wanted() -> None:
    script = """
        step.now = 2;
        await until(() => streams.size === 0 && held.size === 1);
        ladder.wake();
        ladder.answered();
        ladder.restart();
        ladder.wake();
        await pause(1_000);
        const quiet = streams.size;
        wanted.set("m2", "1-1");
        ladder.update();
        await pause(500);
        end({ quiet, then: streams.size, asked: asked.some(([, path]) => path === "/api/match/m2/state") });
    """
    assert run_node(LADDER + SERVER + script) == {"quiet": 0, "then": 0, "asked": True}


def test_from_the_first_step_on_a_lost_stream_comes_back_later() -> None:
    script = """
        step.now = 1;
        await until(() => heard.length > 2);
        await pause(300);
        Math.random = () => 0.1;
        const from = performance.now() - began;
        streams.forEach((response) => response.end());
        await until(() => asked.filter(([, path]) => path.startsWith("/stream")).length === 2);
        const [at] = asked.filter(([, path]) => path.startsWith("/stream")).at(-1);
        end({ waited: at - from, polled: asked.some(([, path]) => path.startsWith("/api")) });
    """
    result = run_node(LADDER + SERVER + script)
    assert result["waited"] > 2_900  # a tenth of thirty seconds
    assert not result["polled"]


def test_what_a_server_knows_is_as_old_as_it_says() -> None:
    script = """
        answers.stream = (request, response) => {
          const said = { epoch: 1, seq: 1, hash: "h", server_ms: Date.now(), late_ms: 60_000 };
          frames(response, `event: heartbeat\\ndata: ${JSON.stringify(said)}\\n\\n`);
        };
        const { Freshness } = await import("./freshness.js");
        ladder.restart();
        const from = heard.length;
        await until(() => heard.length > from);
        const freshness = new Freshness(clock, 0);
        freshness.hear("1-1", heard.at(-1).serverMs, "1-1");
        end({ fresh: freshness.isFresh, age: Math.round(freshness.ageMs / 10_000) });
    """
    assert run_node(LADDER + SERVER + script) == {"fresh": False, "age": 6}
