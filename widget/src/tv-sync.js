// @ts-check
/**
 * The delay from a moment that the reader sees: when their screen kicks off, or shows the goal. The log knows when it
 * took the event, so what lies between is by how much their screen is late. Loaded once the control is opened.
 */

import { DELTA_ACCEPTED, DELTA_DETAIL, DELTA_OP, DELTA_TYPE, HEADER_AS_OF, QUERY_BEHIND } from "./wire.js";

/** The longest delay. */
const DELAY_MAX_S = 120;
/** An id is behind the head here, so any slice does; 0 is over. A match has no more pages of deltas in two minutes. */
const PAGES_MAX = 8;

/** @typedef {"kickoff" | "goal"} Moment */

/**
 * By how many seconds a screen is late that shows a moment now.
 *
 * @param {[string, Record<string, any>][]} deltas with their ids, in order
 * @param {Moment} moment
 * @param {number} nowMs UTC, by the server's clock
 * @returns {number | null} from 0 to 120; null if there was no such moment within 120 s
 */
export function delayOf(deltas, moment, nowMs) {
  let latestMs = -Infinity;
  for (const [id, delta] of deltas) {
    const acceptedMs = Number(id.split("-")[0]) + (delta[DELTA_ACCEPTED] ?? 0);
    const isIt =
      moment === "goal"
        ? delta[DELTA_TYPE] === "GOAL"
        : delta[DELTA_TYPE] === "STATUS_CHANGE" && delta[DELTA_DETAIL]?.to === "LIVE";
    // A goal that was taken back is on the screen all the same; an amendment is not.
    if (isIt && !delta[DELTA_OP] && acceptedMs <= nowMs) latestMs = Math.max(latestMs, acceptedMs);
  }
  const seconds = Math.round((nowMs - latestMs) / 1_000);
  return seconds <= DELAY_MAX_S ? seconds : null;
}

/**
 * What the log took within the last two minutes. It is not shown.
 *
 * @param {string} match
 * @param {URL} base
 */
async function recent(match, base) {
  const state = new URL(`api/match/${match}/state?${QUERY_BEHIND}=${DELAY_MAX_S}`, base);
  const { epoch, seq } = await answer(state);
  /** @type {[string, Record<string, any>][]} */
  const deltas = [];
  let after = `${epoch}-${seq}`;
  for (let page = 0; page < PAGES_MAX; page++) {
    const run = await answer(new URL(`api/match/${match}/deltas/${after}/0`, base));
    if (!run.deltas.length) break;
    deltas.push(...run.deltas);
    after = run.next.id;
  }
  return deltas;
}

/** @param {URL} url */
async function answer(url) {
  const response = await fetch(url, { cache: "no-cache", credentials: "same-origin" });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

/** UTC milliseconds by the server's clock: the live page knows it; else the server is asked. @param {any} element @param {URL} base */
async function serverMs(element, base) {
  if (element.serverMs) return element.serverMs;
  const asked = performance.now();
  const response = await fetch(new URL(`api/match/${element.match}/state`, base), { cache: "no-store" });
  return Number(response.headers.get(HEADER_AS_OF)) - (performance.now() - asked);
}

/**
 * Offer both buttons.
 *
 * @param {Element} control
 * @param {(delay: number) => void} remember
 */
export function offer(control, remember) {
  const element = /** @type {any} */ (document.querySelector("main > live-score"));
  const place = /** @type {HTMLElement | null} */ (control.querySelector("[data-tl-sync]"));
  const none = /** @type {HTMLElement | null} */ (control.querySelector("[data-tl-sync-none]"));
  if (!element || !place || !none) return;
  const base = new URL("..", import.meta.url);
  place.hidden = false;
  for (const button of place.querySelectorAll("button")) {
    button.addEventListener("click", async () => {
      // When it was tapped counts, not when the answer is there.
      const tapped = performance.now();
      button.disabled = true;
      none.textContent = "";
      try {
        const nowMs = (await serverMs(element, base)) - (performance.now() - tapped);
        const delay = delayOf(await recent(element.match, base), /** @type {Moment} */ (button.value), nowMs);
        if (delay === null) throw new Error("no such moment");
        remember(delay);
        const url = new URL(location.href);
        url.searchParams.delete(QUERY_BEHIND);
        const others = url.search.replace("?", "&");
        url.search = delay ? `?${QUERY_BEHIND}=${delay}${others}` : others.replace("&", "?");
        location.assign(url);
      } catch {
        // The same words whatever there was, so that they tell nothing of the match.
        none.textContent = none.dataset.tlSyncNone ?? "";
      }
      button.disabled = false;
    });
  }
}
