// @ts-check
/**
 * A match that is live by its status while no news of it comes. The reducer has no clock and cannot know; the
 * scoreboard carries the words, hidden, and until when its status is plausible without news.
 */

import { ATTRIBUTE_UNTIL } from "./wire.js";

/**
 * Show or hide the words by the time of day.
 *
 * @param {Element | ShadowRoot} place
 * @param {number} nowMs  UTC, by the server's clock
 */
export function showDelayed(place, nowMs) {
  for (const words of place.querySelectorAll(`[${ATTRIBUTE_UNTIL}]`)) {
    const late = nowMs >= Number(words.getAttribute(ATTRIBUTE_UNTIL));
    // A tick that changes nothing must not touch the page.
    if (words.hasAttribute("hidden") === late) words.toggleAttribute("hidden", !late);
  }
}
