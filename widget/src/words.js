// @ts-check
/**
 * The language of an element, and the texts that scripts write in it. English is here; each other language is one file,
 * which a page loads once for all its elements and never waits for. shared_state/languages.py chooses alike.
 */

import { afterwards } from "./later.js";

/** @typedef {string | Record<string, string>} Template one text, or one for each plural category */
/** @typedef {{ tag: string, locale: string | undefined }} Language `locale`: for Intl; undefined: the reader's own */

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
/** A longer tag is nonsense (RFC 5646, 4.4.1). */
const TAG_MAX = 35;
/** A file that could not be loaded is asked for again after this. */
const AGAIN_MS = 10_000;

/**
 * The language that an element is in: by its own `lang` or that of what it is in, also beyond a shadow root. What is no
 * language, and what is none of ours, is English.
 *
 * @param {Element} element
 * @returns {Language}
 */
export function languageOf(element) {
  /** @type {Element | undefined} */
  let node = element;
  while (node) {
    const declaring = node.closest("[lang]");
    if (declaring) return chosen(declaring.getAttribute("lang") ?? "", LANGUAGES);
    node = /** @type {ShadowRoot} */ (node.getRootNode()).host;
  }
  return chosen("", []);
}

/**
 * @param {string} declared
 * @param {string[]} others the languages but English
 * @returns {Language}
 */
export function chosen(declared, others) {
  if (!declared) return { tag: "en", locale: undefined };
  const name = declared.length > TAG_MAX ? "" : declared.replaceAll("_", "-");
  const primary = name.split("-")[0].toLowerCase();
  const tag = others.includes(primary) ? primary : "en";
  // The digits of the scores.
  return { tag, locale: primary !== tag ? "en" : tag === "ar" ? `${name}-u-nu-latn` : name };
}

export class Words {
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
    if (tag === "en") return IN_ENGLISH;
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
    if (tag === "en") return Promise.resolve(IN_ENGLISH);
    const key = base + tag;
    let loading = Words.#loading.get(key);
    if (!loading) {
      loading = afterwards().then((later) => later.loadTexts(base, tag)).then(({ dir, texts }) => {
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

  /** What is in no language yet, in this one. @param {[string, [string, string][]]} phrase */
  phrase([key, values]) {
    return this.text(key, Object.fromEntries(values));
  }
}

const IN_ENGLISH = new Words("en", "ltr", ENGLISH);

/** @param {string} template @param {Record<string, string | number>} values */
const filled = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
