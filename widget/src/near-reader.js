// @ts-check
/** Tier 2 starts for what a reader is about to see, once the page has nothing else to do. */

import { keepModule, runtimeModule, whenIdle } from "./later.js";
import { mayKeep } from "./may-keep.js";

/** Start the reducer a little before the reader scrolls to it: two presses of an arrow key. */
const ROOT_MARGIN = "256px";

/** @typedef {import("./live-match.js").LiveMatch} LiveMatch */

/** Once tier 2 was wanted. @type {typeof import("./runtime.js") | undefined} */
let tier2;

/**
 * @param {Element} element one of the match's
 * @param {LiveMatch} live
 * @param {(url: URL | string) => string} scriptUrl makes an address one that the page trusts
 * @returns {IntersectionObserver | null} null in a browser that is too old for the reducer as well
 */
export function watchForReader(element, live, scriptUrl) {
  if (!("IntersectionObserver" in globalThis)) return null;
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      whenIdle(() => void start(element, live, scriptUrl));
    },
    { rootMargin: ROOT_MARGIN },
  );
  observer.observe(element);
  return observer;
}

/** No match is followed any more: end what runs. */
export function endRuntimes() {
  tier2?.Runtime.endAll();
}

/**
 * @param {Element} element
 * @param {LiveMatch} live
 * @param {(url: URL | string) => string} scriptUrl
 */
async function start(element, live, scriptUrl) {
  if (!live.elements.has(element)) return;
  try {
    // Not for a match that nobody knows.
    if (!live.shown.id) await new Promise((resolve) => live.addEventListener("show", resolve, { once: true }));
    if (!live.elements.has(element)) return;
    const { Runtime, takeOver } = (tier2 = await runtimeModule());
    const runtime = await Runtime.of(live.base, scriptUrl);
    if (live.elements.has(element)) await takeOver(live, runtime);
    if (mayKeep(live.base)) (await keepModule()).keepRuntime();
  } catch {
    // Tier 1 goes on; there is nothing a reader could do about it.
  }
}
