// @ts-check
/**
 * How this page gets frames for its matches: one stream for all; while that brings none, long-polls and conditional
 * polls. The stream goes on trying meanwhile, so a page climbs back by itself.
 *
 * Most pages never poll, so what does is in a file of its own (afterwards.js). A page fetches it at once when a stream
 * fails, and else when it has nothing else to do (feed.js): a network that fails later finds it there.
 */

import { elapsedMs } from "./clock.js";
import { idOf, isNewer, parts } from "./ids.js";
import { afterwards, wake } from "./later.js";
import { Steps } from "./steps.js";
import { Stream } from "./stream.js";
import {
  DELTA_ACCEPTED,
  EVENT_END,
  EVENT_GAP,
  EVENT_HEARTBEAT,
  EVENT_ROW,
  EVENT_SCORE,
  KEY_HASH,
  KEY_LATE_MS,
  KEY_LIST,
  KEY_MATCHES,
  KEY_MATCH_ID,
  KEY_SERVER_MS,
  KEY_STEP,
  QUERY_LAST_EVENT_ID,
  QUERY_LIST,
  QUERY_LIST_ID,
  QUERY_MATCH,
} from "./wire.js";

/** A stream request's head has 8 KiB, of which cookies and the rest take some. */
const ADDRESS_MAX = 6_000;
const MATCHES_MAX = 200;
/** HTTP/1.1 has six connections to a host, and fragments need some. Matches beyond are polled. */
const STREAMS_MAX = 4;
/** A held request takes a connection, too. */
const HELD_MAX = 2;
/** A heartbeat or a change that comes later than this by the server's clock was kept on its way. */
const LATE_MS = 3_000;
/** With pushing comments behind each frame, only a way that does not work is as late as this. */
const BLOCKED_MS = 8_000;

const NO_LIST = { list: null, listId: "" };

/**
 * @typedef {import("./polls.js").MatchFrame} MatchFrame
 * @typedef {import("./polls.js").Poller} Poller
 */

export class Ladder {
  /** @type {Stream | null} */
  #stream = null;
  /** The stream of the set before this one, until the new one is open. @type {Stream | null} */
  #former = null;
  /** Who brings the matches that do not fit into this one's address. @type {Ladder | null} */
  #rest = null;
  /** The matches that this one brings. @type {string[]} */
  #matches = [];
  /** What the stream is asked for, to notice a change. */
  #set = "";
  /** Whether the stream has sent a heartbeat, which comes behind all that was missed. */
  #isCaughtUp = false;
  /** Whether this one polls, once what polls is there. */
  #isPolled = false;
  /** @type {Map<string, Poller>} */
  #pollers = new Map();
  /** Heartbeats in a row with a newer id than the last delta received, by match. @type {Map<string, number>} */
  #behind = new Map();
  /** What the server asks for; where it asks for no streams, they are closed once polls are answered. */
  steps = new Steps(() => this.#onStep());
  /** @type {"connecting" | "open" | "polling" | "waiting" | "closed"} */
  connection = "connecting";

  /**
   * @param {string} base the URL of the origin
   * @param {Map<string, string>} wanted the matches, each with the id to resume from; "" for none
   * @param {{ list: string | null, listId: string }} list the list whose rows are wanted, null for none
   * @param {import("./clock.js").ServerClock} clock
   * @param {(frame: MatchFrame) => void} onFrame
   * @param {() => void} onConnection
   * @param {number} [number] of this ladder; those after the first have a part of the matches each
   */
  constructor(base, wanted, list, clock, onFrame, onConnection, number = 1) {
    this.base = base;
    this.wanted = wanted;
    this.list = list;
    this.clock = clock;
    this.onFrame = onFrame;
    this.onConnection = onConnection;
    this.number = number;
  }

  /**
   * The set may be another. Old and new overlap; what comes twice is dropped by its id.
   *
   * @param {string[]} [matches]
   */
  update(matches = [...this.wanted.keys()]) {
    const isPolled = this.number > STREAMS_MAX;
    let length = 0;
    const isMore = (/** @type {string} */ match, /** @type {number} */ n) =>
      !isPolled && (n === MATCHES_MAX || (length += this.#query(match).length) > ADDRESS_MAX);
    const end = matches.findIndex(isMore);
    const rest = end < 0 ? [] : matches.splice(end);
    this.#matches = matches;
    if (rest.length) {
      const onConnection = () => this.#refresh();
      this.#rest ??= new Ladder(this.base, this.wanted, NO_LIST, this.clock, this.onFrame, onConnection, this.number + 1);
    }
    this.#rest?.update(rest);
    const set = JSON.stringify([[...matches].sort(), this.list.list]);
    if (set === this.#set) return;
    this.#set = set;
    for (const [match, poller] of this.#pollers) {
      if (matches.includes(match)) continue;
      poller.stop();
      this.#pollers.delete(match);
    }
    if (isPolled) {
      void this.#startPolls();
      return this.#refresh();
    }
    const old = this.#stream;
    if (this.#former && old?.connection !== "open") old?.close();
    else if (old) {
      this.#former?.close();
      this.#former = old;
    }
    const single = matches.length === 1 && this.list.list === null ? matches[0] : "";
    if (!matches.length && this.list.list === null) return this.close();
    const list = this.list.list ?? undefined;
    /** @type {Stream} */
    const stream = new Stream(
      () => this.#address(single),
      (frame) => this.#onStreamFrame(stream, frame, single, list),
      () => this.#onStream(stream),
      this.steps,
    );
    this.#stream = stream;
    if (this.steps.isBlocked) this.#onStep();
    else stream.open();
  }

  close() {
    this.#rest?.close();
    this.#stream?.close();
    this.#former?.close();
    this.#stream = this.#former = null;
    this.#set = "";
    this.#stopPolls();
    this.connection = "closed";
  }

  /** The reader is back, or the network. */
  wake() {
    wake();
    this.#rest?.wake();
    this.#stream?.wake();
    for (const poller of this.#pollers.values()) poller.wake();
  }

  /** Somebody answers again: the stream may too. */
  answered() {
    this.#rest?.answered();
    if (!this.#stream?.isBlocked) this.#stream?.wake();
  }

  /** The server asks for no streams, or for streams again. */
  #onStep() {
    if (!this.#stream) return;
    if (this.steps.isBlocked) {
      void this.#startPolls().then(() => this.#leaveStream());
    } else if (this.#stream.connection === "open") this.#stopPolls();
    else this.#stream.open();
    this.#refresh();
  }

  /** Nothing is missed: the stream is closed once polls have taken over. */
  #leaveStream() {
    if (this.steps.isBlocked && [...this.#pollers.values()].every((poller) => poller.isAnswered)) {
      this.#stream?.close();
      this.#former?.close();
    }
  }

  /** The network changed. */
  restart() {
    this.#rest?.restart();
    this.#stream?.restart();
  }

  /** @param {string} single */
  #address(single) {
    const url = new URL(single ? `stream/${single}` : "stream", this.base);
    if (single) {
      const id = this.wanted.get(single);
      if (id) url.searchParams.set(QUERY_LAST_EVENT_ID, id);
      return url.href;
    }
    if (this.list.list !== null) {
      url.searchParams.set(QUERY_LIST, this.list.list);
      if (this.list.listId) url.searchParams.set(QUERY_LIST_ID, this.list.listId);
    }
    // Ids need no escapes, and a query without them is half as long.
    const query = url.search + this.#matches.map((match) => this.#query(match)).join("");
    return new URL(`${url.pathname}?${query.slice(1)}`, url).href;
  }

  /** A match in the stream's address. @param {string} match */
  #query(match) {
    const id = this.wanted.get(match);
    return `&${QUERY_MATCH}=${match}${id ? `@${id}` : ""}`;
  }

  /**
   * @param {Stream} stream
   * @param {import("./stream.js").Frame} frame
   * @param {string} single
   * @param {string} [list] whose rows come on this stream
   */
  #onStreamFrame(stream, { event, id, data }, single, list) {
    if (stream !== this.#stream && stream !== this.#former) return;
    /** @type {any} */
    let value;
    try {
      value = JSON.parse(data);
    } catch {
      return; // not ours
    }
    if (event === EVENT_SCORE) {
      const [match, own] = single ? [single, id] : id.split("@");
      this.#behind.delete(match);
      const acceptedMs = parts(own)[0] + (value[DELTA_ACCEPTED] ?? 0);
      // What was missed is old without having been kept; a frame has come before, so this is none of it.
      if (this.#isCaughtUp && this.clock.known && this.clock.nowMs - acceptedMs > LATE_MS) stream.flush();
      this.onFrame({ match, event, id: own, data });
    } else if (event === EVENT_GAP) {
      const match = single || value[KEY_MATCH_ID];
      if (match) this.#behind.delete(match);
      this.onFrame({ match: match ?? "", list, event, id: match ? idOf(value) : "", data });
    } else if (event === EVENT_END) {
      this.onFrame({ match: single || value[KEY_MATCH_ID], event, id: "", data });
    } else if (event === EVENT_ROW) {
      this.onFrame({ match: "", list, event, id: id.split("@")[1], data });
    } else if (event === EVENT_HEARTBEAT) {
      this.steps.hear(value[KEY_STEP]);
      const serverMs = value[KEY_SERVER_MS];
      // What the server knows is older than its clock where nothing comes to it.
      const asOfMs = serverMs - (value[KEY_LATE_MS] | 0);
      // The first one has been written since it was asked for, and may be as late as that.
      const lateMs = this.clock.learn(serverMs, this.#isCaughtUp ? undefined : elapsedMs(stream.asked));
      /** @type {[string, [string, string]][]} */
      const matches = single ? [[single, [idOf(value), value[KEY_HASH]]]] : Object.entries(value[KEY_MATCHES] ?? {});
      let isLost = false;
      for (const [match, [head, hash]] of matches) {
        this.onFrame({ match, event, id: head, data: "", hash, serverMs: asOfMs });
        // One heartbeat may overtake a delta that is on its way; after two in a row the delta is lost.
        const behind = isNewer(head, this.wanted.get(match) ?? "") ? (this.#behind.get(match) ?? 0) + 1 : 0;
        this.#behind.set(match, behind);
        isLost ||= behind >= 2;
      }
      if (value[KEY_LIST] !== undefined) this.onFrame({ match: "", list, event, id: value[KEY_LIST], data: "", serverMs: asOfMs });
      if (stream !== this.#stream) return;
      this.#isCaughtUp = true;
      if (lateMs > LATE_MS) {
        if (!stream.flush() && lateMs > BLOCKED_MS) stream.block();
      } else if (isLost) {
        this.#behind.clear();
        stream.restart();
      }
    }
  }

  /** @param {Stream} stream */
  #onStream(stream) {
    if (stream !== this.#stream) {
      if (stream === this.#former && stream.connection !== "open") {
        stream.close();
        this.#former = null;
        this.#refresh();
      }
      return;
    }
    if (stream.connection === "open") {
      this.#former?.close();
      this.#former = null;
      if (!this.steps.isBlocked) this.#stopPolls();
    } else {
      this.#isCaughtUp = false;
      if (stream.failures > 0) void this.#startPolls();
    }
    this.#refresh();
  }

  async #startPolls() {
    this.#isPolled = true;
    const { Poller } = await afterwards();
    if (!this.#isPolled) return; // the stream is there again
    for (const match of this.#matches) {
      if (this.#pollers.has(match)) continue;
      const poller = new Poller(this.base, match, this.clock, {
        lastId: () => this.wanted.get(match) ?? "",
        onFrame: this.onFrame,
        onAnswer: () => {
          if (poller.isAnswered) this.answered();
          this.#leaveStream();
          this.#refresh();
        },
        steps: this.steps,
        mayHold: () => this.number === 1 && [...this.#pollers.keys()].indexOf(match) < HELD_MAX,
        crowd: () => this.#pollers.size,
      });
      this.#pollers.set(match, poller);
    }
  }

  #stopPolls() {
    this.#isPolled = false;
    for (const poller of this.#pollers.values()) poller.stop();
    this.#pollers.clear();
  }

  #refresh() {
    const { connection = "closed" } = this.#stream ?? {};
    // A list without matches is polled by whoever shows it.
    const isPolled =
      (this.steps.isBlocked && !this.#matches.length) || [...this.#pollers.values()].some((poller) => poller.isAnswered);
    const isOpen = [connection, this.#former?.connection, this.#rest?.connection].includes("open");
    const now = isOpen ? "open" : isPolled || this.#rest?.connection === "polling" ? "polling" : connection;
    if (now === this.connection) return;
    this.connection = now;
    this.onConnection();
  }
}
