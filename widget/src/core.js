// @ts-check
/**
 * What the loader lends to its modules that are loaded later: parts with a state that a page has once (its streams, its
 * stylesheets, its policy of Trusted Types), and parts that the loader has anyway.
 */

import { there } from "./later.js";

export { Refusal, ask } from "./answers.js";
export { Feed } from "./feed.js";
export { Freshness } from "./freshness.js";
export { parseHtml } from "./safe-html.js";
export { openShadow } from "./shadow.js";
export { languageOf } from "./language.js";

/** The texts of a language, once they are here. @param {string} base the URL of the origin @param {string} tag */
export const wordsOf = (base, tag) => there?.Words.of(base, tag) ?? null;
