// @ts-check
/** Minutes, ages and times as text. Nothing here throws, whatever language a page claims to be in. */

import {
  ATTRIBUTE_CLOCK_BASE,
  ATTRIBUTE_CLOCK_LEAST,
  ATTRIBUTE_CLOCK_LIMIT,
  ATTRIBUTE_CLOCK_MOST,
  ATTRIBUTE_CLOCK_START,
  ATTRIBUTE_LOCAL_TIME,
  ATTRIBUTE_TEXT,
} from "./wire.js";
import { IN_ENGLISH } from "./words.js";

/** @typedef {import("./words.js").Words} Words */

const DAY_MS = 86_400_000;

/**
 * The running minute by shared_state/wording.py's rule; null to leave the text as it is.
 *
 * @param {Element} clock
 * @param {number} nowMs
 * @param {Words} [words]
 */
export function minute(clock, nowMs, words = IN_ENGLISH) {
  const [start, base, limit, least, most] = [
    ATTRIBUTE_CLOCK_START,
    ATTRIBUTE_CLOCK_BASE,
    ATTRIBUTE_CLOCK_LIMIT,
    ATTRIBUTE_CLOCK_LEAST,
    ATTRIBUTE_CLOCK_MOST,
  ].map((name) => Number(clock.getAttribute(name) ?? NaN));
  const running = Math.max(least, base + Math.floor((nowMs - start) / 60_000) + 1);
  if (running > most) return null;
  if (running <= limit) return words.text("minute", { minute: running });
  return words.text("minute.stoppage", { minute: limit, stoppage: running - limit });
}

/**
 * A moment in the reader's time zone. A page's `lang` may be anything, and Intl throws at what it cannot read.
 *
 * @param {number | Date} when
 * @param {string | undefined} language
 * @param {Intl.DateTimeFormatOptions} format
 */
export function localTime(when, language, format) {
  const date = new Date(when);
  for (const locale of [language?.replaceAll("_", "-"), undefined, "en"]) {
    try {
      return date.toLocaleString(locale || undefined, format);
    } catch {
      // The next one.
    }
  }
  return date.toISOString();
}

/**
 * Write the times within an element in the reader's own format.
 *
 * @param {ParentNode} root
 * @param {string | undefined} language
 * @param {Intl.DateTimeFormatOptions} format
 */
export function localizeTimes(root, language, format) {
  for (const time of root.querySelectorAll(`time[${ATTRIBUTE_LOCAL_TIME}]`)) {
    const at = new Date(/** @type {HTMLTimeElement} */ (time).dateTime);
    if (+at) write(time, localTime(at, language, format));
  }
}

/**
 * Write what is in no language yet, as the rows of a stream are, in a language.
 *
 * @param {ParentNode} root
 * @param {Words} words
 */
export function writePhrases(root, words) {
  for (const element of root.querySelectorAll(`[${ATTRIBUTE_TEXT}]`)) {
    write(element, words.phrase(JSON.parse(element.getAttribute(ATTRIBUTE_TEXT) ?? "[]")));
  }
}

/** A tick that changes nothing must not touch the page. @param {Element} element @param {string | null} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {number} asOfMs UTC milliseconds by the server's clock
 * @param {number} ageMs NaN if nobody knows it
 * @param {Words} [words]
 * @param {string} [locale]
 */
export function ageText(asOfMs, ageMs, words = IN_ENGLISH, locale) {
  const minutes = Math.floor(ageMs / 60_000);
  const hours = Math.floor(minutes / 60);
  const [unit, n] = hours < 1 ? ["minutes", minutes] : ["hours", hours];
  const ago = minutes < 1 ? words.text("client.ago.now") : words.counted(`client.ago.${unit}`, n);
  /** @type {Intl.DateTimeFormatOptions} */
  const format = { hour: "2-digit", minute: "2-digit" };
  const time = localTime(asOfMs, locale, ageMs < DAY_MS ? format : { ...format, day: "numeric", month: "short" });
  return ageMs >= 0 ? words.text("client.age", { time, ago }) : words.text("client.as_of", { time });
}
