// @ts-check
/**
 * `<live-scores day="…" competition="…">`: a list of matches that stays current. Importing this file registers
 * nothing. What it does is in live-list.js, which is loaded for the first one.
 *
 * Attributes
 *   day              of which UTC day; default: all
 *   competition      of which one; default: all
 *   page             which hundred of them; default: the first
 *   size             "ticker" (one line that scrolls), "card" (narrow) or "full"; default: by the room there is
 *   lang             the language, as that of any element; English if we do not have it
 *   src              the origin to follow it from; default: where this script came from
 *   theme            "light" or "dark"; default: the reader's preference (live-score.css)
 * Set by the element
 *   data-connection  open (live), polling (live without a stream), connecting, waiting, offline (not live; the age is
 *                    shown) or closed
 */

import { core } from "./core.js";
import { later } from "./later.js";

const HERE = new URL("..", import.meta.url).href;

/** @typedef {import("./live-list.js").LiveList} LiveList */

/** The next attempts after one that failed, milliseconds apart. */
const RETRIES_MS = [2_000, 5_000, 15_000, 60_000];

// A server that renders somebody's page may import this, and has no elements.
export class LiveScoresElement extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["day", "competition", "page", "src", "lang"];

  /** @type {LiveList | null} */
  #list = null;
  #listening = new AbortController();

  connectedCallback() {
    // A script that runs while the page is still being read may meet the element before its content.
    if (document.readyState === "loading" && !this.querySelector(".tl-list")) {
      const { signal } = this.#listening;
      document.addEventListener("DOMContentLoaded", () => void this.#start(), { once: true, signal });
    } else {
      void this.#start();
    }
  }

  disconnectedCallback() {
    this.#listening.abort();
    this.#listening = new AbortController();
    this.#list?.stop();
  }

  /**
   * @param {string} _name
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(_name, before, after) {
    if (before !== after) this.#list?.restart();
  }

  async #start(attempt = 0) {
    try {
      const { LiveList } = await (LIST ? later(LIST, "LiveList") : import("./live-list.js"));
      this.#list ??= new LiveList(this, core, HERE);
      if (this.isConnected) this.#list?.start();
    } catch {
      // What the page has in it stays: its own list, or what its author put there.
      const waitMs = RETRIES_MS[attempt];
      if (waitMs && this.isConnected) setTimeout(() => this.isConnected && void this.#start(attempt + 1), waitMs);
      else this.dataset.connection = "closed";
    }
  }
}
