// @ts-check
/** The reader's own delay on a match page: what they choose is remembered. What a list covers, they may uncover. */

import { QUERY_BEHIND } from "./wire.js";

const KEY = "touchline-delay";

const control = document.querySelector("[data-tl-delay]");
const form = control?.querySelector("form");
const root = document.documentElement;

/** @param {number} delay seconds; 0 for none */
export function remember(delay) {
  try {
    if (delay) localStorage.setItem(KEY, String(delay));
    else localStorage.removeItem(KEY);
  } catch {
    // The address has it all the same.
  }
}

form?.addEventListener("submit", () => remember(Number(new FormData(form).get(QUERY_BEHIND))));
control?.addEventListener("toggle", () => void import(new URL(TV_SYNC, import.meta.url).href).then(
  ({ offer }) => offer(control, remember),
  () => {}, // the seconds can be chosen without it
), { once: true });

const cover = document.querySelector("[data-tl-cover]");
cover?.querySelector("button")?.addEventListener("click", () => root.removeAttribute("data-tl-covered"));
