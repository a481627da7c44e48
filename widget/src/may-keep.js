// @ts-check

import { OFFLINE_META_NAME } from "./wire.js";

/**
 * Whether this page may keep something for a visit without a network (keep.js): a page of the origin itself, or one of
 * a publisher at the same origin that has `<meta name="touchline-offline">`.
 *
 * @param {string} base the URL of the origin
 */
export function mayKeep(base) {
  const isOwn = new URL(base).origin === location.origin && "caches" in globalThis;
  return isOwn && document.querySelector(`meta[name="${OFFLINE_META_NAME}"]`) !== null;
}
