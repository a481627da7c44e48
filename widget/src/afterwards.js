// @ts-check
/**
 * What a page does not need for its first score: what it says of the changes that follow, what the reader delays, other
 * languages, and what goes on where the stream brings nothing. One file of its own, which later.js loads once the page
 * is live, or at once where it is needed.
 */

import { later } from "./later.js";

/** For pages that permit no Trusted Types policy of ours. @returns {Promise<typeof import("./html-reader.js")>} */
export const htmlReader = () => (HTML_READER ? later(HTML_READER, "readHtml") : import("./html-reader.js"));

export { writeTexts } from "./board-texts.js";
export { spoilerDelayOf } from "./delayed-match.js";
export { notify } from "./events.js";
export { fill } from "./fill.js";
export { keep, register, showKept } from "./kept.js";
export { wordsOf } from "./languages.js";
export { morph } from "./morph.js";
export { watchForReader } from "./near-reader.js";
export { News } from "./news.js";
export { Poller } from "./polls.js";
export { addStatus, say } from "./say.js";
export { sayUnknown, seek } from "./seek.js";
export { fetchSnapshot } from "./snapshots.js";
export { endTiers } from "./tiers.js";
