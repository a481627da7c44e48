// @ts-check
/** What a page keeps for a visit without a network, where it may: keep.js does it, and only such pages load that. */

import { later } from "./later.js";
import { mayKeep } from "./may-keep.js";

/** @typedef {import("./live-match.js").LiveMatch} LiveMatch */
/** @typedef {typeof import("./keep.js")} Keep */

/** What is kept is for the next visit: this one goes on without it. @param {string} base @param {(keep: Keep) => void | Promise<void>} run */
const keeping = (base, run) => void (mayKeep(base) && later(KEEP, "write").then(run).catch(() => {}));

/** Keep what a match shows. @param {LiveMatch} live */
export const keep = (live) => keeping(live.base, (module) => module.keep(live));

/** A page out of a cache is older than what this browser last saw. @param {LiveMatch} live */
export const showKept = (live) => keeping(live.base, (module) => module.showKept(live));

/** Tier 2 has its files: have them kept too. @param {string} base */
export const keepRuntime = (base) => keeping(base, (module) => module.keepRuntime());

/**
 * Register the service worker.
 *
 * @param {string} base the URL of the origin
 * @param {(url: URL | string) => string} scriptUrl makes an address one that the page trusts
 */
export const register = (base, scriptUrl) => keeping(base, (module) => module.registerServiceWorker(base, scriptUrl));
