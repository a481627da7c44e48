// @ts-check
/** Registers `<live-score>`; a page that has the script twice keeps the first. */

import { LiveScoreElement } from "./live-score-element.js";

if (!customElements.get("live-score")) customElements.define("live-score", LiveScoreElement);
