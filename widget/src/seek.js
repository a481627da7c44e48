// @ts-check
/** Ask for a match of which nothing is heard. If the origin knows none, the page says so. */

import { isNewer } from "./ids.js";
import { wordsOf } from "./languages.js";
import { fetchSnapshot } from "./snapshots.js";
import { IN_ENGLISH } from "./words.js";

/** A match that the origin does not know may begin yet: so many questions, which take some four minutes. */
const UNKNOWN_MAX = 20;

/**
 * Ask whether there is such a match, for as long as nothing was heard of it.
 *
 * @param {import("./live-match.js").LiveMatch} live
 */
export async function seek(live) {
  const isSilent = () => !live.ended && (live.delay > 0 || !live.wanted);
  for (let unknown = 0, attempt = 0; unknown < UNKNOWN_MAX && isSilent(); attempt++) {
    try {
      const snapshot = await fetchSnapshot(live);
      if (!isSilent()) return;
      if (live.isUnknown || live.delay) live.feed.follow(live.match, live, live.delay ? snapshot.id : "");
      live.isUnknown = false;
      if (isNewer(snapshot.id, live.wanted)) await live.adopt(snapshot);
      return;
    } catch (error) {
      if (!isSilent()) return;
      if (/** @type {import("./answers.js").Refusal} */ (error).status === 404) {
        unknown++;
        live.feed.leave(live.match, live); // which would ask for it for ever
        live.isUnknown = true;
        live.changed();
      }
      await live.pause(attempt, error, Infinity);
    }
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
  const { tag, dir, texts } = wordsOf(base, language) ?? IN_ENGLISH;
  const own = `lang="${tag}" dir="${dir}"`;
  place.prepend(parseHtml(`<article class="tl" ${own}><p class="tl-unknown">${texts["client.unknown_match"]}</p></article>`));
}
