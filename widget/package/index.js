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

/**
 * @typedef {import("../src/events.js").GoalDetail} GoalDetail
 * @typedef {import("../src/events.js").CorrectionDetail} CorrectionDetail
 * @typedef {import("../src/events.js").CorrectionKind} CorrectionKind
 * @typedef {import("../src/events.js").StatusDetail} StatusDetail
 * @typedef {import("../src/events.js").StateDetail} StateDetail
 * @typedef {import("../src/events.js").MatchStatus} MatchStatus
 * @typedef {import("../src/events.js").Score} Score
 * @typedef {import("../src/events.js").GoalEvent} GoalEvent
 * @typedef {import("../src/events.js").CorrectionEvent} CorrectionEvent
 * @typedef {import("../src/events.js").StatusEvent} StatusEvent
 * @typedef {import("../src/events.js").StateEvent} StateEvent
 */
