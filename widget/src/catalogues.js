// @ts-check
/** The texts of the languages but English: one file each, beside the loader. */

import { ask } from "./answers.js";
import { JSON_TYPE } from "./wire.js";

/**
 * @param {string} base the URL of the origin
 * @param {string} tag
 * @returns {Promise<{ dir: "ltr" | "rtl", texts: Record<string, import("./words.js").Template> }>}
 */
export async function loadTexts(base, tag) {
  const url = new URL("widget/" + ASSETS.catalogues[tag], base).href;
  return JSON.parse((await ask(url, JSON_TYPE)).text);
}
