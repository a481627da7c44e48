// @ts-check
/**
 * What the loader lends to its modules that are loaded later: parts with a state that a page has once (its streams, its
 * stylesheets, its policy of Trusted Types), and parts that the loader has anyway.
 */

import { there } from "./later.js";

import { Refusal, ask } from "./answers.js";
import { Feed } from "./feed.js";
import { Freshness } from "./freshness.js";
import { parseHtml } from "./safe-html.js";
import { openShadow } from "./shadow.js";
import { languageOf } from "./language.js";

/** The texts of a language, once they are here. @param {string} base the URL of the origin @param {string} tag */
const wordsOf = (base, tag) => there?.wordsOf(base, tag) ?? null;

export const core = { Feed, Freshness, Refusal, ask, languageOf, openShadow, parseHtml, wordsOf };
