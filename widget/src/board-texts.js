// @ts-check
/** What a scoreboard has written into it each second: the minute, and times in the reader's own format. */

import { showDelayed } from "./delayed.js";
import { runLine } from "./elapsed.js";
import { wordsOf } from "./languages.js";
import { localizeTimes, minute, write } from "./wording.js";
import { ATTRIBUTE_CLOCK_START } from "./wire.js";

/**
 * @param {Element | ShadowRoot} place where the scoreboard is
 * @param {string} base the URL of the origin
 * @param {import("./language.js").Language} language
 * @param {import("./clock.js").ServerClock} clock
 * @returns {import("./words.js").Words | null} the texts of that language, once they are here
 */
export function writeTexts(place, base, { tag, locale }, clock) {
  const words = wordsOf(base, tag);
  if (clock.known) {
    showDelayed(place, clock.nowMs);
    runLine(place, clock.nowMs);
    for (const chip of place.querySelectorAll(`[${ATTRIBUTE_CLOCK_START}]`)) {
      if (words) write(chip, minute(chip, clock.nowMs, words) ?? chip.textContent);
    }
  }
  localizeTimes(place, locale, { dateStyle: "medium", timeStyle: "short" });
  return words;
}
