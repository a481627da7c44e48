// @ts-check
/**
 * The elements `<live-score>` and `<live-scores>` for pages that are built with a bundler. Importing this registers them;
 * on a server that renders pages it does nothing.
 *
 *     import "@touchline/live-score";
 *     <live-score match="fra-cro" src="https://scores.example/"></live-score>
 *
 * @module
 */

import "../src/live-score-element-define.js";

export { LiveScoreElement } from "../src/live-score-element.js";
export { LiveScoresElement } from "../src/live-scores-element.js";
