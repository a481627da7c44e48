// @ts-check
/** The state of a match as the origin has it, for a page that cannot go on from what it has. */

import { Refusal, ask } from "./answers.js";
import { idOf, isNewer, parts } from "./ids.js";
import { JSON_TYPE, KEY_MATCH_ID } from "./wire.js";

/**
 * @param {import("./live-match.js").LiveMatch} live
 * @returns {Promise<import("./live-match.js").Snapshot>}
 * @throws {Refusal} it cannot be had now, or is older than what was announced
 */
export async function fetchSnapshot(live) {
  const url = new URL(`api/match/${live.match}/state`, live.base).href;
  for (const cache of /** @type {const} */ (["default", "reload"])) {
    const { text } = await ask(url, JSON_TYPE, { cache });
    const state = JSON.parse(text);
    const id = idOf(state);
    const least = live.least || live.shown.id;
    const isStale = least && (parts(id)[0] !== parts(least)[0] || isNewer(least, id));
    if (state[KEY_MATCH_ID] === live.match && !isStale) return { id, text };
  }
  throw new Refusal(0, null); // still older, past the caches, than what was announced
}
