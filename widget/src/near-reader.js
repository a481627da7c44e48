// @ts-check
/** The reducer starts for what a reader is about to see; on a page that still has to show it, once that is idle. */

import { keepRuntime } from "./kept.js";
import { whenIdle } from "./later.js";
import { MissingFile, joinTiers, prepareTiers } from "./tiers.js";

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
      // Its files are on their way while the page is busy. Not for a match that nobody knows.
      if (live.shown.id) prepareTiers(live.base, scriptUrl);
      const run = () => void start(element, live, scriptUrl);
      if (element.shadowRoot) whenIdle(run);
      else run();
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
  // Not for a match that nobody knows.
  if (!live.shown.id) await new Promise((resolve) => live.addEventListener("show", resolve, { once: true }));
  for (let attempt = 0; live.elements.has(element); attempt++) {
    try {
      await joinTiers(live.base, live, element.getAttribute("runtime") ?? "", scriptUrl);
      return keepRuntime(live.base);
    } catch (error) {
      // Tier 1 goes on; there is nothing a reader could do about it.
      if (!(error instanceof MissingFile)) return;
    }
    await live.pause(attempt, null, Infinity);
  }
}
