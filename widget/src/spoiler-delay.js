// @ts-check
/**
 * The spoiler delay: what comes waits, so that a reader beside a late broadcast sees nothing ahead of it. Only elements
 * with a delay load this file.
 *
 * A delta is released once it is as old as the delay: by when the log took it and the server's clock, and at the latest
 * by when it came. An event that is taken back while it waits is never shown as standing: it and all that came after it
 * wait until the retraction may be shown, and are released together. shared_state/spoiler_delay.py has the same rule.
 *
 * What cannot be held as deltas (a gap, a poll's newer state) the server is asked for: it renders as of then.
 */

import { isNewer, parts } from "./ids.js";
import { DELTA_ACCEPTED, DELTA_EVENT_ID, DELTA_OP, DELTA_REV, EVENT_GAP, EVENT_HEARTBEAT, EVENT_SCORE, OP_AMEND, OP_RETRACT } from "./wire.js";

/** What the server shows as of then is asked for so often until it has come to an id. */
const AGAIN_MS = 5_000;
/** Beyond it timers wait in vain; only the order of what waits counts. */
const TIMER_MAX_MS = 60_000;

/**
 * @typedef {import("./polls.js").MatchFrame} MatchFrame
 * @typedef {{ id: string, text: string }} Snapshot
 * @typedef {{ [DELTA_EVENT_ID]: string, [DELTA_OP]?: string, [DELTA_REV]?: number }} Change a delta, as far as it is read here
 */

/** Which events count, by the deltas. shared_state/corrections.py has the rules. */
class Records {
  /** The revision of the body and of the tombstone in force. @type {Map<string, { body: number | null, tombstone: number | null }>} */
  #of = new Map();

  /** @param {(eventId: string, op: string) => boolean} countsAlready of an event that no delta has named yet */
  constructor(countsAlready) {
    this.countsAlready = countsAlready;
  }

  /** @param {Change} change @returns {[boolean, boolean]} whether the event counted before, and whether it does now */
  apply({ [DELTA_EVENT_ID]: eventId, [DELTA_OP]: op = "", [DELTA_REV]: rev = 1 }) {
    let record = this.#of.get(eventId);
    if (!record) {
      record = { body: this.countsAlready(eventId, op) ? -1 : null, tombstone: null };
      this.#of.set(eventId, record);
    }
    const counted = record.body !== null && record.tombstone === null;
    if (op === OP_RETRACT) {
      if ((record.body ?? -1) <= rev) record.tombstone = Math.max(record.tombstone ?? 0, rev);
    } else if (record.body === null || rev > record.body) {
      record.body = rev;
      if (record.tombstone !== null && record.tombstone < rev) record.tombstone = null;
    }
    return [counted, record.body !== null && record.tombstone === null];
  }
}

/**
 * What waits, in order, without a clock of its own.
 *
 * @template T
 */
export class Holding {
  /** @type {{ item: T, eventId: string }[]} */
  #waiting = [];
  /** The number of the first that waits. */
  #first = 0;
  /** By event, with which number it came to count. @type {Map<string, number>} */
  #since = new Map();
  /** What waits for one another: from which number to which. @type {[number, number][]} */
  #spans = [];

  /**
   * @param {(item: T) => number} dueMs when an item may be released, were it alone
   * @param {(eventId: string, op: string) => boolean} countsAlready
   */
  constructor(dueMs, countsAlready) {
    this.dueMs = dueMs;
    this.records = new Records(countsAlready);
  }

  /** @param {T} item @param {Change} [change] if it is a delta */
  add(item, change) {
    const number = this.#first + this.#waiting.length;
    const eventId = change?.[DELTA_EVENT_ID] ?? "";
    this.#waiting.push({ item, eventId });
    if (!change) return;
    const [counted, counts] = this.records.apply(change);
    if (counts && !counted) this.#since.set(eventId, number);
    if (counts || !counted) return;
    let first = this.#since.get(eventId) ?? -1;
    this.#since.delete(eventId);
    if (first < this.#first) return; // it was shown
    // A retraction that has to wait longer makes what it takes back wait longer, too.
    for (const [earlier, until] of [...this.#spans].reverse()) {
      if (until < first) break;
      first = Math.min(first, earlier);
    }
    this.#spans.push([first, number]);
  }

  /** When the first may be released; Infinity for nothing. */
  get nextMs() {
    return this.#schedule()[0] ?? Infinity;
  }

  /** @param {number} nowMs @returns {T[]} what may be shown, which waits no more */
  release(nowMs) {
    const due = this.#schedule();
    let count = due.length;
    while (count && due[count - 1] > nowMs) count--;
    this.#first += count;
    this.#spans = this.#spans.filter(([, until]) => until >= this.#first);
    return this.#waiting.splice(0, count).map(({ item }) => item);
  }

  clear() {
    this.release(Infinity);
  }

  /** When each may be released. */
  #schedule() {
    /** @type {number[]} */
    const due = [];
    // Never before one that waits already: a delta fits only after the ones before it.
    for (const { item } of this.#waiting) due.push(Math.max(this.dueMs(item), due.at(-1) ?? -Infinity));
    for (const [first, until] of this.#spans) due.fill(due[until - this.#first], first - this.#first, until - this.#first);
    return due;
  }
}

/** @typedef {{ frame: MatchFrame, acceptedMs: number, cameMs: number }} Held `cameMs`: on the steady clock */

export class SpoilerDelay {
  /** @type {Holding<Held>} */
  #holding;
  /** The newest id that has come. */
  #come = "";
  /** The server is asked as of then until it has come to this id. */
  #sought = "";
  #isSeeking = false;
  #isClosed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {number} delayMs
   * @param {import("./clock.js").ServerClock} clock
   * @param {object} reader
   * @param {(frame: MatchFrame) => void} reader.release a frame may be shown
   * @param {(asOfMs: number) => void} reader.confirm what is shown was right as of then, by the delay
   * @param {() => string} reader.reached the id that is shown, or about to be
   * @param {(eventId: string) => boolean} reader.isOnBoard
   * @param {() => Promise<Snapshot>} reader.ask for the state as of then
   * @param {(snapshot: Snapshot) => void} reader.adopt
   */
  constructor(delayMs, clock, reader) {
    this.delayMs = delayMs;
    this.clock = clock;
    this.reader = reader;
    this.#holding = new Holding((held) => this.#dueMs(held), this.#countsAlready);
  }

  /** @param {MatchFrame} frame */
  onFrame(frame) {
    const { event, id, data, serverMs = 0 } = frame;
    const come = isNewer(this.#come, this.reader.reached()) ? this.#come : this.reader.reached();
    if (event === EVENT_SCORE) {
      const delta = JSON.parse(data);
      this.#come = id;
      this.#hold(frame, parts(id)[0] + (delta[DELTA_ACCEPTED] ?? 0), delta);
    } else if (event === EVENT_GAP) {
      if (come && parts(id)[0] !== parts(come)[0]) this.#holding.clear(); // of a log that is no more
      this.#seek(id);
    } else if (event === EVENT_HEARTBEAT) {
      if (isNewer(id, come)) return this.#seek(id);
      // All that the log took before has come, so what is that old is shown.
      this.reader.confirm(serverMs - this.delayMs);
      this.#hold({ ...frame, snapshot: undefined }, serverMs);
    } else {
      this.#hold(frame, NaN);
    }
  }

  /**
   * Of ids that may be announced, those that such a reader may hear of: not of an event that came and was taken back
   * within what is shown at once, and of nothing that is not known to be without it.
   *
   * @param {string[]} ids
   * @param {{ id: string, data: string }[]} deltas since what is shown
   * @param {string} last what is shown next: the server's scoreboard at it says nothing of what was never shown
   */
  audible(ids, deltas, last) {
    const gone = neverShown(deltas, this.#countsAlready);
    const known = new Set(deltas.map(({ id }) => id));
    return ids.filter((id) => !gone.has(id) && (id === last || known.has(id)));
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#holding.clear();
  }

  /** Of an event that came before this page was there: an amendment has something to amend. @param {string} eventId @param {string} op */
  #countsAlready = (eventId, op) => op === OP_AMEND || this.reader.isOnBoard(eventId);

  /** @param {MatchFrame} frame @param {number} acceptedMs NaN for unknown @param {Change} [change] */
  #hold(frame, acceptedMs, change) {
    this.#holding.add({ frame, acceptedMs, cameMs: performance.now() }, change);
    this.#schedule();
  }

  /** On the steady clock. @param {Held} held */
  #dueMs({ acceptedMs, cameMs }) {
    const byServer = this.clock.known ? acceptedMs - this.clock.nowMs + performance.now() : NaN;
    return (byServer < cameMs ? byServer : cameMs) + this.delayMs;
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    // Shown together, what is released together.
    for (const { frame } of this.#holding.release(performance.now())) this.reader.release(frame);
    const waitMs = this.#holding.nextMs - performance.now();
    if (waitMs < Infinity) this.#timer = setTimeout(() => this.#schedule(), Math.min(Math.max(1, waitMs), TIMER_MAX_MS));
  }

  /** Have the server's state as of then, until it has come to this id. @param {string} id */
  async #seek(id) {
    if (!isNewer(id, this.reader.reached())) return;
    if (isNewer(id, this.#sought)) this.#come = this.#sought = id;
    if (this.#isSeeking) return;
    this.#isSeeking = true;
    while (!this.#isClosed && isNewer(this.#sought, this.reader.reached())) {
      const snapshot = await this.reader.ask().catch(() => null);
      if (this.#isClosed) return;
      if (snapshot && isNewer(snapshot.id, this.reader.reached())) this.reader.adopt(snapshot);
      if (isNewer(this.#sought, this.reader.reached())) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    this.#isSeeking = false;
  }
}

/**
 * The ids of deltas that lead to nothing, shown together: an event came and was taken back.
 *
 * @param {{ id: string, data: string }[]} deltas
 * @param {(eventId: string, op: string) => boolean} countsAlready
 */
export function neverShown(deltas, countsAlready) {
  const records = new Records(countsAlready);
  /** The deltas of each event since it came. @type {Map<string, string[]>} */
  const since = new Map();
  /** @type {Set<string>} */
  const gone = new Set();
  for (const { id, data } of deltas) {
    const change = JSON.parse(data);
    const [counted, counts] = records.apply(change);
    const eventId = change[DELTA_EVENT_ID];
    if (counts && !counted) since.set(eventId, []);
    since.get(eventId)?.push(id);
    if (counted && !counts) {
      for (const one of since.get(eventId) ?? []) gone.add(one);
      since.delete(eventId);
    }
  }
  return gone;
}
