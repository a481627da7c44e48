// @ts-check
/**
 * The spoiler delay: what comes is held back for a time, so that a page is never ahead of a broadcast.
 *
 * What is taken back while it is held is never shown: a goal and everything after it wait until the
 * retraction may be shown too, and come out together. Without a delay everything passes at once.
 */

/**
 * @template T
 * @typedef {{ item: T, at: number, event: string }} Held
 */

/** @template T */
export class Hold {
  /** @type {Held<T>[]} */
  #held = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {number} delayMs
   * @param {(item: T) => void} release
   */
  constructor(delayMs, release) {
    this.delayMs = delayMs;
    this.release = release;
  }

  /**
   * @param {T} item
   * @param {string} [data] the delta's text, if the item is one
   */
  push(item, data) {
    if (!this.delayMs) {
      this.release(item);
      return;
    }
    const delta = data ? JSON.parse(data) : {};
    // Never before one that is already waiting: order is what makes a delta fit.
    const at = Math.max(Date.now() + this.delayMs, this.#held.at(-1)?.at ?? 0);
    if (delta.o === "RETRACT") {
      const first = this.#held.findIndex((held) => held.event === delta.e);
      if (first >= 0) for (const held of this.#held.slice(first)) held.at = at;
    }
    this.#held.push({ item, at, event: delta.e ?? "" });
    this.#schedule();
  }

  close() {
    clearTimeout(this.#timer);
    this.#held = [];
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#held.length) return;
    this.#timer = setTimeout(() => {
      while (this.#held.length && this.#held[0].at <= Date.now()) {
        this.release(/** @type {Held<T>} */ (this.#held.shift()).item);
      }
      this.#schedule();
    }, this.#held[0].at - Date.now());
  }
}
