// @ts-check
/**
 * `<live-score match="…">`: a match that stays current. Importing this file registers nothing.
 *
 * Attributes
 *   match            the match's id
 *   src              the origin to follow it from; default: where this script came from
 *   theme            "light" or "dark"; default: the reader's preference (live-score.css)
 *   delay            seconds by which updates are delayed, 0 to 120, for a page beside a delayed broadcast
 *   runtime          "micropython" or "pyodide": the reducer's; "none" for tier 1; default: what suits the page
 *   max-tier         "1" is runtime="none"
 * Set by the element
 *   data-tier        0 as the server rendered it, 1 live by fragments, 2 and 3 live by the local reducer
 *   data-id          the id shown
 *   data-connection  open (live), polling (live without a stream), connecting, waiting, offline (not live; the
 *                    age is shown), ended (the match is over, and nobody asks again) or closed
 * Events, which bubble
 *   live-score:change  what is shown is another; detail { match, id, announce }
 *   live-score:state   anything of it changed; detail { match, tier, id, latencyMs, connection, hash, bootMs }
 *
 * What the server rendered into it stays until there is something newer, whatever fails. An element
 * without a scoreboard in it, as on somebody else's page, shows one in a shadow root, and until then
 * whatever its author put there.
 */

import { showDelayed } from "./delayed.js";
import { LiveMatch } from "./live-match.js";
import { elapsedMs, mark } from "./clock.js";
import { morph } from "./morph.js";
import { keepRuntime, mayKeep } from "./keep.js";
import { safeHtml } from "./safe-html.js";
import { openShadow } from "./shadow.js";
import { endTiers, joinTiers } from "./tiers.js";
import { ageText, localizeTimes, minute, write } from "./wording.js";
import {
  ATTRIBUTE_AGE,
  ATTRIBUTE_ANNOUNCE,
  ATTRIBUTE_AS_OF,
  ATTRIBUTE_CLOCK_START,
  ATTRIBUTE_FRESH,
  ATTRIBUTE_ID,
  ATTRIBUTE_MATCH,
  KEY_MATCH_ID,
  SNAPSHOT_ELEMENT_ID,
} from "./wire.js";

const HERE = new URL("..", import.meta.url).href;
const DELAY_MAX_S = 120;
/** A lost connection is mostly back within this time; a remark on it would only flicker. */
const AGE_AFTER_MS = 4_000;
/** What is older than this is said to be at once; but a page that was just loaded has a second to connect. */
const OLD_MS = 40_000;
const LOADED_MS = 1_000;
/** An announcement stays so long, beside those that come meanwhile. */
const SPOKEN_MS = 10_000;
/** Start the reducer a little before the reader scrolls to it: two presses of an arrow key. */
const ROOT_MARGIN = "256px";
/** How long a busy page may put off the reducer's start. */
const IDLE_MS = 5_000;
/** Said only to screen readers; kept out of the way without relying on a stylesheet. */
const UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap";

/** One timer for all clocks and ages on the page. @type {Set<LiveScoreElement>} */
const ticking = new Set();
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticker;

export class LiveScoreElement extends HTMLElement {
  static observedAttributes = ["match", "src", "delay"];

  /** @type {LiveMatch | null} */
  #live = null;
  /** @type {IntersectionObserver | null} */
  #observer = null;
  #listening = new AbortController();
  /** Where the scoreboard is: this element, or its shadow root. @type {Element | ShadowRoot} */
  #place = this;
  /** @type {HTMLElement | null} */
  #status = null;
  /** Since when what is shown is not live. */
  #lost = mark();
  #started = mark();

  connectedCallback() {
    // A script that runs while the page is still being read may meet the element before its content.
    if (document.readyState === "loading" && !this.querySelector(".tl")) {
      const { signal } = this.#listening;
      document.addEventListener("DOMContentLoaded", () => this.isConnected && this.#start(), { once: true, signal });
    } else {
      this.#start();
    }
  }

  disconnectedCallback() {
    this.#stop();
    // Ten seconds: long enough for a page that swaps its content, short enough not to occupy 40 MB for nothing.
    setTimeout(() => LiveMatch.any || endTiers(), 10_000);
  }

  /**
   * @param {string} _name
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(_name, before, after) {
    if (before === after || !this.#live) return;
    this.#stop();
    this.#start();
  }

  /** The match this element follows. */
  get match() {
    return this.getAttribute("match") ?? "";
  }

  #start() {
    if (this.#live || !this.match) return;
    const base = new URL(this.getAttribute("src") ?? HERE, document.baseURI).href;
    const delay = Math.min(DELAY_MAX_S, Math.max(0, Number(this.getAttribute("delay")) || 0));
    const rendered = this.querySelector(":scope > .tl");
    const sameMatch = rendered?.getAttribute(ATTRIBUTE_MATCH) === this.match;
    if (!rendered && !this.shadowRoot) openShadow(this, base);
    this.#place = this.shadowRoot ?? this;
    this.#addStatus();

    this.#lost = this.#started = mark();
    const live = (this.#live = LiveMatch.join(base, this.match, delay, this));
    const { signal } = this.#listening;
    live.addEventListener("show", (event) => this.#show(/** @type {CustomEvent} */ (event).detail.moved), { signal });
    live.addEventListener("state", () => this.#reflect(), { signal });
    live.start((sameMatch && rendered?.getAttribute(ATTRIBUTE_ID)) || "", inlineSnapshot(this.match), sameMatch ? Number(rendered?.getAttribute(ATTRIBUTE_AS_OF)) : 0);
    if (live.shown.html) this.#show(false);
    this.#reflect();

    ticking.add(this);
    ticker ??= setInterval(tick, 1_000);
    this.tick();
    const isLimited = this.getAttribute("max-tier") === "1" || this.getAttribute("runtime") === "none";
    if (!isLimited && !navigator.connection?.saveData) this.#watchForReader(base);
  }

  #stop() {
    this.#listening.abort();
    this.#listening = new AbortController();
    this.#observer?.disconnect();
    this.#live?.leave(this);
    this.#live = null;
    this.#status?.remove();
    ticking.delete(this);
    if (!ticking.size) {
      clearInterval(ticker);
      ticker = undefined;
    }
  }

  #addStatus() {
    // It must be there, and empty, before there is something to say.
    this.#status = document.createElement("div");
    this.#status.setAttribute("role", "status");
    // Each announcement is spoken by itself: one that follows at once neither replaces nor repeats the one before.
    this.#status.setAttribute("aria-atomic", "false");
    this.#status.style.cssText = UNSEEN;
    this.#place.append(this.#status);
  }

  /** @param {string} base */
  #watchForReader(base) {
    this.#observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        this.#observer?.disconnect();
        const later = globalThis.requestIdleCallback ?? ((run) => setTimeout(run, 200));
        later(() => void this.#takeOver(base), { timeout: IDLE_MS });
      },
      { rootMargin: ROOT_MARGIN },
    );
    this.#observer.observe(this);
  }

  /** @param {string} base */
  async #takeOver(base) {
    if (!this.#live) return;
    try {
      await joinTiers(base, this.#live, this.getAttribute("runtime") ?? "");
      if (mayKeep(base)) keepRuntime();
    } catch {
      // Tier 1 goes on; there is nothing a reader could do about it.
    }
  }

  /** @param {boolean} moved */
  #show(moved) {
    const live = /** @type {LiveMatch} */ (this.#live);
    const { id, html } = live.shown;
    const template = document.createElement("template");
    template.innerHTML = safeHtml(html);
    const fresh = template.content.querySelector(".tl");
    if (!fresh) return;
    const old = this.#place.querySelector(".tl");
    const announce = live.shown.announce ?? fresh.getAttribute(ATTRIBUTE_ANNOUNCE) ?? "";
    if (old) {
      const same = old.getAttribute(ATTRIBUTE_MATCH) === fresh.getAttribute(ATTRIBUTE_MATCH);
      morph(old, fresh, (row) => moved && same && row.setAttribute(ATTRIBUTE_FRESH, ""));
    } else {
      this.#place.querySelector("slot")?.remove();
      this.#place.prepend(fresh);
    }
    this.tick();
    if (!moved || !old) return;
    const [speaker] = live.elements;
    if (announce && speaker === this) {
      const line = document.createElement("p");
      line.textContent = announce;
      this.#status?.append(line);
      setTimeout(() => line.remove(), SPOKEN_MS);
    }
    this.#send("change", { match: live.match, id, announce });
  }

  #reflect() {
    const live = /** @type {LiveMatch} */ (this.#live);
    const { match, tier, latencyMs, connection, hash, bootMs } = live;
    this.dataset.tier = String(tier);
    this.dataset.id = live.shown.id;
    this.dataset.connection = connection;
    this.tick();
    this.#send("state", { match, tier, id: live.shown.id, latencyMs, connection, hash, bootMs });
  }

  /** Update the minute and the age, and write times in the reader's own format. */
  tick() {
    const live = this.#live;
    if (!live) return;
    const { freshness, feed } = live;
    feed.clock.look();
    // What was live may have grown old since the last look, without any event.
    if (this.dataset.connection && this.dataset.connection !== live.connection) return this.#reflect();
    if (feed.clock.known) {
      showDelayed(this.#place, feed.clock.nowMs);
      for (const chip of this.#place.querySelectorAll(`[${ATTRIBUTE_CLOCK_START}]`)) {
        write(chip, minute(chip, feed.clock.nowMs) ?? chip.textContent);
      }
    }
    const language = this.closest("[lang]")?.getAttribute("lang") || undefined;
    localizeTimes(this.#place, language, { dateStyle: "medium", timeStyle: "short" });
    const isLive = ["open", "polling", "ended"].includes(live.connection);
    if (isLive) this.#lost = mark();
    const { asOfMs, ageMs } = freshness;
    const isLost = elapsedMs(this.#lost) > AGE_AFTER_MS && ageMs > AGE_AFTER_MS;
    const isOld = ageMs > OLD_MS && elapsedMs(this.#started) > LOADED_MS;
    const age = this.#place.querySelector(`[${ATTRIBUTE_AGE}]`);
    if (age) write(age, !isLive && asOfMs && (isLost || isOld) ? ageText(asOfMs, ageMs) : "");
  }

  /**
   * @param {"change" | "state"} name
   * @param {object} detail
   */
  #send(name, detail) {
    this.dispatchEvent(new CustomEvent(`live-score:${name}`, { detail, bubbles: true, composed: true }));
  }
}

function tick() {
  if (!document.hidden) for (const element of ticking) element.tick();
}

for (const name of ["visibilitychange", "resume"]) document.addEventListener(name, tick);
for (const name of ["pageshow", "online", "offline"]) addEventListener(name, tick);

/** The page's own snapshot, if it is this match's. @param {string} match */
function inlineSnapshot(match) {
  const text = document.getElementById(SNAPSHOT_ELEMENT_ID)?.textContent;
  return text && JSON.parse(text)[KEY_MATCH_ID] === match ? text : "";
}
