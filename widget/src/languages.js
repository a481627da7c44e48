// @ts-check
/**
 * The language of an element, and its texts: one file a language, which a page loads once for all its elements and never
 * waits for. shared_state/languages.py chooses alike.
 */

import { ask } from "./answers.js";
import { JSON_TYPE } from "./wire.js";
import { IN_ENGLISH, Words } from "./words.js";

/** @typedef {{ tag: string, locale: string | undefined }} Language `locale`: for Intl; undefined: the reader's own */

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
    if (declaring) return chosen(declaring.getAttribute("lang") ?? "", ASSETS.languages);
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

/** @type {Map<string, Words>} */
const loaded = new Map();
/** @type {Map<string, Promise<Words>>} */
const underWay = new Map();

/**
 * The texts of a language if they are here; else they are loaded, and null.
 *
 * @param {string} base the URL of the origin
 * @param {string} tag
 */
export function wordsOf(base, tag) {
  if (tag === "en") return IN_ENGLISH;
  const words = loaded.get(base + tag);
  if (!words) loadWords(base, tag).catch(() => {}); // the next tick asks again
  return words ?? null;
}

/**
 * @param {string} base
 * @param {string} tag
 * @returns {Promise<Words>}
 */
export function loadWords(base, tag) {
  if (tag === "en") return Promise.resolve(IN_ENGLISH);
  const key = base + tag;
  let promise = underWay.get(key);
  if (!promise) {
    promise = ask(new URL(`widget/${ASSETS.catalogues}${tag}.json`, base).href, JSON_TYPE).then(({ text }) => {
      const { dir, texts } = JSON.parse(text);
      const words = new Words(tag, dir, texts);
      loaded.set(key, words);
      return words;
    });
    underWay.set(key, promise);
    promise.catch(() => setTimeout(() => underWay.delete(key), AGAIN_MS));
  }
  return promise;
}
