// @ts-check
/**
 * The days of a list as its reader has them: "Today 20:45" in the reader's own zone, and each match below the day on
 * which it begins there. The server groups by UTC, which is right without a script.
 */

import { ATTRIBUTE_DAY, ATTRIBUTE_GROUP, ATTRIBUTE_KICKOFF, ATTRIBUTE_LOCAL_TIME, ATTRIBUTE_MATCH, ATTRIBUTE_PHASE } from "./wire.js";
import { write } from "./wording.js";

const DAY_MS = 86_400_000;

/** The day of a moment in the reader's zone, as `2026-11-27`. @param {Date} at */
export function dayOf(at) {
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** How many days after another one a day is. @param {string} day @param {string} other */
const daysAfter = (day, other) => Math.round((Date.parse(day) - Date.parse(other)) / DAY_MS);

/**
 * A locale that Intl knows, whatever a page's `lang` says.
 *
 * @param {string | undefined} language
 */
export function knownLocale(language) {
  try {
    return language ? Intl.getCanonicalLocales(language.replaceAll("_", "-"))[0] : undefined;
  } catch {
    return undefined;
  }
}

/**
 * "Today", "Tomorrow", "Sat 28 Nov".
 *
 * @param {string} day
 * @param {string} today
 * @param {string | undefined} locale
 * @param {"short" | "long"} length of a day's name
 */
function dayText(day, today, locale, length) {
  const distance = daysAfter(day, today);
  if (Math.abs(distance) <= 1) {
    const text = new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(distance, "day");
    return text.charAt(0).toLocaleUpperCase(locale) + text.slice(1);
  }
  /** @type {Intl.DateTimeFormatOptions} */
  const format = { weekday: length, day: "numeric", month: length, timeZone: "UTC" };
  // Half a year away a date needs its year.
  if (Math.abs(distance) > 180) format.year = "numeric";
  return new Intl.DateTimeFormat(locale, format).format(Date.parse(day));
}

/**
 * Write all days and times within a place. "Today" of a heading has its date beside it.
 *
 * @param {ParentNode} place
 * @param {number} nowMs UTC
 * @param {string | undefined} locale
 */
export function writeDays(place, nowMs, locale) {
  const today = dayOf(new Date(nowMs));
  for (const time of place.querySelectorAll(`time[${ATTRIBUTE_DAY}]`)) {
    const day = time.getAttribute("datetime") ?? "";
    if (Number.isNaN(Date.parse(day))) continue;
    const length = time.getAttribute(ATTRIBUTE_DAY) ? "short" : "long";
    const text = dayText(day, today, locale, length);
    const isNear = Math.abs(daysAfter(day, today)) <= 1;
    /** @type {Intl.DateTimeFormatOptions} */
    const format = { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" };
    const date = isNear && length === "long" ? new Intl.DateTimeFormat(locale, format).format(Date.parse(day)) : "";
    write(time, [text, date].filter(Boolean).join(" · "));
  }
  // As the server writes it: a page of scores has one clock, and "en" alone would have twelve hours.
  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  for (const time of place.querySelectorAll(`time[${ATTRIBUTE_LOCAL_TIME}]`)) {
    const at = new Date(time.getAttribute("datetime") ?? "");
    if (+at) write(time, `${dayText(dayOf(at), today, locale, "short")} ${clock.format(at)}`);
  }
}

/**
 * Put each row below its day in the reader's zone. Where all are there already, only the headings' dates are changed.
 *
 * @param {Element} list the `.tl-list`
 * @param {number} nowMs UTC
 */
export function regroup(list, nowMs) {
  /** @type {{ row: Element, day: string, from: Element, group: Element }[]} */
  const rows = [];
  for (const row of list.querySelectorAll(`li[${ATTRIBUTE_MATCH}]`)) {
    const group = row.closest(".matches");
    const from = row.closest(".tl-day");
    if (!group || !from) return;
    const kickoff = new Date(row.getAttribute(ATTRIBUTE_KICKOFF) ?? "");
    rows.push({ row, group, from, day: +kickoff ? dayOf(kickoff) : "" });
  }
  const days = new Map(rows.map(({ from, day }) => [from, day]));
  const isWhole = rows.every(({ from, day }) => days.get(from) === day) && new Set(days.values()).size === days.size;
  if (isWhole) for (const [section, day] of days) rename(section, day);
  else rebuild(list, rows, dayOf(new Date(nowMs)));
}

/** Say another day in a section's heading and keys. @param {Element} section @param {string} day */
function rename(section, day) {
  const before = section.getAttribute(ATTRIBUTE_GROUP) ?? "";
  if (before === day) return;
  section.setAttribute(ATTRIBUTE_GROUP, day);
  section.querySelector(`time[${ATTRIBUTE_DAY}]`)?.setAttribute("datetime", day);
  for (const group of section.querySelectorAll(".matches")) {
    group.setAttribute(ATTRIBUTE_GROUP, day + (group.getAttribute(ATTRIBUTE_GROUP) ?? "").slice(before.length));
  }
}

/**
 * @param {Element} list
 * @param {{ row: Element, day: string, from: Element, group: Element }[]} rows
 * @param {string} today
 */
function rebuild(list, rows, today) {
  /** @type {Map<string, { section: Element, isLive: boolean, groups: Map<string, Element> }>} */
  const days = new Map();
  const end = list.ownerDocument.createComment("");
  rows[0].from.before(end);
  for (const { row, day, from, group } of rows) {
    let found = days.get(day);
    if (!found) {
      const section = /** @type {Element} */ (from.cloneNode(false));
      section.append(/** @type {Element} */ (from.querySelector("h2")).cloneNode(true));
      rename(section, day);
      days.set(day, (found = { section, isLive: false, groups: new Map() }));
    }
    const name = group.querySelector("h3")?.textContent ?? "";
    let target = found.groups.get(name);
    if (!target) {
      target = /** @type {Element} */ (group.cloneNode(false));
      target.append(/** @type {Element} */ (group.querySelector("h3")).cloneNode(true), /** @type {Element} */ (group.querySelector("ul")).cloneNode(false));
      target.setAttribute(ATTRIBUTE_GROUP, `${day} ${name}`);
      found.groups.set(name, target);
      found.section.append(target);
    }
    const phase = row.querySelector(`[${ATTRIBUTE_PHASE}]`)?.getAttribute(ATTRIBUTE_PHASE) ?? "";
    found.isLive ||= phase === "live" || phase === "paused";
    target.querySelector("ul")?.append(row);
  }
  // As the server does it (origin/web/board.py): what runs, today, the days to come, undated, the days before.
  const rank = ([day, { isLive }] = /** @type {[string, { isLive: boolean }]} */ (["", { isLive: false }])) => {
    const distance = day ? daysAfter(day, today) : NaN;
    if (isLive && distance !== 0) return [0, distance];
    if (Number.isNaN(distance)) return [2, 0];
    return distance >= 0 ? [1, distance] : [3, -distance];
  };
  const sections = [...days].sort((one, other) => {
    const [a, b] = [rank(one), rank(other)];
    return a[0] - b[0] || a[1] - b[1];
  });
  for (const from of new Set(rows.map((row) => row.from))) from.remove();
  end.replaceWith(...sections.map(([, { section }]) => section));
}
