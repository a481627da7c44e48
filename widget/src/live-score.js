// @ts-check
/**
 * The loader: what a page includes.
 *
 *     <script type="module" src="https://scores.example/widget/live-score.js" async></script>
 *     <live-score match="fra-cro"></live-score>
 */

import "./live-score-element-define.js";
import { afterwards } from "./later.js";
import { scriptUrl } from "./safe-html.js";

export { LiveScoreElement } from "./live-score-element.js";
export { LiveScoresElement } from "./live-scores-element.js";

const base = new URL("..", import.meta.url).href;
// Once the page has what it needs itself.
const register = () => void afterwards().then((later) => later.register(base, scriptUrl));
if (document.readyState === "complete") register();
else addEventListener("load", register, { once: true });
