// @ts-check
/**
 * In a frame of the lab: reports what `<live-score>` shows to the page around it, once that has asked.
 *
 * `shownMs` is by the monotonic clock and the time at which the page began, so a clock that the lab has set wrong does
 * not reach it.
 */

import { isLocal, STATE_ASKED, STATE_REPORTED } from "./lab-messages.js";
import { ATTRIBUTE_AGE } from "./wire.js";

/** @type {string | undefined} */
let asker;
/** @type {Record<string, unknown>} */
let state = {};

const element = document.querySelector("live-score");

function report() {
  if (asker === undefined || parent === window) return;
  parent.postMessage({ type: STATE_REPORTED, state }, asker);
}

document.addEventListener("live-score:state", (event) => {
  const detail = /** @type {CustomEvent} */ (event).detail ?? {};
  const shownMs = performance.timeOrigin + performance.now();
  const moved = detail.id !== state.id;
  // What a page shows first was not shown when it came: only a change has a time.
  const shown = moved ? (state.id ? shownMs : undefined) : state.shownMs;
  const score = element?.querySelector(".tl-goals")?.textContent ?? "";
  const age = element?.querySelector(`[${ATTRIBUTE_AGE}]`)?.textContent?.trim() ?? "";
  state = { ...detail, score, age, shownMs: shown };
  report();
});

// The age of what is shown grows without an event.
setInterval(() => {
  const age = element?.querySelector(`[${ATTRIBUTE_AGE}]`)?.textContent?.trim() ?? "";
  const score = element?.querySelector(".tl-goals")?.textContent ?? "";
  if (age === state.age && score === state.score) return;
  state = { ...state, age, score };
  report();
}, 500);

addEventListener("message", ({ origin, source, data }) => {
  if (source !== parent || !isLocal(origin) || data?.type !== STATE_ASKED) return;
  asker = origin;
  report();
});
