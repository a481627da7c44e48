// @ts-check
/** The line of the strip runs with the minute, as far as the period goes (shared_state/strip.py). */

import {
  ATTRIBUTE_CLOCK_BASE,
  ATTRIBUTE_CLOCK_LEAST,
  ATTRIBUTE_CLOCK_MOST,
  ATTRIBUTE_CLOCK_START,
  ATTRIBUTE_ELAPSED,
} from "./wire.js";

/**
 * @param {Element | ShadowRoot} place
 * @param {number} nowMs UTC, by the server's clock
 */
export function runLine(place, nowMs) {
  const line = place.querySelector(`[${ATTRIBUTE_ELAPSED}]`);
  const clock = place.querySelector(`[${ATTRIBUTE_CLOCK_START}]`);
  if (!line || !clock) return;
  const of = (/** @type {string} */ name) => Number(clock.getAttribute(name));
  const played = of(ATTRIBUTE_CLOCK_BASE) + Math.floor((nowMs - of(ATTRIBUTE_CLOCK_START)) / 60_000) + 1;
  const minute = Math.max(of(ATTRIBUTE_CLOCK_LEAST), played);
  const [first, last, whole] = String(line.getAttribute(ATTRIBUTE_ELAPSED)).split(" ").map(Number);
  const end = ((100 * Math.min(minute + first, last)) / whole).toFixed(1) + "%";
  // A tick that changes nothing must not touch the page.
  if (minute <= of(ATTRIBUTE_CLOCK_MOST) && line.getAttribute("x2") !== end) line.setAttribute("x2", end);
}
