// @ts-check
/** The texts that scripts write, in one language. English is here; languages.js loads the others. */

import { ageText } from "./wording.js";

/** @typedef {string | Record<string, string>} Template one text, or one for each plural category */

/** shared_state/catalogues/en.py has the same under the same keys. @type {Record<string, Template>} */
export const ENGLISH = {
  minute: "{minute}'",
  "minute.stoppage": "{minute}+{stoppage}'",
  "list.empty": "No matches yet.",
  "client.unknown_match": "There is no live score of this match yet.",
  "client.age": "Not connected. As of {time}, {ago}.",
  "client.as_of": "Not connected. As of {time}.",
  "client.ago.now": "less than a minute ago",
  "client.ago.minutes": { one: "{n} min ago", other: "{n} min ago" },
  "client.ago.hours": { one: "{n} h ago", other: "{n} h ago" },
};

export class Words {
  /**
   * @param {string} tag
   * @param {"ltr" | "rtl"} dir
   * @param {Record<string, Template>} texts
   */
  constructor(tag, dir, texts) {
    this.tag = tag;
    this.dir = dir;
    this.texts = texts;
  }

  /**
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   */
  text(key, values = {}) {
    const template = this.texts[key] ?? ENGLISH[key] ?? "";
    return filled(typeof template === "string" ? template : template.other, values);
  }

  /** A text that depends on a number, which stands at {n}. @param {string} key @param {number} n */
  counted(key, n) {
    const template = this.texts[key] ?? ENGLISH[key] ?? "";
    if (typeof template === "string") return filled(template, { n });
    return filled(template[new Intl.PluralRules(this.tag).select(n)] ?? template.other, { n });
  }

  /**
   * What is said beside what is shown while that is not live.
   *
   * @param {number} asOfMs UTC milliseconds by the server's clock
   * @param {number} ageMs NaN if nobody knows it
   * @param {string | undefined} locale for the time of day
   */
  age(asOfMs, ageMs, locale) {
    return ageText(asOfMs, ageMs, this, locale);
  }

  /** What is in no language yet, in this one. @param {[string, [string, string][]]} phrase */
  phrase([key, values]) {
    return this.text(key, Object.fromEntries(values));
  }
}

export const IN_ENGLISH = new Words("en", "ltr", ENGLISH);

/** @param {string} template @param {Record<string, string | number>} values */
const filled = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
