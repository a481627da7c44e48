// @ts-check
/**
 * Parts of the widget that a page fetches only if it needs them, after the score is there: files of their own, beside
 * the loader. They share no state with the loader, so they import nothing of it that has any.
 */

import { delayMs } from "./reconnect.js";

/** Longer than a file takes on a slow phone: a browser waits for minutes for one that does not come. */
const FILE_MS = 12_000;
/** How long a busy page may put off what can wait. */
const IDLE_MS = 5_000;

/** How often each file did not come. @type {Record<string, number>} */
const failures = {};

/**
 * A module beside this one. A browser refuses what is not JavaScript by its type, as the page of a captive portal.
 *
 * @param {string} name of its file
 * @param {string} part that it exports: a portal may answer with a script of its own
 * @returns {Promise<any>} rejects if it does not come in time
 */
export async function later(name, part) {
  // A browser remembers a module that failed by its address, and a cache may have what a portal answered.
  const again = failures[name] ? `?${failures[name]}` : "";
  try {
    const module = await Promise.race([
      import(new URL(name + again, import.meta.url).href),
      new Promise((_, reject) => setTimeout(reject, FILE_MS)),
    ]);
    if (!module[part]) throw name;
    return module;
  } catch (error) {
    failures[name] = (failures[name] ?? 0) + 1;
    throw error;
  }
}

/** @typedef {typeof import("./afterwards.js")} Afterwards */

/** So long a change waits for what announces it. */
const SOON_MS = 1_000;
let isWanted = false;
let skipWait = () => {};
/** @type {(module: Afterwards) => void} */
let resolveLoaded;

/** afterwards.js, if it is there. @type {Afterwards | undefined} */
export let there;
/** Once afterwards.js was wanted and has come. @type {Promise<Afterwards>} */
export const loaded = /* @__PURE__ */ new Promise((resolve) => (resolveLoaded = resolve));

/** What a page does not need for its first score. It is asked for until it is there, so this never rejects. */
export function afterwards() {
  if (!isWanted) void untilLoaded();
  isWanted = true;
  return loaded;
}

/** The same, or nothing if it does not come soon. @returns {Promise<Afterwards | undefined>} */
export const soon = () =>
  Promise.race([afterwards(), new Promise((resolve) => setTimeout(resolve, SOON_MS))]);

/** The reader is back, or the network: ask now. */
export const wake = () => skipWait();

async function untilLoaded() {
  for (let attempt = 0; ; attempt++) {
    try {
      return resolveLoaded((there = await (AFTERWARDS ? later(AFTERWARDS, "Poller") : import("./afterwards.js"))));
    } catch {
      // No network, or one that answers for the origin.
    }
    await new Promise((resolve) => {
      skipWait = /** @type {() => void} */ (resolve);
      setTimeout(resolve, delayMs(attempt, Math.random()));
    });
  }
}

/** @param {() => void} run */
export function whenIdle(run) {
  const ask = globalThis.requestIdleCallback ?? ((wanted) => setTimeout(wanted, 200));
  ask(run, { timeout: IDLE_MS });
}
