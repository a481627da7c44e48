// @ts-check
/** The reducer starts for what a reader is about to see, once the page has nothing else to do. */

import { keepRuntime } from "./kept.js";
import { whenIdle } from "./later.js";
import { joinTiers } from "./tiers.js";

/** Start the reducer a little before the reader scrolls to it: two presses of an arrow key. */
const ROOT_MARGIN = "256px";

/** @typedef {import("./live-match.js").LiveMatch} LiveMatch */

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
    await joinTiers(live.base, live, element.getAttribute("runtime") ?? "", scriptUrl);
    keepRuntime(live.base);
  } catch {
    // Tier 1 goes on; there is nothing a reader could do about it.
  }
}
