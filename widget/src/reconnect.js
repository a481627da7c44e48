// @ts-check
/**
 * When to try again: shared_state/reconnect.py in JavaScript, for tier 1, which has no Python.
 * tests/widget/test_loader.py compares the two number by number.
 */

const BASE_MS = 1_000;
const CAP_MS = 30_000;
const HINT_CAP_MS = 300_000;

/**
 * How long to wait before the next attempt.
 *
 * @param {number} attempt 0 for the first try after the connection was lost, then 1, 2, …
 * @param {number} randomUnit a number in [0, 1), drawn anew for each attempt
 * @param {number | null} [hintMs] what the server asked for (`retry:` or `Retry-After`), if it did
 * @returns {number} milliseconds: the hint, and on top of it a share of a window that doubles up to a cap
 */
export function delayMs(attempt, randomUnit, hintMs) {
  const windowMs = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 30));
  const floorMs = Math.max(0, Math.min(hintMs ?? 0, HINT_CAP_MS));
  return floorMs + Math.floor(randomUnit * windowMs);
}

/** While nothing answers a poll: the shortest bound on the wait, which grows with the outage, and the longest. */
export const RETRY_MS = 2_500;
export const RETRY_MAX_MS = CAP_MS;

/**
 * How long a poll waits that was not answered.
 *
 * @param {number} lostMs for how long nothing has answered
 * @param {number | null} hintMs what the server asked for
 */
export function retryMs(lostMs, hintMs) {
  const windowMs = Math.min(RETRY_MAX_MS, Math.max(RETRY_MS, lostMs / 8));
  return delayMs(0, 0, hintMs) + windowMs * (0.2 + 0.8 * Math.random());
}
