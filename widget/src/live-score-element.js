// @ts-check
/**
 * `<live-score match="…">`: a match that stays current. Importing this file registers nothing.
 *
 * Attributes, each of them also a property that reflects it (`max-tier` as `maxTier`). They may be set, changed and
 * removed at any time; what is shown is the match of the attribute, or nothing.
 *   match            the match's id
 *   src              the origin to follow it from; default: where this script came from
 *   theme            "light" or "dark"; default: the reader's preference (live-score.css)
 *   size             "ticker", "card" or "full"; default: all that there is, as wide as its place (live-score.css)
 *   delay            whole seconds by which what is shown stays behind, 0 to 120, for a page beside a late broadcast
 *   lang             the language, as that of any element: its own, or that of what it is in; English if we do not have it
 *   runtime          "micropython" or "pyodide": the reducer's; "none" for tier 1; default: what suits the page
 *   max-tier         "1" is runtime="none"
 * Set by the element
 *   data-tier        0 as the server rendered it, 1 live by fragments, 2 and 3 live by the local reducer
 *   data-id          the id shown
 *   data-connection  open (live), polling (live without a stream), connecting, waiting, offline (not live; the
 *                    age is shown), ended (the match is over, and nobody asks again), unknown (the origin has no such
 *                    match, which is said) or closed
 * Events, which bubble (events.js)
 *   touchline:goal, touchline:correction, touchline:status  once each, in order, as the reader sees them
 *   touchline:state    anything of the element's own changed; also sent by its former name, live-score:state
 *   live-score:change  what is shown is another; detail { match, id, announce }
 *
 * What the server rendered into it stays until there is something newer, whatever fails. An element
 * without a scoreboard in it, as on somebody else's page, shows one in a shadow root, and until then
 * whatever its author put there.
 */

import { LiveMatch } from "./live-match.js";
import { mark } from "./clock.js";
import { send } from "./events.js";
import { languageOf } from "./language.js";
import { afterwards, loaded, there } from "./later.js";
import { adoptProperties, reflect } from "./reflect.js";
import { parseHtml, scriptUrl } from "./safe-html.js";
import { openShadow } from "./shadow.js";
import {
  ATTRIBUTE_AGE,
  ATTRIBUTE_ANNOUNCE,
  ATTRIBUTE_AS_OF,
  ATTRIBUTE_FRESH,
  ATTRIBUTE_ID,
  ATTRIBUTE_MATCH,
  ATTRIBUTE_MOMENT,
  ATTRIBUTE_NOTIFICATIONS,
  KEY_MATCH_ID,
  SNAPSHOT_ELEMENT_ID,
} from "./wire.js";

const HERE = new URL("..", import.meta.url).href;
const DELAY_MAX_S = 120;
/** One timer for all clocks and ages on the page. @type {Set<LiveScoreElement>} */
const ticking = new Set();
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticker;

/** Properties that reflect an attribute, with its name. */
const PROPERTIES = { match: "match", src: "src", theme: "theme", delay: "delay", maxTier: "max-tier" };

// A server that renders somebody's page may import this, and has no elements.
export class LiveScoreElement extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["match", "src", "delay", "max-tier", "lang"];

  /** @type {LiveMatch | null} */
  #live = null;
  /** @type {IntersectionObserver | null} */
  #observer = null;
  #listening = new AbortController();
  /** Where the scoreboard is: this element, or its shadow root. @type {Element | ShadowRoot} */
  #place = this;
  /** @type {HTMLElement | null} */
  #status = null;
  #connected = false;
  /** Since when what is shown is not live. */
  #lost = mark();
  #started = mark();
  /** When the scoreboard was last known to be the newest, UTC milliseconds; 0 for unknown. */
  #asOfMs = 0;
  /** @type {import("./language.js").Language} */
  #language = { tag: "en", locale: undefined };
  #base = HERE;

  /** UTC milliseconds by the server's clock; 0 while it is not known. */
  get serverMs() {
    const { clock } = this.#live?.feed ?? {};
    return clock?.known ? clock.nowMs : 0;
  }

  connectedCallback() {
    adoptProperties(this, PROPERTIES); // which is no change of what is there
    this.#connected = true;
    // A script that runs while the page is still being read may meet the element before its content.
    if (document.readyState === "loading" && !this.querySelector(".tl")) {
      const { signal } = this.#listening;
      document.addEventListener("DOMContentLoaded", () => this.#start(), { once: true, signal });
    } else {
      this.#start();
    }
  }

  disconnectedCallback() {
    this.#connected = false;
    this.#stop();
    // Ten seconds: long enough for a page that swaps its content, short enough not to occupy 40 MB for nothing.
    setTimeout(() => LiveMatch.any || there?.endTiers(), 10_000);
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(name, before, after) {
    if (before === after || !this.#connected) return;
    this.#stop();
    // Not for one frame is another match's score under this one's name.
    if (name === "match" || name === "src") this.#clear();
    // What a script sets together is followed once.
    queueMicrotask(() => this.#start());
  }

  #start() {
    const match = this.getAttribute("match");
    if (this.#live || !this.#connected || !match) return;
    const base = (this.#base = new URL(this.getAttribute("src") ?? HERE, document.baseURI).href);
    this.#language = languageOf(this);
    const delay = Math.ceil(Math.min(DELAY_MAX_S, Math.max(0, Number(this.getAttribute("delay")) || 0)));
    const isRendered = this.querySelector(":scope > .tl") !== null;
    // The server has shown the first score already.
    if (isRendered) void afterwards();
    if (!isRendered || this.shadowRoot) openShadow(this, base);
    this.#place = this.shadowRoot ?? this;
    const board = this.#place.querySelector(".tl");
    const isOurs = board?.getAttribute(ATTRIBUTE_MATCH) === match;
    if (board && !isOurs) this.#clear();
    this.#lost = this.#started = mark();
    const live = (this.#live = LiveMatch.join(base, match, delay, this.#language.tag, this));
    const { signal } = this.#listening;
    live.addEventListener("show", (event) => {
      this.#show(/** @type {CustomEvent} */ (event).detail.moved);
    }, { signal });
    live.addEventListener("news", (event) => {
      there?.notify(this, live.match, /** @type {CustomEvent} */ (event).detail);
    }, { signal });
    live.addEventListener("state", () => this.#reflect(), { signal });
    const asOfMs = this.#asOfMs || Number(board?.getAttribute(ATTRIBUTE_AS_OF));
    live.start((isOurs && board?.getAttribute(ATTRIBUTE_ID)) || "", inlineSnapshot(match), isOurs ? asOfMs : 0);
    const isOtherLanguage = isOurs && (board?.getAttribute("lang") || "en") !== this.#language.tag;
    if (isOtherLanguage) live.fill();
    if (live.shown.html) this.#show(false);
    this.#reflect();

    ticking.add(this);
    ticker ??= setInterval(tick, 1_000);
    this.tick();
    const isLimited = this.getAttribute("max-tier") === "1" || this.getAttribute("runtime") === "none";
    void loaded.then((later) => {
      if (this.#live !== live || this.#status) return;
      this.#status = later.addStatus(this.#place, this.#language.tag);
      if (!isLimited && !navigator.connection?.saveData) this.#observer = later.watchForReader(this, live, scriptUrl);
    });
  }

  /** Show nothing but what the element's author put into it. */
  #clear() {
    for (const board of this.#place.querySelectorAll(".tl")) board.remove();
    if (this.shadowRoot && !this.shadowRoot.querySelector("slot")) this.shadowRoot.prepend(document.createElement("slot"));
    this.#asOfMs = 0;
    for (const name of ["tier", "id", "connection"]) delete this.dataset[name];
  }

  #stop() {
    this.#listening.abort();
    this.#listening = new AbortController();
    this.#observer?.disconnect();
    this.#observer = null;
    if (this.#live?.shown.id) this.#asOfMs = this.#live.freshness.asOfMs;
    this.#live?.leave(this);
    this.#live = null;
    this.#status?.remove();
    this.#status = null;
    ticking.delete(this);
    if (!ticking.size) {
      clearInterval(ticker);
      ticker = undefined;
    }
  }

  /** @param {boolean} moved */
  #show(moved) {
    const live = /** @type {LiveMatch} */ (this.#live);
    const { id, html } = live.shown;
    const fresh = parseHtml(html).querySelector(".tl");
    if (!fresh) return;
    // A board without a match says that there is none.
    this.#place.querySelector(`.tl:not([${ATTRIBUTE_MATCH}])`)?.remove();
    fresh.removeAttribute(ATTRIBUTE_NOTIFICATIONS); // they have been read
    const old = this.#place.querySelector(".tl");
    const announce = live.shown.announce ?? fresh.getAttribute(ATTRIBUTE_ANNOUNCE) ?? "";
    const isNews = moved && old?.getAttribute(ATTRIBUTE_MATCH) === fresh.getAttribute(ATTRIBUTE_MATCH);
    // A page that shows its first score has seen no goal: nothing flashes.
    if (!isNews) fresh.removeAttribute(ATTRIBUTE_MOMENT);
    if (old) {
      // Without it all is new, which costs a reader the place in it and no more.
      if (there) there.morph(old, fresh, (row) => isNews && row.setAttribute(ATTRIBUTE_FRESH, ""));
      else old.replaceWith(fresh);
    } else {
      this.#place.querySelector("slot")?.remove();
      this.#place.prepend(fresh);
    }
    this.tick();
    if (!moved || !old) return;
    // Until this can be said, the sentence waits; an element that has gone says nothing.
    if (announce && live.speaker === this) void loaded.then((later) => this.#status && later.say(this.#status, announce));
    send(this, "live-score:change", { match: live.match, id, announce });
  }

  #reflect() {
    const live = /** @type {LiveMatch} */ (this.#live);
    const { match, tier, latencyMs, connection, hash, bootMs } = live;
    this.dataset.tier = String(tier);
    this.dataset.id = live.shown.id;
    this.dataset.connection = connection;
    if (connection === "unknown") there?.sayUnknown(this.#place, this.#base, this.#language.tag, parseHtml);
    this.tick();
    const detail = { match, tier, id: live.shown.id, latencyMs, connection, hash, bootMs };
    send(this, "live-score:state", detail);
    send(this, "touchline:state", detail);
  }

  /** Update the minute and the age, and write times in the reader's own format. */
  tick() {
    const live = this.#live;
    if (!live) return;
    if (languageOf(this).tag !== this.#language.tag) {
      this.#stop();
      return this.#start(); // in the other language
    }
    const { freshness, feed } = live;
    feed.clock.look();
    // What was live may have grown old since the last look, without any event.
    if (this.dataset.connection && this.dataset.connection !== live.connection) return this.#reflect();
    const words = there?.writeTexts(this.#place, this.#base, this.#language, feed.clock);
    const isLive = ["open", "polling", "ended"].includes(live.connection);
    if (isLive) this.#lost = mark();
    const age = this.#place.querySelector(`[${ATTRIBUTE_AGE}]`);
    const line = isLive ? "" : freshness.ageLine(this.#lost, this.#started, words, this.#language.locale);
    // A tick that changes nothing must not touch the page.
    if (age && age.textContent !== line) age.textContent = line;
  }
}

function tick() {
  if (!document.hidden) for (const element of ticking) element.tick();
}

for (const name of ["visibilitychange", "resume"]) globalThis.document?.addEventListener(name, tick);
for (const name of ["pageshow", "online", "offline"]) globalThis.window?.addEventListener(name, tick);

void loaded.then(tick);
reflect(LiveScoreElement, PROPERTIES);

/** The page's own snapshot, if it is this match's. @param {string} match */
function inlineSnapshot(match) {
  const text = document.getElementById(SNAPSHOT_ELEMENT_ID)?.textContent;
  try {
    return text && JSON.parse(text)[KEY_MATCH_ID] === match ? text : "";
  } catch {
    return ""; // somebody's page, or a proxy, has changed it
  }
}
