// @ts-check
/**
 * What the loader lends to its modules that are loaded later: parts with a state that a page has once (its streams, its
 * stylesheets, its policy of Trusted Types), and parts that the loader has anyway.
 */

export { Refusal, ask } from "./answers.js";
export { showDelayed } from "./delayed.js";
export { Feed } from "./feed.js";
export { Freshness } from "./freshness.js";
export { morph } from "./morph.js";
export { parseHtml } from "./safe-html.js";
export { openShadow } from "./shadow.js";
export { languageOf, wordsOf } from "./languages.js";
