// @ts-check
/**
 * A match page of our own: its title, its heading, its structured data and its icon follow what its `<live-score>`
 * shows, and so never run ahead of a spoiler delay. The texts are the view's, from the scoreboard's attributes.
 * Somebody else's page does not load this file.
 */

import { sample } from "./beacon.js";
import { ATTRIBUTE_CLOCK_START, ATTRIBUTE_JSON_LD, ATTRIBUTE_TITLE, BEACON_META_NAME } from "./wire.js";

/** Before the running minute in a title (shared_state/view.py, page_title). */
const MIDDLE_DOT = " · ";

const heading = document.querySelector("[data-tl-heading]");
const element = document.querySelector("main > live-score");
const structured = document.querySelector('script[type="application/ld+json"]');
const icon = /** @type {HTMLLinkElement | null} */ (document.querySelector("link[rel=icon][data-tl-badged]"));
/** What the server wrote behind the match: " · Touchline". */
const site = document.title.slice(heading?.textContent?.length ?? 0);

/** @param {Element} node @param {string} text */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The title of what is shown, with the minute as the scoreboard's clock shows it. @param {Element} board */
function titleOf(board) {
  const title = board.getAttribute(ATTRIBUTE_TITLE) ?? "";
  const clock = board.querySelector(`[${ATTRIBUTE_CLOCK_START}]`);
  const at = title.lastIndexOf(MIDDLE_DOT);
  return clock?.textContent && at >= 0 ? title.slice(0, at) + MIDDLE_DOT + clock.textContent : title;
}

/** @param {Element} board */
function writeStructured(board) {
  const changes = JSON.parse(board.getAttribute(ATTRIBUTE_JSON_LD) ?? "{}");
  if (!structured) return;
  const data = JSON.parse(structured.textContent ?? "{}");
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete data[name];
    else data[name] = value;
  }
  write(structured, JSON.stringify(data));
}

function follow() {
  const board = element?.querySelector(".tl");
  if (!board?.hasAttribute(ATTRIBUTE_TITLE) || !heading) return;
  const title = titleOf(board);
  write(heading, title);
  if (document.title !== title + site) document.title = title + site;
}

/** A reader who looks at another tab sees by the icon that something has happened. @param {boolean} isNews */
function badge(isNews) {
  if (!icon) return;
  icon.dataset.tlPlain ??= icon.href;
  const wanted = isNews ? (icon.dataset.tlBadged ?? "") : icon.dataset.tlPlain;
  if (icon.href !== new URL(wanted, location.href).href) icon.href = wanted;
}

element?.addEventListener("live-score:change", (event) => {
  const board = element.querySelector(".tl");
  if (board) writeStructured(board);
  follow();
  if (document.hidden && /** @type {CustomEvent} */ (event).detail.announce) badge(true);
});
element?.addEventListener("live-score:state", follow);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  badge(false);
  follow();
});
sample(Number(document.querySelector(`meta[name="${BEACON_META_NAME}"]`)?.getAttribute("content")));
// The minute runs without an event.
setInterval(() => document.hidden || follow(), 1_000);
