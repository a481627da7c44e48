// @ts-check
/**
 * The service worker: a visit without a network finds the last page, its files, and the last state.
 *
 * Files with a hash in their name come from the cache and never from the network twice. Pages come from
 * the network, and from the cache when it does not answer. Streams, polls and fragments are left alone:
 * a score is live or it is shown with its age, and keep.js keeps the last one.
 *
 * An answer is kept only if the origin marked it as one to keep. A portal's page, or a publisher's page at the same
 * origin, has no mark. An answer that is `private` or `no-store` is not kept, whoever marked it.
 *
 * An answer is given first and stored afterwards: a full disk, or storage that is denied, costs the next visit its
 * copy and this one nothing.
 *
 * It shows a goal that was pushed, and replaces it by what came of it: both have the same tag (docs/push.md).
 *
 * It uses caches under its own versioned prefix and deletes only its own. A new one takes over at once
 * if it speaks the same protocol; otherwise it waits until the pages that speak the old one are closed.
 */

import { HEADER_KEEP, QUERY_BEHIND } from "./wire.js";

/** @type {ServiceWorkerGlobalScope} */
const worker = /** @type {any} */ (self);

/** The origin may be below a path. The folder of this file is directly below it. */
const BASE = new URL("..", location.href);
/** Ends the names of our caches, since another service worker may be below another path. */
const BELOW = BASE.pathname.slice(1);
const PREFIX = "live-score-v";
const FILES = `${PREFIX}${PROTOCOL}-files${BELOW}`;
const PAGES = `${PREFIX}${PROTOCOL}-pages${BELOW}`;
const KEPT = `${PREFIX}${PROTOCOL}-kept${BELOW}`; // keep.js writes it
/** A phone on a platform with one bar: better the last page than none. */
const PAGE_MS = 4_000;
const PAGES_MAX = 20;

const KNOWN = new Set([...SHELL, ...RUNTIME, ...PYODIDE, ...CATALOGUES].map((path) => urlOf(path)));

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));

worker.addEventListener("message", (event) => {
  // A page that was on its way while this one took over the others is not under it yet.
  if (event.data.type === "keep") event.waitUntil(Promise.all([worker.clients.claim(), keepPage(event.data.url)]));
  else if (event.data.type === "keep-runtime") event.waitUntil(addMissing(RUNTIME).catch(() => {}));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (KNOWN.has(request.url)) event.respondWith(hashed(event));
  else if (request.mode === "navigate" && isPage(request.url)) event.respondWith(page(event));
});

worker.addEventListener("push", (event) => event.waitUntil(showPush(event)));

worker.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openMatch(event.notification.data?.path ?? ""));
});

/** @param {string} path below the folder of the widget's files */
function urlOf(path) {
  return new URL(`widget/${path}`, BASE).href;
}

/** Whether a page of ours can be at an address. @param {string} address */
function isPage(address) {
  const { origin, pathname } = new URL(address);
  const isBelow = origin === BASE.origin && pathname.startsWith(BASE.pathname);
  return isBelow && /^(?:$|match\/[^/]+$|embed\/[^/]+$)/.test(pathname.slice(BASE.pathname.length));
}

async function install() {
  await addMissing(SHELL);
  const other = (await caches.keys()).some((name) => isOurs(name) && ![FILES, PAGES, KEPT].includes(name));
  if (!other) await worker.skipWaiting();
}

/** Whether a cache belongs to this service worker, or to an earlier one. @param {string} name */
function isOurs(name) {
  return name.startsWith(PREFIX) && name.replace(/^live-score-v\d+-(?:files|pages|kept)/, "") === BELOW;
}

async function activate() {
  for (const name of await caches.keys()) {
    if (isOurs(name) && ![FILES, PAGES, KEPT].includes(name)) await caches.delete(name);
  }
  // Files of an earlier release go, unless a page that is kept still names them.
  const pages = await caches.open(PAGES);
  const texts = await Promise.all((await pages.matchAll()).map((kept) => kept.text()));
  const files = await caches.open(FILES);
  for (const request of await files.keys()) {
    const { href, pathname } = new URL(request.url);
    if (!KNOWN.has(href) && !texts.some((text) => text.includes(pathname))) await files.delete(request);
  }
  await worker.clients.claim();
  // They came before it did, and a reader may leave them before their scripts name them. Nothing waits for that.
  void worker.clients.matchAll({ type: "window" }).then((open) => open.forEach(({ url }) => keepPage(url)));
}

/** @param {string[]} paths below the folder of the widget's files */
async function addMissing(paths) {
  const files = await caches.open(FILES);
  for (const url of paths.map(urlOf)) {
    if (await files.match(url)) continue;
    const response = await fetch(url);
    if (!mayKeep(response)) throw new Error(`${url}: ${response.status}`);
    await files.put(url, response);
  }
}

/** @param {FetchEvent} event */
async function hashed(event) {
  const { request } = event;
  const known = await stored(FILES, request.url);
  if (known) return known;
  const response = await fetch(request);
  if (mayKeep(response)) event.waitUntil(store(FILES, request.url, response.clone()));
  return response;
}

/** @param {FetchEvent} event */
async function page(event) {
  const { request } = event;
  const fetched = fetch(request);
  // Copied before the browser reads it.
  const copied = fetched.then((response) => response.clone());
  event.waitUntil(copied.then((copy) => storePage(request.url, copy)).catch(() => {}));
  const late = new Promise((resolve) => setTimeout(resolve, PAGE_MS));
  const first = await Promise.race([fetched.catch(() => null), late]);
  if (first instanceof Response && first.status < 500) return first;
  const { pathname, searchParams } = new URL(request.url);
  // What a list shows depends on its query, and a page with a delay is not to be ahead of it. Otherwise the page in another
  // language is better than none.
  const ignoreSearch = pathname !== BASE.pathname && !searchParams.has(QUERY_BEHIND);
  const known = (await stored(PAGES, request.url)) || (ignoreSearch && (await stored(PAGES, request.url, { ignoreSearch })));
  return known || fetched;
}

/** The page that brought the service worker was loaded before it. @param {string} url */
async function keepPage(url) {
  try {
    if (isPage(url)) await storePage(url, await fetch(url));
  } catch {
    // The next visit will be kept.
  }
}

/**
 * @param {string} url
 * @param {Response} response
 */
async function storePage(url, response) {
  if (mayKeep(response)) {
    await store(PAGES, url, response);
    const pages = await caches.open(PAGES);
    for (const old of (await pages.keys()).slice(0, -PAGES_MAX)) await pages.delete(old);
  } else if (response.headers.has(HEADER_KEEP)) {
    // Somebody has made this page of ours private since.
    await (await caches.open(PAGES)).delete(url);
  }
}

/**
 * What is stored at an address; undefined also where storage is denied.
 *
 * @param {string} cache
 * @param {string} url
 * @param {CacheQueryOptions} [options]
 */
async function stored(cache, url, options) {
  try {
    return await (await caches.open(cache)).match(url, options);
  } catch {
    return undefined;
  }
}

/**
 * @param {string} cache
 * @param {string} url
 * @param {Response} response
 */
async function store(cache, url, response) {
  try {
    const opened = await caches.open(cache);
    await opened.delete(url); // so that it comes last: the first are the oldest
    await opened.put(url, response);
  } catch {
    // No room, or no permission.
  }
}

/** Whether an answer is one of ours that may be kept. @param {Response} response */
function mayKeep(response) {
  const isPrivate = /\b(?:private|no-store)\b/i.test(response.headers.get("Cache-Control") ?? "");
  return response.ok && !response.redirected && response.headers.has(HEADER_KEEP) && !isPrivate;
}

/**
 * A browser takes the permission from who is pushed to and shows nothing, so whatever comes is shown.
 *
 * @param {PushEvent} event
 */
async function showPush(event) {
  /** @type {Record<string, any>} */
  let content = {};
  try {
    content = event.data?.json() ?? {};
  } catch {
    // It is none of ours.
  }
  const { title = "Touchline", body = "", tag = "", lang = "", path = "", renotify = false } = content;
  const isNew = Boolean(renotify && tag);
  // What a correction replaces has alerted already.
  const options = { body, tag, lang, renotify: isNew, silent: Boolean(tag) && !isNew, data: { path } };
  await worker.registration.showNotification(title, { ...options, dir: lang === "ar" ? "rtl" : "auto" });
}

/** The page of a match: one that is open already, or a new one. @param {string} path below the folder of the origin */
async function openMatch(path) {
  const url = new URL(path, BASE);
  if (url.origin !== BASE.origin || !isPage(url.href)) return;
  const open = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const shown = open.find((client) => new URL(client.url).pathname === url.pathname);
  if (shown) await shown.focus();
  else await worker.clients.openWindow(url.href);
}
