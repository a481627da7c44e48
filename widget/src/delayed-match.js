// @ts-check
/** The spoiler delay (spoiler-delay.js) of one match of this page. */

import { SpoilerDelay } from "./spoiler-delay.js";
import { fetchSnapshot } from "./snapshots.js";
import { ATTRIBUTE_EVENT } from "./wire.js";

/**
 * @param {import("./live-match.js").LiveMatch} live
 * @returns {SpoilerDelay}
 */
export function spoilerDelayOf(live) {
  return new SpoilerDelay(live.delay * 1_000, live.feed.clock, {
    release: (frame) => live.take(frame),
    confirm: (asOfMs) => {
      live.tier ||= 1;
      live.freshness.confirmHeld(asOfMs);
      live.changed();
    },
    reached: () => live.wanted,
    isOnBoard: (eventId) => live.shown.html.includes(`${ATTRIBUTE_EVENT}="${eventId}"`),
    ask: () => fetchSnapshot(live),
    adopt: (snapshot) => void live.adopt(snapshot),
  });
}
