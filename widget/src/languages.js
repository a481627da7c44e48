// @ts-check
/**
 * The texts of the languages: one file a language, which a page loads once for all its elements and never waits for.
 * language.js says which one an element is in.
 */

import { ask } from "./answers.js";
import { JSON_TYPE } from "./wire.js";
import { IN_ENGLISH, Words } from "./words.js";

/** A file that could not be loaded is asked for again after this. */
const AGAIN_MS = 10_000;

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
