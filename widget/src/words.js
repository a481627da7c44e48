// @ts-check
/**
 * The texts that scripts write. English is here; each other language is one file, which a page loads once for all its
 * elements and never waits for.
 */

import { loadTexts } from "./catalogues.js";
import { ageText } from "./wording.js";

export { chosen, languageOf } from "./language.js";

/** @typedef {string | Record<string, string>} Template one text, or one for each plural category */

/** shared_state/catalogues/en.py has the same under the same keys. @type {Record<string, Template>} */
export const ENGLISH = {
  minute: "{minute}'",
  "minute.stoppage": "{minute}+{stoppage}'",
  "client.age": "Not connected. As of {time}, {ago}.",
  "client.as_of": "Not connected. As of {time}.",
  "client.unknown": "There is no live score of this match yet.",
  "client.ago.now": "less than a minute ago",
  "client.ago.minutes": { one: "{n} min ago", other: "{n} min ago" },
  "client.ago.hours": { one: "{n} h ago", other: "{n} h ago" },
};
/** A file that could not be loaded is asked for again after this. */
const AGAIN_MS = 10_000;

export class Words {
  static english = new Words("en", "ltr", ENGLISH);
  /** @type {Map<string, Words>} */
  static #loaded = new Map();
  /** @type {Map<string, Promise<Words>>} */
  static #loading = new Map();

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
   * The texts of a language if they are here; else they are loaded, and null.
   *
   * @param {string} base the URL of the origin
   * @param {string} tag
   */
  static of(base, tag) {
    if (tag === "en") return Words.english;
    const known = Words.#loaded.get(base + tag);
    if (!known) Words.load(base, tag).catch(() => {}); // the next tick asks again
    return known ?? null;
  }

  /**
   * @param {string} base
   * @param {string} tag
   * @returns {Promise<Words>}
   */
  static load(base, tag) {
    if (tag === "en") return Promise.resolve(Words.english);
    const key = base + tag;
    let loading = Words.#loading.get(key);
    if (!loading) {
      loading = loadTexts(base, tag).then(({ dir, texts }) => {
        const words = new Words(tag, dir, texts);
        Words.#loaded.set(key, words);
        return words;
      });
      Words.#loading.set(key, loading);
      loading.catch(() => setTimeout(() => Words.#loading.delete(key), AGAIN_MS));
    }
    return loading;
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

/** @param {string} template @param {Record<string, string | number>} values */
const filled = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
