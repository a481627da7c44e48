// @ts-check
/**
 * What is kept for a visit without a network, on pages that permit it (may-keep.js).
 *
 * sw.js keeps pages and files. The last state of a match is kept from here, by the page that shows it:
 * once the reducer runs locally, no request carries it past the service worker.
 */

import { isNewer } from "./ids.js";

/** One evening's matches; the oldest go first. */
const MATCHES_MAX = 20;

/**
 * @typedef {{ id: string, html: string, hash: string, at: number, snapshot: string }} Kept
 * `at`: when it was last known to be the newest, UTC milliseconds by the server's clock. `snapshot`: "" if only tier 1 ran.
 */

/** sw.js has the same names and leaves this one alone. @param {string} base */
const cacheName = (base) => `live-score-v${PROTOCOL}-kept${new URL(base).pathname.slice(1)}`;

/** What is kept is HTML in a language, as a reader with a delay is shown it. @param {string} base @param {string} slot */
const key = (base, slot) => new URL(`widget/kept/${slot}`, base);

/**
 * @param {string} base the URL of the origin
 * @param {string} slot the match, the delay and the language
 * @returns {Promise<Kept | null>}
 */
export async function read(base, slot) {
  try {
    const response = await (await caches.open(cacheName(base))).match(key(base, slot));
    return response ? await response.json() : null;
  } catch {
    return null; // storage may be forbidden; then there is nothing kept
  }
}

/**
 * @param {string} base the URL of the origin
 * @param {string} slot the match, the delay and the language
 * @param {Kept} kept
 */
export async function write(base, slot, kept) {
  try {
    const cache = await caches.open(cacheName(base));
    await cache.put(key(base, slot), new Response(JSON.stringify(kept)));
    const keys = await cache.keys();
    await Promise.all(keys.slice(0, -MATCHES_MAX).map((old) => cache.delete(old)));
  } catch {
    // A full disk costs the next visit its last state, and this one nothing.
  }
}

/**
 * Keep what a match shows.
 *
 * @param {import("./live-match.js").LiveMatch} live
 */
export async function keep(live) {
  live.keptMs = performance.now();
  const { shown, hash } = live;
  const at = live.freshness.asOfMs;
  const state = live.tier >= 2 ? await live.reducer?.state() : null;
  const snapshot = state?.id === shown.id ? state.snapshot : "";
  await write(live.base, live.slot, { id: shown.id, html: shown.html, hash, at, snapshot });
}

/**
 * A page out of a cache is older than what this browser last saw.
 *
 * @param {import("./live-match.js").LiveMatch} live
 */
export async function showKept(live) {
  const kept = await read(live.base, live.slot);
  if (!kept || live.ended || live.freshness.contacted) return;
  if (kept.id === live.shown.id) live.freshness.begin(kept.at);
  if (!isNewer(kept.id, live.shown.id)) return;
  live.freshness.asOfMs = 0;
  live.freshness.begin(kept.at);
  live.wanted = kept.id;
  live.snapshot = kept.snapshot ? { id: kept.id, text: kept.snapshot } : null;
  live.show({ id: kept.id, html: kept.html, hash: kept.hash, announce: "" });
}

/**
 * Register the service worker.
 *
 * @param {string} base the URL of the origin
 * @param {(url: URL) => string} scriptUrl makes an address one that the page trusts
 */
export async function registerServiceWorker(base, scriptUrl) {
  if (!("serviceWorker" in navigator)) return;
  try {
    // A page that did not come through a service worker has to be named to be kept. One that another page has
    // brought may have taken over this page since.
    const [navigation] = performance.getEntriesByType("navigation");
    const isUnknown = !(/** @type {PerformanceNavigationTiming | undefined} */ (navigation)?.workerStart);
    const scope = new URL(base).pathname;
    await navigator.serviceWorker.register(scriptUrl(new URL("widget/sw.js", base)), { scope });
    if (isUnknown) (await navigator.serviceWorker.ready).active?.postMessage({ type: "keep", url: location.href });
  } catch {
    // Private windows refuse; nothing depends on it.
  }
}

/** Tier 2 has its files: have them kept too. The browser has just fetched them, so this costs no bytes. */
export function keepRuntime() {
  navigator.serviceWorker?.controller?.postMessage({ type: "keep-runtime" });
}
