// @ts-check
/**
 * The loader: what a page includes.
 *
 *     <script type="module" src="https://scores.example/widget/live-score.js" async></script>
 *     <live-score match="fra-cro"></live-score>
 */

import "./live-score-element-define.js";
import { keepModule } from "./later.js";
import { mayKeep } from "./may-keep.js";
import { scriptUrl } from "./safe-html.js";

export { LiveScoreElement } from "./live-score-element.js";
export { LiveScoresElement } from "./live-scores-element.js";

const base = new URL("..", import.meta.url).href;
// Once the page has what it needs itself.
const loaded = () => mayKeep(base) && keepModule().then((keep) => keep.registerServiceWorker(base, scriptUrl), () => {});
if (document.readyState === "complete") void loaded();
else addEventListener("load", loaded, { once: true });
