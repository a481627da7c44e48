// @ts-check
/** Registers `<live-score>` and `<live-scores>`; a page that has the script twice keeps the first. */

import { LiveScoreElement } from "./live-score-element.js";
import { LiveScoresElement } from "./live-scores-element.js";

for (const [name, element] of /** @type {const} */ ([["live-score", LiveScoreElement], ["live-scores", LiveScoresElement]])) {
  const registry = globalThis.customElements;
  if (registry && !registry.get(name)) registry.define(name, element);
}
