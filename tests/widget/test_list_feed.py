"""Lists in the page's feed, run as it is under Node: which connection is asked for, and from where."""

from __future__ import annotations

from testkit.built_widget import run_node

# The stream's addresses, and frames that come on it when the test says so.
FEED = """
    const asked = [];
    let send;
    globalThis.PROTOCOL = 2;
    globalThis.addEventListener = () => {};
    globalThis.document = { addEventListener() {}, hidden: false };
    globalThis.fetch = async (url) => {
      asked.push(new URL(url).search);
      const start = (out) => (send = (text) => out.enqueue(new TextEncoder().encode(text)));
      const body = new ReadableStream({ start });
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    };
    Object.defineProperty(globalThis, "navigator", { value: { onLine: true } });
    const { Feed } = await import("./feed.js");
    const feed = new Feed("http://a.example/");
    const pause = (ms = 40) => new Promise((resolve) => setTimeout(resolve, ms));
    const onConnection = () => {};
    const heard = (name) => ({ onFrame: ({ event, id }) => frames.push([name, event, id]), onConnection });
    const frames = [];
    const heartbeat = (cursor) =>
      send(`event: heartbeat\\ndata: {"server_ms":${cursor},"matches":{},"list":"${cursor}-0a"}\\n\\n`);
"""


def test_two_lists_are_one_stream_that_goes_on_from_the_older() -> None:
    script = """
        feed.followList("2026-11-27", "200-0a", heard("day"));
        await pause();
        feed.followList("Cup", "100-0a", heard("cup"));
        await pause();
        print(asked); process.exit();
    """
    assert run_node(FEED + script) == ["?list=2026-11-27&list_id=200-0a", "?list=&list_id=100-0a"]


def test_only_a_heartbeat_moves_the_cursor() -> None:
    script = """
        feed.followList("Cup", "100-0a", heard("cup"));
        await pause();
        send('event: row\\nid: list@500-0a\\ndata: {}\\n\\n');
        await pause();
        feed.follow("m", heard("m"), "1-1");
        await pause();
        heartbeat(600);
        await pause();
        feed.follow("n", heard("n"), "1-1");
        await pause();
        print([asked.map((query) => new URLSearchParams(query).get("list_id")), frames]); process.exit();
    """
    cursors, frames = run_node(FEED + script)
    assert cursors == ["100-0a", "100-0a", "600-0a"]
    assert frames == [["cup", "row", "500-0a"], ["cup", "heartbeat", "600-0a"]]


def test_a_later_element_with_an_older_list_has_to_fetch_it() -> None:
    script = """
        feed.followList("Cup", "100-0a", heard("one"));
        await pause();
        heartbeat(600);
        await pause();
        feed.followList("Cup", "300-0a", heard("two"));
        feed.followList("Cup", "600-0a", heard("three"));
        await pause();
        print([asked.length, frames]); process.exit();
    """
    asked, frames = run_node(FEED + script)
    assert asked == 1
    assert frames == [
        ["one", "heartbeat", "600-0a"],
        ["two", "gap", ""],
        ["two", "heartbeat", "600-0a"],
        ["three", "heartbeat", "600-0a"],
    ]


MATCH = """
    const score = (seq) => send(`id: m@5-${seq}\\nevent: score\\ndata: {"e":"g${seq}"}\\n\\n`);
    const beat = () => send('event: heartbeat\\ndata: {"server_ms":1,"matches":{}}\\n\\n');
    const isOf = (name) => ([of, event]) => of === name && event !== "heartbeat";
    const scores = (name) => frames.filter(isOf(name)).map(([, ...rest]) => rest);
    feed.followList("x", "", heard("list")); // so that the stream is one of several
"""


def test_an_element_that_joins_at_an_older_id_gets_the_deltas_since() -> None:
    script = """
        feed.follow("m", heard("first"), "5-1");
        await pause();
        for (const seq of [2, 3, 4]) score(seq);
        await pause();
        feed.follow("m", heard("older"), "5-2");
        feed.follow("m", heard("oldest"), "5-0");
        print([scores("older"), scores("oldest")]); process.exit();
    """
    assert run_node(FEED + MATCH + script) == [
        [["score", "5-3"], ["score", "5-4"]],
        [["gap", "5-4"]],  # what led to 5-1 never came here
    ]


def test_an_element_that_leaves_and_is_back_at_once_misses_nothing() -> None:
    script = """
        const first = heard("first");
        feed.follow("m", first, "5-1");
        await pause();
        for (const seq of [2, 3]) score(seq);
        await pause();
        feed.leave("m", first);
        feed.follow("m", heard("again"), "5-1");
        const again = scores("again");
        await pause();
        score(4);
        await pause();
        print([again, scores("again"), asked.length]); process.exit();
    """
    both = [["score", "5-2"], ["score", "5-3"]]
    assert run_node(FEED + MATCH + script) == [both, [*both, ["score", "5-4"]], 1]
