// @ts-check
/**
 * One match as this page follows it: the tier, and what is shown, for all its elements.
 *
 * Rules
 * -----
 * 1. What is shown never goes back: everything passes `show`, which compares ids. Another epoch is believed from
 *    a stream or a heartbeat, never from the body of an answer that a cache may have kept.
 * 2. Tier 1 asks for the fragment of the newest id it has heard of, and for those of the changes between, whose
 *    announcements it speaks. One round of requests at a time: no answer can overtake another.
 * 3. Tier 2 takes over when the reducer, restored from a snapshot and given every delta since, is at
 *    the id shown or after it; until then tier 1 goes on. Nothing is lost in between: deltas are buffered
 *    from the first one on, and go to the reducer in the same task that attaches it.
 * 4. Whenever the reducer may be wrong (another hash, a missing delta, an unreadable one), tier 1 takes over
 *    before the snapshot is requested. After SNAPSHOTS_MAX snapshots in a row without success it stays.
 * 5. A heartbeat is compared with what is shown (freshness.js).
 * 6. A match of which nothing is heard is asked for. If the origin knows none, the page says so and asks again,
 *    several times (seek.js), and once more when the reader comes back.
 *
 * The parts that a page needs only sometimes are files of their own, which later.js loads: the reducer (local-reducer.js),
 * the question of rule 6 (seek.js), and what is kept for a visit without a network (keep.js).
 */

import { Refusal, ask } from "./answers.js";
import { elapsedMs, mark } from "./clock.js";
import { Feed } from "./feed.js";
import { Freshness } from "./freshness.js";
import { idOf, isNewer, parts } from "./ids.js";
import { afterwards, loaded, soon } from "./later.js";
import { delayMs } from "./reconnect.js";
import { parseHtml } from "./safe-html.js";
import {
  ATTRIBUTE_ID,
  ATTRIBUTE_MATCH,
  DELTA_ACCEPTED,
  EVENT_END,
  EVENT_GAP,
  EVENT_HEARTBEAT,
  EVENT_SCORE,
  HTML_TYPE,
  KEY_LANGUAGE,
  QUERY_BEHIND,
} from "./wire.js";

/** More than any match has; beyond it a snapshot is requested instead. */
const DELTAS_MAX = 1_000;
const KEEP_EVERY_MS = 15_000;
/** What had happened so long before the page was loaded is not announced. */
const OLD_NEWS_MS = 60_000;
/** A fragment or a snapshot is asked for again after this at the latest: it was announced, so it is there. */
const RETRY_MAX_MS = 2_500;
/** So long the reducer may take before the server's fragment is asked for as well. */
const REDUCER_MS = 3_000;
/** A stream begins with a word on each match that there is. */
const SILENT_MS = 3_000;

/**
 * @typedef {import("./polls.js").MatchFrame} MatchFrame
 * @typedef {{ id: string, html: string, announce?: string, hash?: string, acceptedMs?: number }} Shown
 * @typedef {{ id: string, text: string }} Snapshot
 * @typedef {"connecting" | "open" | "polling" | "waiting" | "offline" | "ended" | "unknown" | "closed"} Connection
 */

export class LiveMatch extends EventTarget {
  /** @type {Map<string, LiveMatch>} */
  static #all = new Map();

  /** 0: what the server rendered; 1: its fragments; 2 and 3: the reducer in this browser (runtime.js). */
  tier = 0;
  /** @type {Shown} */
  shown = { id: "", html: "" };
  hash = "";
  /** @type {number | null} */
  latencyMs = null;
  /** @type {number | null} */
  bootMs = null;
  /** @type {Set<object>} The elements; the first speaks. */
  elements = new Set();
  /** Nothing is announced up to this id: it was there before the reader came. */
  silentUntil = "";
  #loaded = mark();
  /** Once afterwards.js is there. @type {import("./news.js").News | null} */
  news = null;
  /** With a delay, what frames pass once afterwards.js is there. @type {import("./spoiler-delay.js").SpoilerDelay | null} */
  spoilerDelay = null;
  /** What waits for afterwards.js, in order. @type {(() => void)[]} */
  #waiting = [];

  started = false;
  ended = false;
  #pulling = false;
  wanted = "";
  /** A snapshot is good from this id on. */
  least = "";
  #isOver = false;
  /** Whether the origin says that there is no such match. */
  isUnknown = false;
  #isSought = false;
  /** @type {Snapshot | null} */
  snapshot = null;
  /** @type {{ id: string, data: string }[]} */
  deltas = [];
  /** Of these, what has come in this task: id and data. @type {[string, string][]} */
  unfolded = [];
  /** Once it has taken over. @type {import("./local-reducer.js").LocalReducer | null} */
  reducer = null;
  keptMs = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #reducerTimer;
  #onVisibility = () => void (document.hidden ? this.#keep() : this.isUnknown && this.#seek(0));

  /**
   * @param {string} base the URL of the origin
   * @param {string} match
   * @param {number} delay whole seconds by which updates are delayed
   * @param {string} language the tag of one of our languages
   */
  constructor(base, match, delay, language) {
    super();
    this.base = base;
    this.match = match;
    this.language = language;
    this.slot = `${match}@${delay}@${language}`;
    this.delay = delay;
    this.feed = Feed.of(base);
    this.freshness = new Freshness(this.feed.clock, delay * 1_000);
    void loaded.then((later) => {
      if (this.ended) return;
      this.news = new later.News(this, parseHtml);
      if (delay) this.spoilerDelay = later.spoilerDelayOf(this);
      for (const run of this.#waiting.splice(0)) run();
    });
    if (delay) void afterwards();
  }

  /**
   * The match for an element; the same one for every element that asks alike.
   *
   * @param {string} base
   * @param {string} match
   * @param {number} delay
   * @param {string} language
   * @param {object} element
   */
  static join(base, match, delay, language, element) {
    const key = [base, match, delay, language].join(" ");
    let live = LiveMatch.#all.get(key);
    if (!live) LiveMatch.#all.set(key, (live = new LiveMatch(base, match, delay, language)));
    live.elements.add(element);
    return live;
  }

  /** @param {object} element */
  leave(element) {
    this.elements.delete(element);
    // An element that is moved leaves and joins in one task.
    queueMicrotask(() => {
      if (this.elements.size || this.ended) return;
      for (const [key, live] of LiveMatch.#all) if (live === this) LiveMatch.#all.delete(key);
      this.#end();
    });
  }

  /** The one element that speaks of this match, in whichever languages the page shows it. */
  get speaker() {
    for (const { base, match, delay, elements } of LiveMatch.#all.values()) {
      if (base === this.base && match === this.match && delay === this.delay) return [...elements][0];
    }
  }

  static get any() {
    return LiveMatch.#all.size > 0;
  }

  /** @returns {Connection} */
  get connection() {
    if (this.#isOver && !isNewer(this.wanted, this.shown.id)) return "ended";
    if (this.isUnknown) return "unknown";
    const { connection } = this.feed;
    const isConnected = connection === "open" || connection === "polling";
    if (isConnected && this.freshness.isFresh) return connection;
    if (!navigator.onLine) return "offline";
    if (!isConnected) return connection;
    return this.freshness.contacted ? "waiting" : "connecting";
  }

  /**
   * Begin to follow. The first element's start counts; a later one that has nothing to show gets it.
   *
   * @param {string} id what the server rendered into the page; "" for nothing
   * @param {string} snapshot the page's inline snapshot; "" for none
   * @param {number} asOfMs when the server made the page, UTC milliseconds; 0 for unknown
   */
  start(id, snapshot, asOfMs) {
    if (this.started) {
      if (!id) this.fill();
      return;
    }
    this.started = true;
    // What no match can be called would have the stream of all others refused.
    if (!/^[\w-]{1,64}$/.test(this.match)) {
      this.isUnknown = this.#isSought = true;
      void afterwards().then(() => this.changed());
      return;
    }
    document.addEventListener("visibilitychange", this.#onVisibility);
    if (asOfMs) this.freshness.begin(asOfMs);
    this.#loaded = mark();
    if (snapshot) this.snapshot = { id: idOf(JSON.parse(snapshot)), text: snapshot };
    // The page's own state may be ahead of an element that a script has put into it.
    if (this.delay && this.snapshot && isNewer(this.snapshot.id, id)) this.snapshot = null;
    if (id) {
      this.shown = { id, html: "" };
      this.wanted = id;
    }
    // With a delay a stream begins at what the server showed then.
    if (id || !this.delay) this.feed.follow(this.match, this, id);
    void loaded.then((later) => later.showKept(this));
    if (!id) this.#seek(this.delay ? 0 : SILENT_MS);
  }

  /** What is shown is there in another language, or not at all: have its HTML. */
  fill() {
    if (this.shown.id && !this.shown.html) void afterwards().then((later) => later.fill(this));
  }

  /** An address of this match, as of then with a delay. @param {string} path */
  behind(path) {
    const url = new URL(path, this.base);
    if (this.delay) url.searchParams.set(QUERY_BEHIND, String(this.delay));
    return url;
  }

  // ---- updates --------------------------------------------------------------------------------------

  /** @param {MatchFrame} frame */
  onFrame(frame) {
    if (this.delay) this.whenThere(() => this.spoilerDelay?.onFrame(frame));
    else this.take(frame);
  }

  /** A frame that may be shown. @param {MatchFrame} frame */
  take(frame) {
    const { event, id, data } = frame;
    if (this.ended) return;
    if (event === EVENT_SCORE) {
      this.#takeDelta(id, data);
    } else if (event === EVENT_GAP) {
      this.#onGap(id);
    } else if (event === EVENT_HEARTBEAT) {
      this.#check(frame);
      if (performance.now() - this.keptMs > KEEP_EVERY_MS) this.#keep();
    } else if (event === EVENT_END) {
      // Nothing more will come, and what is shown is what there is to know.
      this.#isOver = JSON.parse(data).reason === "ended";
      if (!this.#isOver && !this.shown.id) this.#seek(0);
      this.changed();
    }
  }

  onConnection() {
    this.changed();
  }

  /** Run what needs afterwards.js, in order: now, or once it is there. @param {() => void} run */
  whenThere(run) {
    if (this.news) run();
    else this.#waiting.push(run);
  }

  /** @param {string} id @param {string} data */
  #takeDelta(id, data) {
    this.deltas.push({ id, data });
    if (this.deltas.length > DELTAS_MAX) {
      this.deltas = [];
      this.snapshot = null;
    }
    const acceptedMs = parts(id)[0] + (acceptedOf(data) ?? 0);
    this.freshness.hear(id, acceptedMs, this.shown.id);
    if (isNewer(id, this.wanted)) this.wanted = id;
    // Deltas that arrive or are released together are shown together: a burst, or a goal with its retraction.
    if (!this.unfolded.length) queueMicrotask(() => this.#fold());
    this.unfolded.push([id, data]);
  }

  /** What led to this id is not to be had: go on from there. @param {string} id */
  #onGap(id) {
    const isRebuilt = Boolean(this.shown.id) && parts(id)[0] !== parts(this.shown.id)[0];
    this.tier ||= 1;
    if (!isRebuilt && !isNewer(id, this.shown.id)) return;
    // What led here cannot be had; of a page that was loaded long ago it is not news.
    if (isRebuilt || this.#isOldPage) this.silentUntil = id;
    // A log of another epoch is another order of events; nothing of the old one can be compared with it.
    if (isRebuilt) this.shown = { id: "", html: "" };
    this.wanted = this.least = id;
    this.deltas = [];
    this.snapshot = null;
    this.#due(id);
    this.#go();
  }

  /** A heartbeat or a poll's answer. @param {MatchFrame} frame */
  #check({ id, hash, serverMs = 0, snapshot }) {
    this.tier ||= 1;
    const before = this.connection;
    this.freshness.hear(id, serverMs, this.shown.id);
    const isRebuilt = Boolean(this.shown.id) && isNewer(id, this.shown.id) && parts(id)[0] !== parts(this.shown.id)[0];
    if (isRebuilt) {
      this.#onGap(id);
    } else if (snapshot && isNewer(id, this.wanted)) {
      if (this.#isOldPage) this.silentUntil = id;
      // A poll knows no deltas. The server's HTML comes first; the reducer goes on from the snapshot.
      this.wanted = this.least = id;
      if (this.reducer) void this.adopt({ id, text: snapshot });
      else {
        this.snapshot = { id, text: snapshot };
        this.deltas = [];
        void this.pull();
      }
    } else if (isNewer(id, this.wanted)) {
      this.#due(id);
    } else if (this.reducer && hash) {
      this.reducer.check(id, hash);
    } else if (this.shown.id === id && hash) {
      this.hash = hash;
    }
    if (before !== this.connection) this.changed();
  }

  /** An id was announced: if nobody shows it soon, the server's fragment is asked for. @param {string} id */
  #due(id) {
    clearTimeout(this.#reducerTimer);
    this.#reducerTimer = setTimeout(() => {
      if (this.ended || !isNewer(id, this.shown.id)) return;
      if (isNewer(id, this.wanted)) this.wanted = id;
      this.#go();
    }, REDUCER_MS);
  }

  /** What was announced has to come from the server. */
  #go() {
    if (this.reducer) void this.reducer.recover();
    else void this.pull();
  }

  #fold() {
    const deltas = this.unfolded.splice(0);
    if (this.reducer && deltas.length) this.reducer.receive(deltas);
    if (this.tier < 2) void this.pull();
  }

  /**
   * Go on from a snapshot.
   *
   * @param {Snapshot} snapshot
   */
  async adopt(snapshot) {
    // A log of another epoch is another order of events.
    if (this.shown.id && parts(snapshot.id)[0] !== parts(this.shown.id)[0]) this.shown = { id: "", html: "" };
    this.snapshot = snapshot;
    this.deltas = this.deltas.filter(({ id }) => isNewer(id, snapshot.id));
    if (isNewer(snapshot.id, this.wanted)) this.wanted = snapshot.id;
    if (this.reducer) await this.reducer.adopt(snapshot);
    else if (this.tier < 2) void this.pull();
  }

  /** Ask whether there is such a match, for as long as nothing was heard of it. @param {number} waitMs before the first question */
  #seek(waitMs) {
    if (this.#isSought) return;
    this.#isSought = true;
    setTimeout(async () => {
      if (!this.ended && (this.delay || !this.wanted)) await (await afterwards()).seek(this);
      this.#isSought = false;
    }, waitMs);
  }

  /**
   * @param {number} attempt
   * @param {any} error of {@link ask}
   * @param {number} [maxMs]
   */
  pause(attempt, error, maxMs = RETRY_MAX_MS) {
    const hintMs = error?.hintMs ?? null;
    const waitMs = Math.min(delayMs(attempt, Math.random()), maxMs);
    return new Promise((resolve) => setTimeout(resolve, delayMs(0, 0, hintMs) + waitMs));
  }

  // ---- tier 1 ----------------------------------------------------------------------------------------

  async pull() {
    if (this.#pulling) return;
    this.#pulling = true;
    let attempt = 0;
    while (!this.ended && this.tier < 2 && isNewer(this.wanted, this.shown.id)) {
      const id = this.wanted;
      try {
        const before = this.shown.id;
        const page = this.fragment(id);
        const telling = this.news?.tell(before, id, page);
        const [html] = await Promise.all([page, before && soon()]);
        // A change is shown without what tells of the changes before it, if that does not come.
        const own = isNewer(id, this.silentUntil) ? undefined : "";
        const announce = this.news ? await (telling ?? this.news.tell(before, id, page)) : own;
        this.tier ||= 1;
        this.show({ id, html, announce, acceptedMs: this.acceptedMs(id) });
        attempt = 0;
      } catch (error) {
        // No network, or an origin that is a moment behind another: the next attempt will show.
        if (error instanceof Refusal && error.status === 410) {
          const later = await soon();
          const snapshot = await later?.fetchSnapshot(this).catch(() => null);
          if (snapshot) this.wanted = snapshot.id;
        }
        await this.pause(attempt++, error);
      }
    }
    this.#pulling = false;
  }

  /**
   * The scoreboard at an id. Whoever answers, it must be that id's.
   *
   * @param {string} id
   */
  async fragment(id) {
    const url = this.behind(`match/${this.match}/fragment/${id}`);
    if (this.language !== "en") url.searchParams.set(KEY_LANGUAGE, this.language);
    const { text } = await ask(url.href, HTML_TYPE, { limitMs: 6_000 });
    if (!text.includes(`${ATTRIBUTE_ID}="${id}" ${ATTRIBUTE_MATCH}="${this.match}"`)) throw new Refusal(0, null);
    this.whenThere(() => this.news?.read(id, text));
    return text;
  }

  /** What the log took before is no news; UTC milliseconds by the server's clock. */
  get newsFromMs() {
    return this.feed.clock.nowMs - elapsedMs(this.#loaded) - OLD_NEWS_MS - this.delay * 1_000;
  }

  /** Whether what changed before the first contact may be old. */
  get #isOldPage() {
    return !this.freshness.contacted && this.freshness.asOfMs < this.newsFromMs;
  }

  /** When the log took a delta, if it is one we have. @param {string} id */
  acceptedMs(id) {
    const delta = this.deltas.find((received) => received.id === id);
    return delta && parts(id)[0] + (acceptedOf(delta.data) ?? 0);
  }

  // ---- what is shown ---------------------------------------------------------------------------------

  /** @param {Shown} shown */
  show(shown) {
    if (isNewer(this.shown.id, shown.id)) return;
    const before = this.shown.id;
    const moved = shown.id !== before;
    // Another tier has shown it first. To show it again would end the highlight of the row that just came.
    if (!moved && this.shown.html) return this.changed();
    this.shown = shown;
    this.freshness.show(shown.id);
    this.dispatchEvent(new CustomEvent("show", { detail: { moved } }));
    this.whenThere(() => {
      const detail = this.news?.take(before, shown.id, this.delay > 0);
      if (detail?.length) this.dispatchEvent(new CustomEvent("news", { detail }));
    });
    if (shown.acceptedMs && moved) this.latencyMs = Math.max(0, this.feed.clock.nowMs - shown.acceptedMs);
    this.changed();
    if (moved) this.#keep();
  }

  changed() {
    if (!this.ended) this.dispatchEvent(new Event("state"));
  }

  #keep() {
    if (this.shown.html) void loaded.then((later) => later.keep(this));
  }

  #end() {
    this.ended = true;
    document.removeEventListener("visibilitychange", this.#onVisibility);
    clearTimeout(this.#reducerTimer);
    this.#waiting = [];
    this.spoilerDelay?.close();
    this.feed.leave(this.match, this);
    this.reducer?.close();
  }
}

/** When the log took a delta, milliseconds after the epoch of its id. @param {string} data */
const acceptedOf = (data) => JSON.parse(data)[DELTA_ACCEPTED];
