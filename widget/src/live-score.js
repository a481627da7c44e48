// @ts-check
/**
 * The loader: what a page includes.
 *
 *     <script type="module" src="https://scores.example/widget/live-score.js" async></script>
 *     <live-score match="fra-cro"></live-score>
 */

import "./live-score-element-define.js";
import { registerServiceWorker } from "./keep.js";

export { LiveScoreElement } from "./live-score-element.js";
export { LiveScoresElement } from "./live-scores-element.js";

registerServiceWorker(new URL("..", import.meta.url).href);
