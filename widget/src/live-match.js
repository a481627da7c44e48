// @ts-check
/**
 * One match as this page follows it: the tier, and what is shown, for all its elements.
 *
 * Rules
 * -----
 * 1. What is shown never goes back: everything passes `#show`, which compares ids. Another epoch is believed from
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
 *    UNKNOWN_MAX times, and once more when the reader comes back.
 */

import { Refusal, ask } from "./answers.js";
import { elapsedMs, mark } from "./clock.js";
import { Feed } from "./feed.js";
import { Freshness } from "./freshness.js";
import { idOf, isNewer, parts } from "./ids.js";
import { loadWords } from "./languages.js";
import { keepModule } from "./later.js";
import { mayKeep } from "./may-keep.js";
import { Notifications } from "./notifications.js";
import { delayMs } from "./reconnect.js";
import { parseHtml } from "./safe-html.js";
import { SpoilerDelay } from "./spoiler-delay.js";
import {
  ATTRIBUTE_ANNOUNCE,
  ATTRIBUTE_ID,
  ATTRIBUTE_MATCH,
  DELTA_ACCEPTED,
  EVENT_END,
  EVENT_GAP,
  EVENT_HEARTBEAT,
  EVENT_SCORE,
  HTML_TYPE,
  JSON_TYPE,
  KEY_MATCH_ID,
  KEY_LANGUAGE,
  RECEIPT_APPLIED,
  RECEIPT_IN_STEP,
  RECEIPT_NEED_SNAPSHOT,
  RECEIPT_WAITING,
} from "./wire.js";

/** More than any match has; beyond it a snapshot is requested instead. */
const DELTAS_MAX = 1_000;
/** The reducer and the server disagree for good, as during a release: their HTML is right, ours is not. */
const SNAPSHOTS_MAX = 3;
const KEEP_EVERY_MS = 15_000;
/** Changes of one burst that are announced; nobody listens to more at once. */
const ANNOUNCED_MAX = 8;
/** What had happened so long before the page was loaded is not announced. */
const OLD_NEWS_MS = 60_000;
/** A fragment or a snapshot is asked for again after this at the latest: it was announced, so it is there. */
const RETRY_MAX_MS = 2_500;
/** So long the reducer may take before the server's fragment is asked for as well. */
const REDUCER_MS = 3_000;
/** A stream begins with a word on each match that there is. */
const SILENT_MS = 3_000;
/** A match that the origin does not know may begin yet: so many questions, which take some four minutes. */
const UNKNOWN_MAX = 20;

/**
 * @typedef {import("./runtime.js").Runtime} Runtime
 * @typedef {import("./polls.js").MatchFrame} MatchFrame
 * @typedef {{ id: string, html: string, announce?: string, hash?: string, acceptedMs?: number }} Shown
 * @typedef {{ id: string, text: string }} Snapshot
 * @typedef {{ kind: "delta", id: string, data: string } | { kind: "snapshot", snapshot: Snapshot }
 *   | { kind: "reset", id: string } | { kind: "check", frame: MatchFrame }} Update
 *   a check: what a heartbeat says of the server's state
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
  #silentUntil = "";
  #loaded = mark();
  #notifications = new Notifications();

  #started = false;
  #ended = false;
  #pulling = false;
  #wanted = "";
  /** A snapshot is good from this id on. */
  #least = "";
  #isOver = false;
  /** Whether the origin says that there is no such match. */
  #isUnknown = false;
  #isSought = false;
  /** @type {Snapshot | null} */
  #base = null;
  /** @type {{ id: string, data: string }[]} */
  #deltas = [];
  /** Of these, what has come in this task: id and data. @type {[string, string][]} */
  #unfolded = [];
  /** @type {Runtime | null} */
  #runtime = null;
  #snapshots = 0;
  #recovering = false;
  #keptMs = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #reducerTimer;
  #onVisibility = () => void (document.hidden ? this.#keep() : this.#isUnknown && this.#seek(0));

  /**
   * @param {string} base the URL of the origin
   * @param {string} match
   * @param {number} delay seconds by which updates are delayed
   * @param {string} language the tag of one of our languages
   */
  constructor(base, match, delay, language) {
    super();
    this.base = base;
    this.match = match;
    this.language = language;
    this.slot = `${match}@${delay}@${language}`;
    /** @type {SpoilerDelay<Update>} */
    this.delay = new SpoilerDelay(delay * 1_000, (update) => this.#take(update));
    this.feed = Feed.of(base);
    this.freshness = new Freshness(this.feed.clock, delay * 1_000);
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
      if (this.elements.size || this.#ended) return;
      for (const [key, live] of LiveMatch.#all) if (live === this) LiveMatch.#all.delete(key);
      this.#end();
    });
  }

  /** The one element that speaks of this match, in whichever languages the page shows it. */
  get speaker() {
    for (const { base, match, delay, elements } of LiveMatch.#all.values()) {
      if (base === this.base && match === this.match && delay.delayMs === this.delay.delayMs) return [...elements][0];
    }
  }

  static get any() {
    return LiveMatch.#all.size > 0;
  }

  /** @returns {Connection} */
  get connection() {
    if (this.#isOver && !isNewer(this.#wanted, this.shown.id)) return "ended";
    if (this.#isUnknown) return "unknown";
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
    if (this.#started) {
      if (!id && this.shown.id && !this.shown.html) void this.#fill();
      return;
    }
    this.#started = true;
    // What no match can be called would have the stream of all others refused.
    if (!/^[\w-]{1,64}$/.test(this.match)) {
      this.#isUnknown = this.#isSought = true;
      return;
    }
    document.addEventListener("visibilitychange", this.#onVisibility);
    if (asOfMs) this.freshness.begin(asOfMs);
    this.#loaded = mark();
    if (snapshot) this.#base = { id: idOf(JSON.parse(snapshot)), text: snapshot };
    if (id) {
      this.shown = { id, html: "" };
      this.#wanted = id;
    }
    this.feed.follow(this.match, this, id);
    if (mayKeep(this.base)) void this.#showKept();
    if (!id) void this.#seek(SILENT_MS);
  }

  /** What is shown is there in another language, or not at all: have its HTML. */
  fill() {
    if (this.shown.id && !this.shown.html) void this.#fill();
  }

  /**
   * Let the reducer take over.
   *
   * @param {Runtime} runtime
   */
  async takeOver(runtime) {
    const before = this.#runtime;
    if (before === runtime || this.#ended || !this.#started) return;
    this.bootMs = runtime.bootMs;
    try {
      runtime.learn(await loadWords(this.base, this.language));
      const snapshot = this.#base ?? (await this.#untilSnapshot());
      if (snapshot) await this.#restore(runtime, snapshot);
      before?.call({ op: "close", slot: this.slot }).catch(() => {});
    } catch {
      if (!before || this.#runtime !== before) this.#fallBack();
    }
  }

  /** @param {Runtime} runtime */
  uses(runtime) {
    return this.#runtime === runtime;
  }

  /** @param {string} path */
  #url(path) {
    return new URL(path, this.base).href;
  }

  // ---- updates --------------------------------------------------------------------------------------

  /** @param {MatchFrame} frame */
  onFrame(frame) {
    const { event, id, data } = frame;
    if (this.#ended) return;
    if (event === EVENT_SCORE) {
      this.delay.push({ kind: "delta", id, data }, data);
    } else if (event === EVENT_GAP) {
      this.#pushLater({ kind: "reset", id });
    } else if (event === EVENT_HEARTBEAT) {
      this.#pushLater({ kind: "check", frame });
      if (performance.now() - this.#keptMs > KEEP_EVERY_MS) void this.#keep();
    } else if (event === EVENT_END) {
      // Nothing more will come, and what is shown is what there is to know.
      this.#isOver = JSON.parse(data).reason === "ended";
      if (!this.#isOver && !this.shown.id) void this.#seek(0);
      this.#changed();
    }
  }

  onConnection() {
    this.#changed();
  }

  /** The first state of a match is shown at once: a page that shows nothing has no broadcast beside it. @param {Update} update */
  #pushLater(update) {
    if (this.shown.id) this.delay.push(update);
    else this.#take(update);
  }

  /** An update whose delay is over. @param {Update} update */
  #take(update) {
    if (this.#ended) return;
    if (update.kind === "snapshot") {
      void this.#adopt(update.snapshot);
    } else if (update.kind === "reset") {
      this.#onGap(update.id);
    } else if (update.kind === "check") {
      this.#check(update.frame);
    } else {
      const { id, data } = update;
      this.#deltas.push({ id, data });
      if (this.#deltas.length > DELTAS_MAX) {
        this.#deltas = [];
        this.#base = null;
      }
      const acceptedMs = parts(id)[0] + (acceptedOf(data) ?? 0);
      this.freshness.hear(id, acceptedMs, this.shown.id);
      if (isNewer(id, this.#wanted)) this.#wanted = id;
      // Deltas that arrive or are released together are shown together: a burst, or a goal with its retraction.
      if (!this.#unfolded.length) queueMicrotask(() => this.#fold());
      this.#unfolded.push([id, data]);
    }
  }

  /** What led to this id is not to be had: go on from there. @param {string} id */
  #onGap(id) {
    const isRebuilt = Boolean(this.shown.id) && parts(id)[0] !== parts(this.shown.id)[0];
    this.tier ||= 1;
    if (!isRebuilt && !isNewer(id, this.shown.id)) return;
    // What led here cannot be had; of a page that was loaded long ago it is not news.
    if (isRebuilt || this.#isOldPage) this.#silentUntil = id;
    // A log of another epoch is another order of events; nothing of the old one can be compared with it.
    if (isRebuilt) this.shown = { id: "", html: "" };
    this.#wanted = this.#least = id;
    this.#deltas = [];
    this.#base = null;
    this.#due(id);
    if (this.#runtime) void this.#recover();
    else void this.#pull();
  }

  /** A heartbeat or a poll's answer. @param {MatchFrame} frame */
  #check({ id, hash, serverMs = 0, snapshot }) {
    this.tier ||= 1;
    const before = this.connection;
    this.freshness.hear(id, serverMs, this.shown.id);
    const isRebuilt = Boolean(this.shown.id) && isNewer(id, this.shown.id) && parts(id)[0] !== parts(this.shown.id)[0];
    if (isRebuilt) {
      this.#onGap(id);
    } else if (snapshot && isNewer(id, this.#wanted)) {
      if (this.#isOldPage) this.#silentUntil = id;
      // A poll knows no deltas. The server's HTML comes first; the reducer goes on from the snapshot.
      this.#wanted = this.#least = id;
      if (this.#runtime) void this.#adopt({ id, text: snapshot });
      else {
        this.#base = { id, text: snapshot };
        this.#deltas = [];
        void this.#pull();
      }
    } else if (isNewer(id, this.#wanted)) {
      this.#due(id);
    } else if (this.#runtime && hash) {
      this.#ask({ op: "check", id, hash });
    } else if (this.shown.id === id && hash) {
      this.hash = hash;
    }
    if (before !== this.connection) this.#changed();
  }

  /** An id was announced: if nobody shows it soon, the server's fragment is asked for. @param {string} id */
  #due(id) {
    clearTimeout(this.#reducerTimer);
    this.#reducerTimer = setTimeout(() => {
      if (this.#ended || !isNewer(id, this.shown.id)) return;
      if (isNewer(id, this.#wanted)) this.#wanted = id;
      if (this.#runtime) void this.#recover();
      else void this.#pull();
    }, REDUCER_MS);
  }

  #fold() {
    const deltas = this.#unfolded.splice(0);
    if (this.#runtime && deltas.length) this.#ask({ op: "receive", deltas });
    if (this.tier < 2) void this.#pull();
  }

  /** Ask for the snapshot and go on from it, however long that takes. */
  async #resync() {
    const snapshot = await this.#untilSnapshot();
    if (!snapshot) return;
    // The first state of a match is shown at once: a page that shows nothing yet has no broadcast beside it.
    if (this.shown.id) this.delay.push({ kind: "snapshot", snapshot });
    else await this.#adopt(snapshot);
  }

  /** @returns {Promise<Snapshot | null>} null if nobody wants it any more */
  async #untilSnapshot() {
    for (let attempt = 0; !this.#ended; attempt++) {
      try {
        return await this.#fetchSnapshot();
      } catch (error) {
        await this.#pause(attempt, error);
      }
    }
    return null;
  }

  /** @param {Snapshot} snapshot */
  async #adopt(snapshot) {
    this.#base = snapshot;
    this.#deltas = this.#deltas.filter(({ id }) => isNewer(id, snapshot.id));
    if (isNewer(snapshot.id, this.#wanted)) this.#wanted = snapshot.id;
    if (this.#runtime) {
      const runtime = this.#runtime;
      this.#runtime = null;
      await this.#restore(runtime, snapshot).catch(() => this.#fallBack());
    }
    this.#recovering = false;
    if (this.tier < 2) void this.#pull();
  }

  /** @returns {Promise<Snapshot>} */
  async #fetchSnapshot() {
    const url = this.#url(`api/match/${this.match}/state`);
    for (const cache of /** @type {const} */ (["default", "reload"])) {
      const { text } = await ask(url, JSON_TYPE, { cache });
      const state = JSON.parse(text);
      const id = idOf(state);
      const least = this.#least || this.shown.id;
      const isStale = least && (parts(id)[0] !== parts(least)[0] || isNewer(least, id));
      if (state[KEY_MATCH_ID] === this.match && !isStale) return { id, text };
    }
    throw new Refusal(0, null); // still older, past the caches, than what was announced
  }

  /**
   * @param {number} attempt
   * @param {unknown} error
   * @param {number} [maxMs]
   */
  #pause(attempt, error, maxMs = RETRY_MAX_MS) {
    const hintMs = error instanceof Refusal ? error.hintMs : null;
    const waitMs = Math.min(delayMs(attempt, Math.random()), maxMs);
    return new Promise((resolve) => setTimeout(resolve, delayMs(0, 0, hintMs) + waitMs));
  }

  /**
   * Ask whether there is such a match, for as long as nothing was heard of it.
   *
   * @param {number} waitMs before the first question
   */
  async #seek(waitMs) {
    if (this.#isSought) return;
    this.#isSought = true;
    const isSilent = () => !this.#ended && !this.#wanted;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    for (let unknown = 0, attempt = 0; unknown < UNKNOWN_MAX && isSilent(); attempt++) {
      try {
        const snapshot = await this.#fetchSnapshot();
        if (!isSilent()) break;
        if (this.#isUnknown) this.feed.follow(this.match, this, "");
        this.#isUnknown = false;
        await this.#adopt(snapshot);
        break;
      } catch (error) {
        if (!isSilent()) break;
        if (/** @type {Refusal} */ (error).status === 404) {
          unknown++;
          this.feed.leave(this.match, this); // which would ask for it for ever
          this.#isUnknown = true;
          this.#changed();
        }
        await this.#pause(attempt, error, Infinity);
      }
    }
    this.#isSought = false;
  }

  // ---- tier 1 ----------------------------------------------------------------------------------------

  async #pull() {
    if (this.#pulling) return;
    this.#pulling = true;
    let attempt = 0;
    while (!this.#ended && this.tier < 2 && isNewer(this.#wanted, this.shown.id)) {
      const id = this.#wanted;
      try {
        const news = this.#news(this.shown.id, id);
        const earlier = news.filter((of) => of !== id).map((of) => this.#announcementOf(of));
        const html = await this.#fragment(id);
        const own = news.includes(id) ? await this.#announcementOf(id, html) : "";
        if (this.shown.id) {
          await Promise.all(earlier); // they are read for the announcements, and have the notifications too
          const unread = this.#notifications.unread(this.shown.id, id, this.#deltas);
          await Promise.all(unread.map((of) => this.#fragment(of).catch(() => "")));
        }
        const announce = [...(await Promise.all(earlier)), own].filter(Boolean).join(" ");
        this.tier ||= 1;
        this.#show({ id, html, announce, acceptedMs: this.#acceptedMs(id) });
        attempt = 0;
      } catch (error) {
        // No network, or an origin that is a moment behind another: the next attempt will show.
        if (error instanceof Refusal && error.status === 410) {
          const snapshot = await this.#fetchSnapshot().catch(() => null);
          if (snapshot) this.#wanted = snapshot.id;
        }
        await this.#pause(attempt++, error);
      }
    }
    this.#pulling = false;
  }

  /**
   * The scoreboard at an id. Whoever answers, it must be that id's.
   *
   * @param {string} id
   */
  async #fragment(id) {
    const url = new URL(this.#url(`match/${this.match}/fragment/${id}`));
    if (this.language !== "en") url.searchParams.set(KEY_LANGUAGE, this.language);
    const { text } = await ask(url.href, HTML_TYPE, { limitMs: 6_000 });
    if (!text.includes(`${ATTRIBUTE_ID}="${id}" ${ATTRIBUTE_MATCH}="${this.match}"`)) throw new Refusal(0, null);
    this.#notifications.read(id, text);
    return text;
  }

  /** What the log took before is no news; UTC milliseconds by the server's clock. */
  get #newsFromMs() {
    return this.feed.clock.nowMs - elapsedMs(this.#loaded) - OLD_NEWS_MS;
  }

  /** Whether what changed before the first contact may be old. */
  get #isOldPage() {
    return !this.freshness.contacted && this.freshness.asOfMs < this.#newsFromMs;
  }

  /**
   * The ids after one and up to another that may be announced, whoever brings them.
   *
   * @param {string} before what is shown; "" for nothing, after which nothing is news
   * @param {string} after
   */
  #news(before, after) {
    const [[epoch, from], [later, to]] = [parts(before), parts(after)];
    if (!before || epoch !== later) return [];
    const ids = [];
    for (let seq = Math.max(from, to - ANNOUNCED_MAX) + 1; seq <= to; seq++) ids.push(`${epoch}-${seq}`);
    return ids.filter((id) => isNewer(id, this.#silentUntil) && !((this.#acceptedMs(id) ?? Infinity) < this.#newsFromMs));
  }

  /**
   * What a change says to a screen reader; "" if it cannot be had now.
   *
   * @param {string} id
   * @param {string} [html] the scoreboard at that id
   */
  async #announcementOf(id, html) {
    const text = html ?? (await this.#fragment(id).catch(() => ""));
    return parseHtml(text).querySelector(`[${ATTRIBUTE_ANNOUNCE}]`)?.getAttribute(ATTRIBUTE_ANNOUNCE) ?? "";
  }

  /** The HTML of what is shown, which so far only the server's page has. */
  async #fill() {
    for (let attempt = 0; !this.#ended; attempt++) {
      const { id } = this.shown;
      const html = await this.#fragment(id).catch(() => "");
      if (this.shown.html) return; // a change has brought it
      if (html && this.shown.id === id) {
        this.shown.html = html;
        this.dispatchEvent(new CustomEvent("show", { detail: { moved: false } }));
        return;
      }
      await this.#pause(attempt, null);
    }
  }

  /** When the log took a delta, if it is one we have. @param {string} id */
  #acceptedMs(id) {
    const delta = this.#deltas.find((received) => received.id === id);
    return delta && parts(id)[0] + (acceptedOf(delta.data) ?? 0);
  }

  // ---- tier 2 ----------------------------------------------------------------------------------------

  /**
   * @param {Runtime} runtime
   * @param {Snapshot} snapshot
   */
  async #restore(runtime, snapshot) {
    const { slot, match, language } = this;
    const reply = await runtime.call({ op: "restore", slot, match, language, snapshot: snapshot.text });
    if (this.#ended) return;
    if (reply.receipt !== RECEIPT_APPLIED) throw new Error(reply.reason);
    // From here to the end of this task nothing else runs: no delta is missed and none comes between.
    this.#runtime = runtime;
    this.#unfolded = [];
    const later = this.#deltas.filter(({ id }) => isNewer(id, snapshot.id));
    if (later.length) {
      this.#ask({ op: "receive", deltas: later.map(({ id, data }) => [id, data]) }, snapshot.id);
    } else {
      this.#onReply(reply, snapshot.id);
    }
  }

  /**
   * @param {object} request
   * @param {string} [restored] these are the deltas since the snapshot of this id
   */
  #ask(request, restored = "") {
    const runtime = this.#runtime;
    if (!runtime) return;
    const spoken = isNewer(this.#silentUntil, this.shown.id) ? this.#silentUntil : this.shown.id;
    const context = { slot: this.slot, match: this.match, spoken, spoken_ms: this.#newsFromMs };
    runtime.call({ ...context, ...request }).then(
      (reply) => this.#runtime === runtime && this.#onReply(reply, restored),
      () => this.#runtime === runtime && this.#fallBack(),
    );
  }

  /**
   * @param {any} reply
   * @param {string} restored the id of the snapshot that it was restored from just now; "" if it was not
   */
  #onReply(reply, restored) {
    if (this.#ended) return;
    if (reply.notifications) this.#notifications.add(reply.notifications);
    if (reply.receipt === RECEIPT_NEED_SNAPSHOT || (restored && isNewer(this.shown.id, reply.id))) {
      void this.#recover();
    } else if (reply.receipt === RECEIPT_WAITING) {
      // What comes is in order, so a delta that was left out is lost.
      if (this.#deltas.some(({ id }) => isNewer(id, reply.id))) void this.#recover();
    } else if (reply.receipt === RECEIPT_IN_STEP) {
      this.#snapshots = 0;
    } else if (reply.html && !isNewer(this.shown.id, reply.id)) {
      this.tier = this.#runtime?.tier ?? 2;
      this.hash = reply.hash;
      const acceptedMs = restored ? undefined : reply.accepted_ms;
      void this.#showReply(reply, acceptedMs, restored);
    }
  }

  /**
   * @param {any} reply
   * @param {number | undefined} acceptedMs
   * @param {string} restored
   */
  async #showReply(reply, acceptedMs, restored) {
    // The reducer has not seen the steps that led to a snapshot, from a poll or in place of lost deltas.
    const unseen = restored ? this.#news(this.shown.id, restored).map((id) => this.#announcementOf(id)) : [];
    const earlier = unseen.length ? await Promise.all(unseen) : [];
    const announce = this.shown.id ? [...earlier, reply.announce].filter(Boolean).join(" ") : "";
    this.#show({ id: reply.id, html: reply.html, announce, acceptedMs });
  }

  async #recover() {
    if (this.#recovering) return; // replies that were on their way ask for the same once more
    this.#recovering = true;
    this.tier = 1;
    this.#changed();
    void this.#pull();
    if (++this.#snapshots > SNAPSHOTS_MAX) this.#fallBack();
    else await this.#resync(); // which ends in #adopt
  }

  /** Go on without the reducer. */
  #fallBack() {
    this.#runtime = null;
    if (this.tier >= 2) this.tier = 1;
    this.#changed();
    void this.#pull();
  }

  // ---- what is shown ---------------------------------------------------------------------------------

  /** @param {Shown} shown */
  #show(shown) {
    if (isNewer(this.shown.id, shown.id)) return;
    const moved = shown.id !== this.shown.id;
    const notifications = this.#notifications.take(this.shown.id, shown.id, this.delay.delayMs > 0);
    this.shown = shown;
    this.freshness.show(shown.id);
    this.dispatchEvent(new CustomEvent("show", { detail: { moved, notifications } }));
    if (shown.acceptedMs && moved) this.latencyMs = Math.max(0, this.feed.clock.nowMs - shown.acceptedMs);
    this.#changed();
    if (moved) void this.#keep();
  }

  #changed() {
    if (!this.#ended) this.dispatchEvent(new Event("state"));
  }

  async #keep() {
    if (!mayKeep(this.base) || !this.shown.html) return;
    this.#keptMs = performance.now();
    const { shown, hash } = this;
    const at = this.freshness.asOfMs;
    const runtime = this.tier >= 2 ? this.#runtime : null;
    const reply = await runtime?.call({ op: "snapshot", slot: this.slot, match: this.match }).catch(() => null);
    const snapshot = reply?.id === shown.id ? reply.snapshot : "";
    const keep = await keepModule().catch(() => null);
    await keep?.write(this.base, this.match, this.language, { id: shown.id, html: shown.html, hash, at, snapshot });
  }

  /** A page out of a cache is older than what this browser last saw. */
  async #showKept() {
    const keep = await keepModule().catch(() => null);
    const kept = await keep?.read(this.base, this.match, this.language);
    if (!kept || this.#ended || this.freshness.contacted) return;
    if (kept.id === this.shown.id) this.freshness.begin(kept.at);
    if (!isNewer(kept.id, this.shown.id)) return;
    this.freshness.asOfMs = 0;
    this.freshness.begin(kept.at);
    this.#wanted = kept.id;
    this.#base = kept.snapshot ? { id: kept.id, text: kept.snapshot } : null;
    this.#show({ id: kept.id, html: kept.html, hash: kept.hash, announce: "" });
  }

  #end() {
    this.#ended = true;
    document.removeEventListener("visibilitychange", this.#onVisibility);
    clearTimeout(this.#reducerTimer);
    this.delay.close();
    this.feed.leave(this.match, this);
    this.#runtime?.call({ op: "close", slot: this.slot }).catch(() => {});
    this.#runtime = null;
  }
}

/** When the log took a delta, milliseconds after the epoch of its id. @param {string} data */
const acceptedOf = (data) => JSON.parse(data)[DELTA_ACCEPTED];
