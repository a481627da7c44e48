// @ts-check
/**
 * The spoiler delay: updates wait for some seconds, so that a page is never ahead of a broadcast.
 *
 * An event that is retracted while it waits is never shown as standing: it and all that came after it wait until
 * the retraction may be shown, and are released together. Without a delay every update passes at once.
 */

import { DELTA_EVENT_ID, DELTA_OP, OP_RETRACT } from "./wire.js";

/**
 * @template T
 * @typedef {{ update: T, releaseMs: number, eventId: string }} Delayed `releaseMs`: UTC milliseconds
 */

/** @template T */
export class SpoilerDelay {
  /** @type {Delayed<T>[]} */
  #delayed = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {number} delayMs
   * @param {(update: T) => void} release
   */
  constructor(delayMs, release) {
    this.delayMs = delayMs;
    this.release = release;
  }

  /**
   * @param {T} update
   * @param {string} [data] the delta's text, if the update is a delta
   * @param {number} [cameMs] when it came, by performance.now()
   */
  push(update, data, cameMs = performance.now()) {
    if (!this.delayMs) {
      this.release(update);
      return;
    }
    const delta = data ? JSON.parse(data) : {};
    // Never before an update that is already waiting: a delta fits only after the ones before it.
    const releaseMs = Math.max(cameMs + this.delayMs, this.#delayed.at(-1)?.releaseMs ?? 0);
    if (delta[DELTA_OP] === OP_RETRACT) {
      const first = this.#delayed.findIndex((delayed) => delayed.eventId === delta[DELTA_EVENT_ID]);
      if (first >= 0) for (const delayed of this.#delayed.slice(first)) delayed.releaseMs = releaseMs;
    }
    this.#delayed.push({ update, releaseMs, eventId: delta[DELTA_EVENT_ID] ?? "" });
    this.#schedule();
  }

  close() {
    clearTimeout(this.#timer);
    this.#delayed = [];
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#delayed.length) return;
    this.#timer = setTimeout(() => {
      while (this.#delayed.length && this.#delayed[0].releaseMs <= performance.now()) {
        this.release(/** @type {Delayed<T>} */ (this.#delayed.shift()).update);
      }
      this.#schedule();
    }, this.#delayed[0].releaseMs - performance.now());
  }
}
