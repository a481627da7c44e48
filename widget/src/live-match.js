// @ts-check
/**
 * One match as this page follows it: the stream, the tier, and what is shown, for all its elements.
 *
 * Rules
 * -----
 * 1. What is shown never goes back in its epoch: everything passes `#show`, which compares ids.
 * 2. Tier 1 asks for the fragment of the newest id it has heard of, one request at a time. A burst costs
 *    two requests, and no answer can overtake another.
 * 3. Tier 2 takes over when the reducer, restored from a snapshot and given every delta since, is at
 *    the id shown or after it; until then tier 1 goes on. Nothing is lost in between: deltas are buffered
 *    from the first one on, and go to the reducer in the same task that attaches it.
 * 4. Whenever the reducer may be wrong (another hash, a missing delta, an unreadable one), tier 1 takes over
 *    before the snapshot is requested. After SNAPSHOTS_MAX snapshots in a row without success it stays.
 */

import { idOf, isNewer, parts } from "./ids.js";
import * as keep from "./keep.js";
import { pause } from "./reconnect.js";
import { SpoilerDelay } from "./spoiler-delay.js";
import { Stream } from "./stream.js";
import {
  DELTA_ACCEPTED,
  EVENT_GAP,
  EVENT_HEARTBEAT,
  EVENT_SCORE,
  KEY_HASH,
  KEY_SERVER_MS,
  RECEIPT_APPLIED,
  RECEIPT_IN_STEP,
  RECEIPT_NEED_SNAPSHOT,
  RECEIPT_WAITING,
} from "./wire.js";

/** More than any match has; beyond it a snapshot is requested instead. */
const DELTAS_MAX = 1_000;
/** The reducer and the server disagree for good, as during a release: their HTML is right, ours is not. */
const SNAPSHOTS_MAX = 3;
/** A reader who comes back within this time finds the page as it was. */
const HIDDEN_MS = 300_000;
const KEEP_EVERY_MS = 15_000;
const CLOCK_SAMPLES = 8;

/**
 * @typedef {import("./runtime.js").Runtime} Runtime
 * @typedef {import("./stream.js").Frame} Frame
 * @typedef {{ id: string, html: string, announce?: string, hash?: string, acceptedMs?: number }} Shown
 * @typedef {{ id: string, text: string }} Snapshot
 * @typedef {{ kind: "delta", id: string, data: string } | { kind: "snapshot", snapshot: Snapshot }
 *   | { kind: "check", id: string, hash: string }} Update a check: what a heartbeat says of the server's state
 * @typedef {"connecting" | "open" | "waiting" | "offline" | "closed"} Connection
 */

export class LiveMatch extends EventTarget {
  /** @type {Map<string, LiveMatch>} */
  static #all = new Map();

  /** 0: what the server rendered; 1: its fragments; 2: the reducer in this browser. */
  tier = 0;
  /** @type {Shown} */
  shown = { id: "", html: "" };
  hash = "";
  /** @type {number | null} */
  latencyMs = null;
  /** @type {number | null} */
  bootMs = null;
  /** Until when what is shown was known to be the newest, UTC milliseconds. */
  contactMs = performance.timeOrigin;
  /** @type {Set<object>} The elements; the first speaks. */
  elements = new Set();

  #started = false;
  #ended = false;
  #pulling = false;
  #wanted = "";
  #streamId = "";
  /** Heartbeats in a row with a newer id than the last delta received. */
  #behind = 0;
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
  /** @type {number[]} Server's clock less ours, by the last heartbeats, in milliseconds. */
  #offsets = [];
  #keptMs = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hiddenTimer;
  #listening = new AbortController();

  /**
   * @param {string} base the URL of the origin
   * @param {string} match
   * @param {number} delay seconds by which updates are delayed
   */
  constructor(base, match, delay) {
    super();
    this.base = base;
    this.match = match;
    this.slot = delay ? `${match}@${delay}` : match;
    /** @type {SpoilerDelay<Update>} */
    this.delay = new SpoilerDelay(delay * 1_000, (update) => this.#take(update));
    this.stream = new Stream(
      this.#url(`stream/${match}`),
      () => this.#streamId,
      (frame) => this.#onFrame(frame),
      () => this.#onConnection(),
    );
  }

  /**
   * The match for an element; the same one for every element that asks alike.
   *
   * @param {string} base
   * @param {string} match
   * @param {number} delay
   * @param {object} element
   */
  static join(base, match, delay, element) {
    const key = [base, match, delay].join(" ");
    let live = LiveMatch.#all.get(key);
    if (!live) LiveMatch.#all.set(key, (live = new LiveMatch(base, match, delay)));
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

  static get any() {
    return LiveMatch.#all.size > 0;
  }

  /** @returns {Connection} */
  get connection() {
    const { connection } = this.stream;
    return connection === "waiting" && !navigator.onLine ? "offline" : connection;
  }

  /** Server's clock less ours. Transit only ever makes a sample too small. */
  get clockOffsetMs() {
    return this.#offsets.length ? Math.max(...this.#offsets) : 0;
  }

  /**
   * Begin to follow. The first element's start counts; a later one that has nothing to show gets it.
   *
   * @param {string} id what the server rendered into the page; "" for nothing
   * @param {string} snapshot the page's inline snapshot; "" for none
   */
  start(id, snapshot) {
    if (this.#started) {
      if (!id && this.shown.id && !this.shown.html) void this.#fill();
      return;
    }
    this.#started = true;
    this.#listen();
    if (snapshot) {
      this.#base = { id: idOf(JSON.parse(snapshot)), text: snapshot };
    }
    if (id) {
      this.shown = { id, html: "" };
      this.#wanted = this.#streamId = id;
      this.stream.open();
    } else {
      void this.#resync();
    }
    if (keep.mayKeep(this.base)) void this.#showKept();
  }

  /**
   * Let the reducer take over.
   *
   * @param {Runtime} runtime
   */
  async takeOver(runtime) {
    if (this.#runtime || this.#ended || !this.#started) return;
    this.bootMs = runtime.bootMs;
    try {
      const snapshot = this.#base ?? (await this.#untilSnapshot());
      if (snapshot) await this.#restore(runtime, snapshot);
    } catch {
      this.#fallBack();
    }
  }

  /** @param {string} path */
  #url(path) {
    return new URL(path, this.base).href;
  }

  // ---- updates --------------------------------------------------------------------------------------

  /** @param {Frame} frame */
  #onFrame({ event, id, data }) {
    this.contactMs = Date.now();
    if (event === EVENT_SCORE) {
      this.#streamId = id;
      this.#behind = 0;
      this.delay.push({ kind: "delta", id, data }, data);
    } else if (event === EVENT_GAP) {
      this.#streamId = idOf(JSON.parse(data));
      this.#behind = 0;
      if (this.#streamId !== this.shown.id) void this.#resync();
    } else if (event === EVENT_HEARTBEAT) {
      const heartbeat = JSON.parse(data);
      this.#offsets = [...this.#offsets, heartbeat[KEY_SERVER_MS] - Date.now()].slice(-CLOCK_SAMPLES);
      const head = idOf(heartbeat);
      // One heartbeat may overtake a delta that is on its way; after two in a row the delta is lost.
      this.#behind = isNewer(head, this.#streamId) ? this.#behind + 1 : 0;
      if (this.#behind >= 2) this.stream.restart();
      this.delay.push({ kind: "check", id: head, hash: heartbeat[KEY_HASH] });
      if (Date.now() - this.#keptMs > KEEP_EVERY_MS) void this.#keep();
    }
  }

  #onConnection() {
    if (this.stream.connection === "open") {
      this.contactMs = Date.now();
      if (this.tier === 0) this.tier = 1;
    }
    this.#changed();
  }

  /** An update whose delay is over. @param {Update} update */
  #take(update) {
    if (this.#ended) return;
    if (update.kind === "snapshot") {
      void this.#adopt(update.snapshot);
    } else if (update.kind === "check") {
      if (this.#runtime) this.#ask({ op: "check", id: update.id, hash: update.hash });
      else if (this.shown.id === update.id) this.hash = update.hash;
    } else {
      const { id, data } = update;
      this.#deltas.push({ id, data });
      if (this.#deltas.length > DELTAS_MAX) {
        this.#deltas = [];
        this.#base = null;
      }
      if (isNewer(id, this.#wanted)) this.#wanted = id;
      // Deltas that arrive or are released together are shown together: a burst, or a goal with its retraction.
      if (!this.#unfolded.length) queueMicrotask(() => this.#fold());
      this.#unfolded.push([id, data]);
    }
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
      } catch {
        await pause(attempt);
      }
    }
    return null;
  }

  /** @param {Snapshot} snapshot */
  async #adopt(snapshot) {
    this.#base = snapshot;
    this.#deltas = this.#deltas.filter(({ id }) => isNewer(id, snapshot.id));
    const [epoch] = parts(snapshot.id);
    // A log of another epoch is another order of events; nothing of the old one can be compared with it.
    if (this.shown.id && parts(this.shown.id)[0] !== epoch) this.shown = { id: "", html: "" };
    if (isNewer(snapshot.id, this.#wanted) || parts(this.#wanted)[0] !== epoch) this.#wanted = snapshot.id;
    if (!this.#streamId) this.#streamId = snapshot.id;
    this.stream.open();
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
    const response = await fetch(this.#url(`api/match/${this.match}/state`), { credentials: "omit" });
    if (!response.ok) throw new Error(`state: ${response.status}`);
    const text = await response.text();
    return { id: idOf(JSON.parse(text)), text };
  }

  // ---- tier 1 ----------------------------------------------------------------------------------------

  async #pull() {
    if (this.#pulling) return;
    this.#pulling = true;
    let attempt = 0;
    while (!this.#ended && this.tier < 2 && isNewer(this.#wanted, this.shown.id)) {
      const id = this.#wanted;
      try {
        const response = await fetch(this.#url(`match/${this.match}/fragment/${id}`), { credentials: "omit" });
        if (response.ok) {
          const html = await response.text();
          this.tier ||= 1;
          this.#show({ id, html, acceptedMs: this.#acceptedMs(id) });
          attempt = 0;
          continue;
        }
        if (response.status === 410) this.#wanted = (await this.#fetchSnapshot()).id;
      } catch {
        // No network, or an origin that is a moment behind another: the next attempt will show.
      }
      await pause(attempt++);
    }
    this.#pulling = false;
  }

  /** The HTML of what is shown, which so far only the server's page has. */
  async #fill() {
    const { id } = this.shown;
    const url = this.#url(`match/${this.match}/fragment/${id}`);
    const response = await fetch(url, { credentials: "omit" }).catch(() => null);
    if (!response?.ok) return; // the next change brings it
    const html = await response.text();
    if (this.shown.id !== id || this.shown.html) return;
    this.shown.html = html;
    this.dispatchEvent(new CustomEvent("show", { detail: { moved: false } }));
  }

  /** When the log took a delta, if it is one we have. @param {string} id */
  #acceptedMs(id) {
    const delta = this.#deltas.find((received) => received.id === id);
    return delta && parts(id)[0] + (JSON.parse(delta.data)[DELTA_ACCEPTED] ?? 0);
  }

  // ---- tier 2 ----------------------------------------------------------------------------------------

  /**
   * @param {Runtime} runtime
   * @param {Snapshot} snapshot
   */
  async #restore(runtime, snapshot) {
    const reply = await runtime.call({ op: "restore", slot: this.slot, match: this.match, snapshot: snapshot.text });
    if (this.#ended) return;
    if (reply.receipt !== RECEIPT_APPLIED) throw new Error(reply.reason);
    // From here to the end of this task nothing else runs: no delta is missed and none comes between.
    this.#runtime = runtime;
    this.#unfolded = [];
    const later = this.#deltas.filter(({ id }) => isNewer(id, snapshot.id));
    if (later.length) {
      this.#ask({ op: "receive", deltas: later.map(({ id, data }) => [id, data]) }, true);
    } else {
      this.#onReply(reply, true);
    }
  }

  /**
   * @param {object} request
   * @param {boolean} [restored] these are the deltas since the snapshot
   */
  #ask(request, restored = false) {
    const runtime = this.#runtime;
    if (!runtime) return;
    runtime.call({ slot: this.slot, match: this.match, ...request }).then(
      (reply) => this.#runtime === runtime && this.#onReply(reply, restored),
      () => this.#runtime === runtime && this.#fallBack(),
    );
  }

  /**
   * @param {any} reply
   * @param {boolean} restored
   */
  #onReply(reply, restored) {
    if (this.#ended) return;
    if (reply.receipt === RECEIPT_NEED_SNAPSHOT || (restored && isNewer(this.shown.id, reply.id))) {
      void this.#recover();
    } else if (reply.receipt === RECEIPT_WAITING) {
      // A stream is in order, so a delta that it left out is lost. Reconnect from the last one we have.
      if (isNewer(this.#streamId, reply.id)) {
        this.#streamId = reply.id;
        this.stream.restart();
      }
    } else if (reply.receipt === RECEIPT_IN_STEP) {
      this.#snapshots = 0;
    } else if (reply.html && !isNewer(this.shown.id, reply.id)) {
      this.tier = 2;
      this.hash = reply.hash;
      const acceptedMs = restored ? undefined : reply.accepted_ms;
      this.#show({ id: reply.id, html: reply.html, announce: reply.announce, acceptedMs });
    }
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
    if (this.tier === 2) this.tier = 1;
    this.#changed();
    void this.#pull();
  }

  // ---- what is shown ---------------------------------------------------------------------------------

  /** @param {Shown} shown */
  #show(shown) {
    if (isNewer(this.shown.id, shown.id)) return;
    const moved = shown.id !== this.shown.id;
    this.shown = shown;
    this.dispatchEvent(new CustomEvent("show", { detail: { moved } }));
    if (shown.acceptedMs && moved) this.latencyMs = Date.now() + this.clockOffsetMs - shown.acceptedMs;
    this.#changed();
    if (moved) void this.#keep();
  }

  #changed() {
    if (!this.#ended) this.dispatchEvent(new Event("state"));
  }

  // ---- the page --------------------------------------------------------------------------------------

  #listen() {
    const { signal } = this.#listening;
    addEventListener("online", () => this.stream.wake(), { signal });
    // The connection may be dead, or local and quite alive: a new one finds out.
    addEventListener("offline", () => this.stream.restart(), { signal });
    // An open connection keeps a page out of the back/forward cache.
    addEventListener("pagehide", () => this.stream.close(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.#streamId && this.stream.wake(), { signal });
    document.addEventListener(
      "visibilitychange",
      () => {
        clearTimeout(this.#hiddenTimer);
        if (document.hidden) {
          void this.#keep();
          this.#hiddenTimer = setTimeout(() => this.stream.close(), HIDDEN_MS);
        } else if (this.#streamId) {
          this.stream.wake();
        }
      },
      { signal },
    );
  }

  async #keep() {
    if (!keep.mayKeep(this.base) || !this.shown.html) return;
    this.#keptMs = Date.now();
    const { shown, hash, contactMs: at } = this;
    const runtime = this.tier === 2 ? this.#runtime : null;
    const reply = await runtime?.call({ op: "snapshot", slot: this.slot, match: this.match }).catch(() => null);
    const snapshot = reply?.id === shown.id ? reply.snapshot : "";
    await keep.write(this.match, { id: shown.id, html: shown.html, hash, at, snapshot });
  }

  /** A page out of a cache is older than what this browser last saw. */
  async #showKept() {
    const kept = await keep.read(this.match);
    if (!kept || this.#ended || this.stream.connection === "open") return;
    if (kept.id === this.shown.id) this.contactMs = Math.min(this.contactMs, kept.at);
    if (!isNewer(kept.id, this.shown.id)) return;
    this.contactMs = kept.at;
    this.#wanted = this.#streamId = kept.id;
    this.#base = kept.snapshot ? { id: kept.id, text: kept.snapshot } : null;
    this.#show({ id: kept.id, html: kept.html, hash: kept.hash });
    this.stream.open();
  }

  #end() {
    this.#ended = true;
    this.#listening.abort();
    clearTimeout(this.#hiddenTimer);
    this.delay.close();
    this.stream.close();
    this.#runtime?.call({ op: "close", slot: this.slot }).catch(() => {});
    this.#runtime = null;
  }
}
