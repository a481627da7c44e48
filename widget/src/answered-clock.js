// @ts-check
/** What an answer's time says of the server's clock. Only a page that polls needs it. */

/** Two answers whose times are apart as they came, but for so much, are not copies of one. */
const STEP_MS = 2_000;

/**
 * The time of an answer that a cache may have kept. It is believed where it goes on as our clock does; until then
 * it is a bound.
 *
 * @param {import("./clock.js").ServerClock} clock
 * @param {number} serverMs
 */
export function learnAnswer(clock, serverMs) {
  const [beforeMs, before] = clock.answer ?? [0, 0];
  const now = performance.now();
  clock.answer = [serverMs, now];
  const wentMs = serverMs - beforeMs;
  if (clock.known || (wentMs > 0 && Math.abs(wentMs - now + before) < STEP_MS)) clock.learn(serverMs);
  else clock.bound(serverMs);
}
