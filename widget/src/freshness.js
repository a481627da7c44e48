// @ts-check
/**
 * How fresh what is shown is, by the data and not by the connection: the last moment, on the server's clock, at
 * which the id that is shown was known to be the newest.
 *
 * A heartbeat or a poll's answer that names the shown id is such a moment. One that names a later id is not: it
 * says that what is shown is old, and once that is overdue the page says so.
 */

import { elapsedMs, mark } from "./clock.js";
import { isNewer } from "./ids.js";

/** Two heartbeats of 15 s, and what a slow phone needs. */
export const FRESH_MS = 32_500;
/** What was announced must be shown within this time. */
const OVERDUE_MS = 5_000;
/** A lost connection is mostly back within this time; a remark on it would only flicker. */
const AGE_AFTER_MS = 4_000;
/** What is older than this is said to be at once; but a page that was just loaded has a second to connect. */
const OLD_MS = 40_000;
const LOADED_MS = 1_000;
/** The age is written once a second, and must be true until then. */
const TICK_MS = 1_000;

export class Freshness {
  /** UTC milliseconds by the server's clock; 0 for never. */
  asOfMs = 0;
  /** Whether a frame or an answer has said so. A page that was loaded is no contact. */
  contacted = false;
  /** The newest id announced, and until when it was known to be the newest. */
  #heard = { id: "", asOfMs: 0 };
  /** The same moment on the steady clock, which nobody sets. */
  #steadyMs = performance.now();
  /** Since when an id is announced and not shown. @type {import("./clock.js").Mark | null} */
  #due = null;

  /**
   * @param {import("./clock.js").ServerClock} clock
   * @param {number} delayMs by which what is shown is delayed on purpose
   */
  constructor(clock, delayMs) {
    this.clock = clock;
    this.delayMs = delayMs;
  }

  /**
   * What the page itself, or a kept copy, says of when it was made.
   *
   * @param {number} asOfMs
   */
  begin(asOfMs) {
    this.clock.bound(asOfMs);
    this.#confirm(asOfMs);
  }

  /**
   * An id was announced by a frame or an answer.
   *
   * @param {string} id
   * @param {number} asOfMs when the server knew it to be the newest
   * @param {string} shownId
   */
  hear(id, asOfMs, shownId) {
    const other = Boolean(this.#heard.id) && id.split("-")[0] !== this.#heard.id.split("-")[0];
    if (other || !isNewer(this.#heard.id, id)) this.#heard = { id, asOfMs };
    if (id === shownId) {
      this.#contact(asOfMs);
    } else if (other || isNewer(id, shownId)) {
      this.#due ??= mark();
    }
  }

  /** What is shown was right as of a time, by its delay; what is newer waits. @param {number} asOfMs */
  confirmHeld(asOfMs) {
    this.#contact(asOfMs);
  }

  /** Something is shown. @param {string} id */
  show(id) {
    if (!this.#heard.id || isNewer(this.#heard.id, id)) {
      if (this.#due) this.#due = mark();
      return;
    }
    this.#due = null;
    if (id !== this.#heard.id) return;
    this.#contact(this.#heard.asOfMs);
  }

  /** Milliseconds since what is shown was known to be the newest; never too few. */
  get ageMs() {
    return Math.max(0, this.clock.latestMs - this.asOfMs, performance.now() - this.#steadyMs);
  }

  get isOverdue() {
    return this.#due !== null && elapsedMs(this.#due) > OVERDUE_MS;
  }

  /** Whether what is shown may be called live. */
  get isFresh() {
    return this.contacted && !this.isOverdue && this.ageMs <= FRESH_MS + this.delayMs;
  }

  /**
   * What is said beside what is shown while that is not live; "" for nothing.
   *
   * @param {import("./clock.js").Mark} lost since when it is not
   * @param {import("./clock.js").Mark} started since when it is there
   * @param {import("./words.js").Words | null} [words] the texts, once they are here
   * @param {string} [locale] for the time of day
   */
  ageLine(lost, started, words, locale) {
    const { asOfMs, ageMs } = this;
    const { isBehind } = this.clock;
    const isLost = elapsedMs(lost) > AGE_AFTER_MS && ageMs > AGE_AFTER_MS;
    const isOld = (isBehind || ageMs > OLD_MS + this.delayMs) && elapsedMs(started) > LOADED_MS;
    if (!asOfMs || !(isLost || isOld)) return "";
    if (words) return words.age(asOfMs, isBehind ? NaN : ageMs + TICK_MS, locale);
    // No network has brought them: what is old is said to be old all the same.
    return `Not connected. As of ${new Date(asOfMs).toLocaleString()}.`;
  }

  /**
   * A copy that a cache has kept is no contact: what it says counts as one once the server's time is known.
   *
   * @param {number} asOfMs
   */
  #contact(asOfMs) {
    this.contacted ||= this.clock.known;
    this.#confirm(asOfMs);
  }

  /** @param {number} asOfMs */
  #confirm(asOfMs) {
    if (asOfMs <= this.asOfMs) return;
    this.asOfMs = asOfMs;
    this.#steadyMs = performance.now() - Math.max(0, this.clock.latestMs - asOfMs);
  }
}
