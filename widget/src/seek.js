// @ts-check
/** Ask for a match of which nothing is heard. If the origin knows none, the page says so. */

import { fetchSnapshot } from "./snapshots.js";
import { Words } from "./words.js";

/** A match that the origin does not know may begin yet. The waits between the questions grow to a minute. */
const UNKNOWN_MAX = 10;
const UNKNOWN_WAIT_MS = 60_000;

/**
 * Ask whether there is such a match, for as long as nothing was heard of it.
 *
 * @param {import("./live-match.js").LiveMatch} live
 */
export async function seek(live) {
  for (let unknown = 0, attempt = 1; unknown < UNKNOWN_MAX; attempt++) {
    if (live.ended || live.wanted) return;
    let waitMs = 0;
    try {
      const snapshot = await fetchSnapshot(live);
      if (live.ended) return;
      if (live.isUnknown) live.feed.follow(live.match, live, "");
      live.isUnknown = false;
      if (!live.wanted) await live.adopt(snapshot);
      return;
    } catch (error) {
      if (live.ended || live.wanted) return;
      const { status, hintMs } = /** @type {import("./answers.js").Refusal} */ (error);
      if (status === 404) {
        unknown++;
        live.feed.leave(live.match, live); // which would ask for it for ever
        live.isUnknown = true;
        live.changed();
      }
      waitMs = Math.min(UNKNOWN_WAIT_MS, 1_000 * 2 ** attempt) * (0.5 + Math.random() / 2) + (hintMs ?? 0);
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/**
 * The origin has no such match: say so beside what the element's author put into it.
 *
 * @param {Element | ShadowRoot} place
 * @param {string} base the URL of the origin
 * @param {string} language
 * @param {(html: string) => DocumentFragment} parseHtml of the loader, which has the page's policy
 */
export function sayUnknown(place, base, language, parseHtml) {
  if (place.querySelector(".tl")) return;
  const { tag, dir, texts } = Words.of(base, language) ?? Words.english;
  const own = `lang="${tag}" dir="${dir}"`;
  place.prepend(parseHtml(`<article class="tl" ${own}><p class="tl-unknown">${texts["client.unknown"]}</p></article>`));
}
