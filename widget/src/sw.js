// @ts-check
/**
 * The service worker: a visit without a network finds the last page, its files, and the last state.
 *
 * Files with a hash in their name come from the cache and never from the network twice. Pages come from
 * the network, and from the cache when it does not answer. Streams, polls and fragments are left alone:
 * a score is live or it is shown with its age, and keep.js keeps the last one.
 *
 * It uses caches under its own versioned prefix and deletes only its own. A new one takes over at once
 * if it speaks the same protocol; otherwise it waits until the pages that speak the old one are closed.
 */

/** @type {ServiceWorkerGlobalScope} */
const worker = /** @type {any} */ (self);

const PREFIX = "live-score-v";
const FILES = `${PREFIX}${PROTOCOL}-files`;
const PAGES = `${PREFIX}${PROTOCOL}-pages`;
const KEPT = `${PREFIX}${PROTOCOL}-kept`; // keep.js writes it
/** A phone on a platform with one bar: better the last page than none. */
const PAGE_MS = 4_000;
const PAGES_MAX = 20;

const KNOWN = new Set([...SHELL, ...RUNTIME, ...PYODIDE].map((path) => `/widget/${path}`));

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));

worker.addEventListener("message", (event) => {
  if (event.data.type === "keep") event.waitUntil(keepPage(event.data.url));
  else if (event.data.type === "keep-runtime") event.waitUntil(addMissing(RUNTIME));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith("/widget/")) {
    if (/-[0-9a-f]{12}[./]/.test(url.pathname)) event.respondWith(hashed(request));
  } else if (request.mode === "navigate" && /^\/(?:$|match\/[^/]+$|embed\/)/.test(url.pathname)) {
    event.respondWith(page(event));
  }
});

async function install() {
  await addMissing(SHELL);
  const other = (await caches.keys()).some((name) => name.startsWith(PREFIX) && ![FILES, PAGES, KEPT].includes(name));
  if (!other) await worker.skipWaiting();
}

async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && ![FILES, PAGES, KEPT].includes(name)) await caches.delete(name);
  }
  // Files of an earlier release go, unless a page that is kept still names them.
  const pages = await caches.open(PAGES);
  const texts = await Promise.all((await pages.matchAll()).map((kept) => kept.text()));
  const files = await caches.open(FILES);
  for (const request of await files.keys()) {
    const { pathname } = new URL(request.url);
    if (!KNOWN.has(pathname) && !texts.some((text) => text.includes(pathname))) await files.delete(request);
  }
  await worker.clients.claim();
}

/** @param {string[]} paths below /widget/ */
async function addMissing(paths) {
  const files = await caches.open(FILES);
  for (const path of paths) {
    const url = `/widget/${path}`;
    if (await files.match(url)) continue;
    const response = await fetch(url);
    if (!isFile(response)) throw new Error(`${url}: ${response.status}`);
    await files.put(url, response);
  }
}

/** @param {Request} request */
async function hashed(request) {
  const files = await caches.open(FILES);
  const known = await files.match(request.url);
  if (known) return known;
  const response = await fetch(request);
  if (isFile(response) && KNOWN.has(new URL(request.url).pathname)) await files.put(request.url, response.clone());
  return response;
}

/** @param {FetchEvent} event */
async function page(event) {
  const { request } = event;
  const fetched = fetch(request).then((response) => {
    if (response.ok) event.waitUntil(store(request.url, response.clone()));
    return response;
  });
  const late = new Promise((resolve) => setTimeout(resolve, PAGE_MS));
  const first = await Promise.race([fetched.catch(() => null), late]);
  if (first instanceof Response && first.status < 500) return first;
  const known = await (await caches.open(PAGES)).match(request.url, { ignoreSearch: true });
  return known ?? fetched;
}

/** @param {string} url */
async function keepPage(url) {
  const response = await fetch(url);
  if (response.ok) await store(url, response);
}

/**
 * @param {string} url
 * @param {Response} response
 */
async function store(url, response) {
  // A captive portal, or a proxy with a warning, answers 200 with a page of its own.
  const copy = response.clone();
  if (response.redirected || !/^text\/html/.test(copy.headers.get("Content-Type") ?? "")) return;
  if (!(await copy.text()).includes("<live-score")) return;
  const pages = await caches.open(PAGES);
  await pages.delete(url); // so that it comes last: the first are the oldest
  await pages.put(url, response);
  const urls = await pages.keys();
  for (const old of urls.slice(0, -PAGES_MAX)) await pages.delete(old);
}

/** Whether an answer can be a file of the widget: none of them is a page. @param {Response} response */
function isFile(response) {
  return response.ok && !response.redirected && !/^text\/html/.test(response.headers.get("Content-Type") ?? "");
}
