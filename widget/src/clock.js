// @ts-check
/**
 * Time: how long ago something was, and what the server's clock says. The reader's clock may be wrong by a
 * day, may be set while the page is open, and goes on while a phone sleeps; timers and performance.now() do not.
 */

/** The reader's clock was set, or the device slept, if the two clocks differ by more since the last look. */
const JUMP_MS = 1_000;
/** Quartz clocks drift by less than a tenth of a second in a thousand; an old sample loses as much. */
const DRIFT_PER_MS = 1e-4;

/** @typedef {{ wall: number, steady: number }} Mark a moment on both clocks, in milliseconds */

/** @returns {Mark} */
export const mark = () => ({ wall: Date.now(), steady: performance.now() });

/**
 * Milliseconds since a moment; never too few: the larger of what the two clocks say.
 *
 * @param {Mark} since
 */
export const elapsedMs = (since) => Math.max(Date.now() - since.wall, performance.now() - since.steady);

/** The server's clock, by what the server wrote into frames and answers. */
export class ServerClock {
  /** Server's clock less ours, in milliseconds; a lower bound, since transit only makes a sample smaller. */
  #offsetMs = 0;
  #sampled = mark();
  #looked = mark();
  /** By how much the best sample may have come late at most. */
  #doubtMs = 0;
  /** The last answer's time, and ours then; answered-clock.js has what is made of it. @type {number[] | undefined} */
  answer;
  /** Our clock is behind, and nobody knows by how much: what is shown may be of any age. */
  isBehind = false;
  /** Whether a frame or an answer has said it since our clock was last set. */
  known = false;

  /**
   * A frame that the server has written as it passed it on.
   *
   * @param {number} serverMs what its clock said then
   * @param {number} [tookMs] how long ago it was asked for, if it cannot have been written before
   * @returns {number} by how many milliseconds it came later than the quickest before it; 0 if it is the first
   */
  learn(serverMs, tookMs) {
    this.look();
    const sampleMs = serverMs - Date.now();
    const lateMs = this.known ? this.offsetMs - sampleMs : 0;
    const latestMs = this.known ? this.#doubtMs + this.offsetMs : sampleMs + (tookMs ?? 0);
    if (lateMs <= 0) this.adopt(sampleMs);
    this.#doubtMs = Math.max(0, Math.min(latestMs, sampleMs + (tookMs ?? Infinity)) - this.offsetMs);
    return Math.max(0, lateMs);
  }

  /**
   * The server's clock less ours, as another tab of this browser has learnt it.
   *
   * @param {number} offsetMs
   */
  adopt(offsetMs) {
    this.look();
    this.#offsetMs = offsetMs;
    this.#sampled = mark();
    this.known = true;
    this.isBehind = false;
  }

  /**
   * A page says when it was made. It may come out of a cache, so until the server's clock is known this is only
   * a bound: our clock is believed as it is, unless the page is from its future.
   *
   * @param {number} pageMs
   */
  bound(pageMs) {
    if (this.known || !(pageMs - Date.now() > this.offsetMs)) return;
    this.#offsetMs = pageMs - Date.now();
    this.#sampled = mark();
    this.isBehind = true;
  }

  /** Notice that our clock was set, or that the device slept. */
  look() {
    const jumpedMs = Date.now() - this.#looked.wall - (performance.now() - this.#looked.steady);
    if (Math.abs(jumpedMs) > JUMP_MS) this.known = false;
    this.#looked = mark();
  }

  get offsetMs() {
    return this.#offsetMs - DRIFT_PER_MS * Math.max(0, performance.now() - this.#sampled.steady);
  }

  /** The server's time, UTC milliseconds. */
  get nowMs() {
    return Date.now() + this.offsetMs;
  }

  /** The latest that the server's time can be, UTC milliseconds. */
  get latestMs() {
    return this.nowMs + this.#doubtMs;
  }
}
