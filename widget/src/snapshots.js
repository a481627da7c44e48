// @ts-check
/** The state of a match as the origin has it, for a page that cannot go on from what it has. */

import { Refusal, ask } from "./answers.js";
import { idOf, isNewer, parts } from "./ids.js";
import { HEADER_AS_OF, JSON_TYPE, KEY_MATCH_ID } from "./wire.js";

/**
 * @param {import("./live-match.js").LiveMatch} live
 * @returns {Promise<import("./live-match.js").Snapshot>}
 * @throws {Refusal} it cannot be had now, or is older than what was announced
 */
export async function fetchSnapshot(live) {
  const url = live.behind(`api/match/${live.match}/state`).href;
  for (const cache of /** @type {const} */ (["default", "reload"])) {
    const { text, headers } = await ask(url, JSON_TYPE, { cache });
    const state = JSON.parse(text);
    const id = idOf(state);
    const least = live.least || live.shown.id;
    // With a delay a later epoch is believed here: no heartbeat says so before.
    const isStale = least && (isNewer(least, id) || (parts(id)[0] !== parts(least)[0] && !live.delay));
    if (state[KEY_MATCH_ID] !== live.match || isStale) continue;
    if (live.delay) live.freshness.confirmHeld(Number(headers.get(HEADER_AS_OF)));
    return { id, text };
  }
  throw new Refusal(0, null); // still older, past the caches, than what was announced
}
