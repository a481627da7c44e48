// @ts-check
/**
 * On the page in a frame (/embed/<match>): what its address asks for, where a cache did not pass it on; and its height,
 * for the page around it that asks (frame.js).
 */

import { HEIGHT_ASKED, HEIGHT_MAX_PX, HEIGHT_MIN_PX, HEIGHT_READY, HEIGHT_TOLD } from "./frame-messages.js";

const query = new URLSearchParams(location.search);
const element = document.querySelector("live-score");
const main = document.querySelector("main");

for (const [name, values] of /** @type {const} */ ([["theme", ["light", "dark"]], ["size", ["ticker", "card", "full"]]])) {
  const value = query.get(name) ?? "";
  if (!(/** @type {readonly string[]} */ (values).includes(value))) continue;
  element?.setAttribute(name, value);
  if (name === "theme") document.documentElement.dataset.theme = value;
}

if (parent !== window && main) {
  /** Who asked. A height goes to nobody else. */
  let origin = "";
  let told = 0;
  const tell = () => {
    const height = Math.min(HEIGHT_MAX_PX, Math.max(HEIGHT_MIN_PX, Math.ceil(main.getBoundingClientRect().height)));
    if (!origin || height === told) return;
    told = height;
    parent.postMessage({ type: HEIGHT_TOLD, height }, origin);
  };
  addEventListener("message", (event) => {
    if (event.source !== parent || event.data?.type !== HEIGHT_ASKED) return;
    // A page in a sandbox, or from a file, has the origin "null", to which nothing can be sent alone.
    if (event.origin === "null") return;
    origin = event.origin;
    told = 0;
    tell();
  });
  new ResizeObserver(tell).observe(main);
  parent.postMessage({ type: HEIGHT_READY }, "*");
}
