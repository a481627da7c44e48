// @ts-check
/**
 * For the lab's viewer: a reader whose clock is wrong by `?clock=<seconds>`. It comes before every other script, so that
 * all of the page sees that clock; a browser has no other way to set it. Workers keep the true one.
 */

const WEEK_S = 604_800;
const wanted = Number(new URLSearchParams(location.search).get("clock"));
if (Number.isInteger(wanted) && wanted !== 0 && Math.abs(wanted) <= WEEK_S) {
  const True = Date;
  class Skewed extends True {
    /** @param {any[]} given */
    constructor(...given) {
      // @ts-ignore the constructor's overloads take no rest of unknown length
      super(...(given.length ? given : [Skewed.now()]));
    }

    static now() {
      return True.now() + wanted * 1_000;
    }
  }
  globalThis.Date = /** @type {DateConstructor} */ (/** @type {unknown} */ (Skewed));
}
