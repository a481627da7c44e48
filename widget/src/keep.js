// @ts-check
/**
 * What is kept for a visit without a network, on our own origin only: a service worker needs its own
 * origin, and somebody else's page is not ours to store things under.
 *
 * sw.js keeps pages and files. The last state of a match is kept from here, by the page that shows it:
 * once the reducer runs locally, no request carries it past the service worker.
 */

/** sw.js has the same prefix and leaves this one alone. */
const CACHE = `live-score-v${PROTOCOL}-kept`;
/** One evening's matches; the oldest go first. */
const MATCHES_MAX = 20;

/**
 * @typedef {{ id: string, html: string, hash: string, at: number, snapshot: string }} Kept
 * `at`: when it was last known to be the newest, UTC milliseconds by the server's clock. `snapshot`: "" if only tier 1 ran.
 */

/** What is kept is HTML in a language. @param {string} match @param {string} language */
const key = (match, language) => `/widget/kept/${match}${language === "en" ? "" : `.${language}`}`;

/** @param {string} base */
export function mayKeep(base) {
  return new URL(base).origin === location.origin && "caches" in globalThis;
}

/**
 * @param {string} match
 * @param {string} language
 * @returns {Promise<Kept | null>}
 */
export async function read(match, language) {
  try {
    const response = await (await caches.open(CACHE)).match(key(match, language));
    return response ? await response.json() : null;
  } catch {
    return null; // storage may be forbidden; then there is nothing kept
  }
}

/**
 * @param {string} match
 * @param {string} language
 * @param {Kept} kept
 */
export async function write(match, language, kept) {
  try {
    const cache = await caches.open(CACHE);
    await cache.put(key(match, language), new Response(JSON.stringify(kept)));
    const keys = await cache.keys();
    await Promise.all(keys.slice(0, -MATCHES_MAX).map((old) => cache.delete(old)));
  } catch {
    // A full disk costs the next visit its last state, and this one nothing.
  }
}

/**
 * Register the service worker, once the page has what it needs itself.
 *
 * @param {string} base
 */
export function registerServiceWorker(base) {
  if (!mayKeep(base) || !("serviceWorker" in navigator)) return;
  const register = async () => {
    try {
      const first = !navigator.serviceWorker.controller;
      await navigator.serviceWorker.register(new URL("widget/sw.js", base), { scope: "/" });
      // The page that brought the service worker was loaded before it: it has to be named to be kept.
      if (first) (await navigator.serviceWorker.ready).active?.postMessage({ type: "keep", url: location.href });
    } catch {
      // Private windows refuse; nothing depends on it.
    }
  };
  if (document.readyState === "complete") void register();
  else addEventListener("load", () => void register(), { once: true });
}

/** Tier 2 has its files: have them kept too. The browser has just fetched them, so this costs no bytes. */
export function keepRuntime() {
  navigator.serviceWorker?.controller?.postMessage({ type: "keep-runtime" });
}
