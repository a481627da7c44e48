// @ts-check
/** Registers `<live-score>` and `<live-scores>`; a page that has the script twice keeps the first. */

import { LiveScoreElement } from "./live-score-element.js";
import { LiveScoresElement } from "./live-scores-element.js";

if (!customElements.get("live-score")) customElements.define("live-score", LiveScoreElement);
if (!customElements.get("live-scores")) customElements.define("live-scores", LiveScoresElement);
