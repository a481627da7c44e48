// @ts-check
/**
 * What `<live-scores>` does once there is one: a module of its own, which live-scores-element.js loads. A page
 * without a list never asks for it. docs/decisions.md, decisions 68 and 79.
 *
 * A row that is on the page is replaced by the row that the stream brings. Whatever else changes (a new row, one that
 * goes to another section, a gap) has the list fetched again, whole. It announces nothing: a list of forty matches
 * would never stop speaking.
 */

import { learnAnswer } from "./answered-clock.js";
import { elapsedMs, mark } from "./clock.js";
import { isNewer, knownUntilMs } from "./ids.js";
import { dayOf, knownLocale, regroup, writeDays } from "./list-days.js";
import { RETRY_MAX_MS, RETRY_MS, retryMs } from "./reconnect.js";
import { showDelayed } from "./delayed.js";
import { morph } from "./morph.js";
import { minute, write, writePhrases } from "./wording.js";
import {
  ATTRIBUTE_AGE,
  ATTRIBUTE_CLOCK_START,
  ATTRIBUTE_ID,
  ATTRIBUTE_KICKOFF,
  ATTRIBUTE_LIST_ID,
  ATTRIBUTE_MATCH,
  ATTRIBUTE_PHASE,
  EVENT_GAP,
  EVENT_HEARTBEAT,
  EVENT_ROW,
  HEADER_AS_OF,
  HEADER_STEP,
  HTML_TYPE,
  KEY_HTML,
  KEY_ID,
  KEY_LISTS,
  KEY_MATCH_ID,
  KEY_LANGUAGE,
} from "./wire.js";

/** Two requests for a list are at least so far apart, whatever changes meanwhile. */
const APART_MS = 3_000;
/** All who watch a list hear of a new row at once. */
const JITTER_MS = 1_500;
/** While no stream confirms the list. */
const POLL_MS = 5_000;
/** While polls are answered, the last was asked no longer ago than this. */
const POLLED_MS = 10_000;
/** A stream has so long to begin before the list is polled. */
const PATIENCE_MS = 4_000;
/** Matches that are known to be on another page of the list. */
const ELSEWHERE_MAX = 2_000;

/**
 * @typedef {import("./polls.js").MatchFrame} MatchFrame
 * @typedef {import("./feed.js").Feed} Feed
 * @typedef {import("./freshness.js").Freshness} Freshness
 * @typedef {typeof import("./core.js").core} Core what a page must not have twice, from the loader
 */

export class LiveList {
  /** @type {Feed | null} */
  #feed = null;
  /** @type {Freshness | null} */
  #freshness = null;
  #listening = new AbortController();
  /** @type {HTMLElement} */
  #element;
  /** @type {Core} */
  #core;
  #here;
  #base;
  /** The list that the stream is asked for; the attributes may narrow it down. */
  #list = "";
  /** @type {Element | ShadowRoot} */
  #place;
  /** @type {import("./language.js").Language} */
  #language = { tag: "en", locale: undefined };
  /** How often something has changed that only the whole list shows, and of these what is shown. */
  #wanted = 1;
  #shown = 0;
  /** The reader's day, by which the list is written. */
  #day = "";
  /** When the newest of these was heard of, by the server's clock; 0 if that is not known. */
  #wantedMs = 0;
  #followed = false;
  #fetching = false;
  #dueMs = Infinity;
  #asked = { wall: -Infinity, steady: -Infinity };
  #answered = false;
  /** Whether the origin knows no match of the list. */
  #isNone = false;
  #lostSince = mark();
  /** Since when what is shown is not live. */
  #lost = mark();
  #started = mark();
  /** Rows that the list did not bring, with their phases. @type {Map<string, string>} */
  #elsewhere = new Map();
  /** Such rows since the last request. @type {Map<string, string>} */
  #missing = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {HTMLElement} element
   * @param {Core} core
   * @param {string} here the URL of the origin that the script came from
   */
  constructor(element, core, here) {
    this.#element = element;
    this.#place = element;
    this.#core = core;
    this.#base = this.#here = here;
  }

  /** The attributes say another list. */
  restart() {
    if (!this.#feed) return;
    this.stop();
    this.#place.querySelector(".tl-list")?.remove();
    this.#clearNone();
    this.start();
  }

  /** @returns {"connecting" | "open" | "polling" | "waiting" | "offline" | "closed"} */
  get connection() {
    const { connection } = /** @type {Feed} */ (this.#feed);
    if (connection === "closed") return connection;
    if (this.#freshness?.isFresh) {
      if (connection === "open" && this.#followed) return "open";
      // A list is also fetched beside a stream: only an answer of this moment says that the polls work.
      if (this.#answered && navigator.onLine && elapsedMs(this.#asked) < POLLED_MS) return "polling";
    }
    if (!navigator.onLine) return "offline";
    return connection === "connecting" && !this.#freshness?.contacted ? "connecting" : "waiting";
  }

  // ---- what the feed calls ---------------------------------------------------------------------------

  /** @param {MatchFrame} frame */
  onFrame({ event, id, data }) {
    if (event === EVENT_ROW) this.#onRow(data);
    else if (event === EVENT_GAP) this.#want();
    else if (event === EVENT_HEARTBEAT) this.#freshness?.hear(this.#id(this.#wanted), knownUntilMs(id), this.#id(this.#shown));
    this.#reflect();
  }

  onConnection() {
    this.#reflect();
  }

  // ---- start and end ---------------------------------------------------------------------------------

  start() {
    if (this.#feed) return;
    const { Feed, Freshness, openShadow } = this.#core;
    this.#base = new URL(this.#element.getAttribute("src") ?? this.#here, document.baseURI).href;
    this.#list = this.#attribute("competition") || this.#attribute("day");
    const feed = (this.#feed = Feed.of(this.#base));
    const freshness = (this.#freshness = new Freshness(feed.clock, 0));
    this.#language = this.#core.languageOf(this.#element);
    const rendered = this.#element.querySelector(":scope > .tl-list");
    if (!rendered && !this.#element.shadowRoot) openShadow(this.#element, this.#base);
    this.#place = this.#element.shadowRoot ?? this.#element;
    this.#lost = this.#started = this.#lostSince = mark();
    this.#wanted = 1;
    this.#day = "";
    this.#shown = rendered ? 1 : 0;
    this.#followed = this.#answered = this.#isNone = false;
    this.#elsewhere.clear();
    this.#missing.clear();
    if (rendered) {
      const cursor = rendered.getAttribute(ATTRIBUTE_LIST_ID) ?? "";
      if (cursor) freshness.begin(knownUntilMs(cursor));
      this.#follow(cursor);
    }
    const isRendered = rendered && (rendered.getAttribute("lang") || "en") === this.#language.tag;
    this.#dueMs = isRendered ? Infinity : 0;
    this.#timer = setInterval(() => this.#tick(), 1_000);
    const { signal } = this.#listening;
    const look = () => this.#tick();
    for (const name of ["visibilitychange", "resume"]) document.addEventListener(name, look, { signal });
    for (const name of ["pageshow", "online", "offline"]) addEventListener(name, look, { signal });
    this.#reflect();
    this.#tick();
  }

  stop() {
    this.#listening.abort();
    this.#listening = new AbortController();
    clearInterval(this.#timer);
    if (this.#followed) this.#feed?.leaveList(this.#list, this);
    this.#feed = null;
  }

  /** @param {string} cursor */
  #follow(cursor) {
    // Only of a list that is there: one that is not would end the stream of the page's matches with it.
    if (this.#followed) return;
    this.#followed = true;
    this.#feed?.followList(this.#list, cursor, this);
  }

  /** @param {string} name */
  #attribute(name) {
    return this.#element.getAttribute(name) ?? "";
  }

  /** What has changed that only the whole list shows, as an id. @param {number} n */
  #id(n) {
    return `0-${n}`;
  }

  // ---- rows ------------------------------------------------------------------------------------------

  /** @param {string} data */
  #onRow(data) {
    const row = JSON.parse(data);
    const match = row[KEY_MATCH_ID];
    const narrow = [this.#attribute("day"), this.#attribute("competition")].filter(Boolean);
    const belongs = narrow.every((name) => row[KEY_LISTS].includes(name));
    const old = this.#rows(this.#place).get(match);
    const fresh = this.#parsed(row[KEY_HTML]).querySelector(`[${ATTRIBUTE_MATCH}]`);
    if (!fresh || (!old && !belongs)) return;
    if (!old) {
      const phase = phaseOf(fresh);
      if (this.#elsewhere.get(match) === phase) return;
      this.#missing.set(match, phase);
      return this.#want();
    }
    if (isNewer(old.getAttribute(ATTRIBUTE_ID) ?? "", row[KEY_ID])) return;
    const words = this.#words;
    if (!words) return this.#want(); // the whole list comes in its language
    writePhrases(fresh, words);
    const isMoved = !belongs || phaseOf(old) !== phaseOf(fresh) || kickoffOf(old) !== kickoffOf(fresh);
    writeDays(fresh, this.#nowMs, this.#locale);
    morph(old, fresh, () => {});
    this.#runClocks();
    if (isMoved) this.#want();
  }

  /** @param {ParentNode} root @returns {Map<string, Element>} */
  #rows(root) {
    const rows = [...root.querySelectorAll(`li[${ATTRIBUTE_MATCH}]`)];
    return new Map(rows.map((row) => [row.getAttribute(ATTRIBUTE_MATCH) ?? "", row]));
  }

  /** HTML of the origin. Its links are below the origin, wherever they are shown. @param {string} html */
  #parsed(html) {
    const content = this.#core.parseHtml(html);
    const isOther = new URL(this.#base).origin !== location.origin;
    if (isOther || this.#language.tag !== "en") for (const link of content.querySelectorAll("a[href]")) {
      const url = new URL(link.getAttribute("href") ?? "", this.#base);
      // A row of the stream is in no language, and neither is its link.
      if (this.#language.tag !== "en") url.searchParams.set(KEY_LANGUAGE, this.#language.tag);
      link.setAttribute("href", isOther ? url.href : url.pathname + url.search);
    }
    return content;
  }

  // ---- the whole list --------------------------------------------------------------------------------

  /** Only the whole list shows what has changed. */
  #want() {
    const { clock } = /** @type {Feed} */ (this.#feed);
    this.#wanted++;
    this.#wantedMs = clock.known ? clock.nowMs : 0;
    this.#freshness?.hear(this.#id(this.#wanted), 0, this.#id(this.#shown));
    if (this.#dueMs === Infinity) this.#later(Math.max(0, APART_MS - elapsedMs(this.#asked)) + JITTER_MS * Math.random());
  }

  /** @param {number} ms */
  #later(ms) {
    this.#dueMs = performance.now() + ms;
    setTimeout(() => this.#tick(), ms + 1);
  }

  async #fetch() {
    if (this.#fetching) return;
    this.#fetching = true;
    this.#dueMs = Infinity;
    this.#asked = mark();
    const feed = this.#feed;
    const { signal } = this.#listening;
    const missing = this.#missing;
    this.#missing = new Map();
    const [wanted, wantedMs] = [this.#wanted, this.#wantedMs];
    try {
      let answer = await this.#ask("no-cache", signal);
      // A cache may have said that: ask past it, once.
      if (answer.asOfMs < wantedMs) answer = await this.#ask("reload", signal);
      if (signal.aborted || !feed) return;
      learnAnswer(feed.clock, answer.asOfMs);
      this.#isNone = false;
      this.#show(answer.root);
      this.#answered = true;
      if (answer.asOfMs >= wantedMs) {
        this.#shown = wanted;
        const here = this.#rows(this.#place);
        if (this.#elsewhere.size > ELSEWHERE_MAX) this.#elsewhere.clear();
        for (const [match, phase] of missing) if (!here.has(match)) this.#elsewhere.set(match, phase);
        if (this.#wanted === wanted) this.#freshness?.hear(this.#id(wanted), answer.asOfMs, this.#id(wanted));
        this.#freshness?.show(this.#id(wanted));
      }
      if (this.#shown !== this.#wanted) this.#later(APART_MS + JITTER_MS * Math.random());
      this.#follow(answer.root.getAttribute(ATTRIBUTE_LIST_ID) ?? "");
      feed.answered();
      this.#lostSince = mark();
    } catch (error) {
      if (signal.aborted) return;
      for (const [match, phase] of missing) this.#missing.set(match, phase);
      this.#answered = false;
      const { status = 0, hintMs = null } = error instanceof this.#core.Refusal ? error : {};
      // 404: no match of it is known yet.
      this.#isNone = status === 404;
      const leastMs = status === 404 ? RETRY_MAX_MS : 0;
      this.#later(Math.max(leastMs, retryMs(elapsedMs(this.#lostSince), hintMs)));
    } finally {
      this.#fetching = false;
      if (feed === this.#feed && feed) this.#reflect();
    }
  }

  /**
   * @param {RequestCache} cache
   * @param {AbortSignal} signal
   */
  async #ask(cache, signal) {
    const url = new URL("./list", this.#base);
    for (const name of ["day", "competition", "page"]) {
      const value = this.#attribute(name);
      // The address that the origin itself writes, so that no redirect is between.
      if (value && !(name === "page" && value === "1")) url.search += `${url.search ? "&" : "?"}${name}=${encoded(value)}`;
    }
    const { tag } = this.#language;
    if (tag !== "en") url.search += `${url.search ? "&" : "?"}${KEY_LANGUAGE}=${tag}`;
    const { text, headers } = await this.#core.ask(url.href, HTML_TYPE, { cache, signal });
    this.#feed?.hearStep(headers.get(HEADER_STEP));
    const root = this.#parsed(text).querySelector(".tl-list");
    if (!root) throw new this.#core.Refusal(0, null);
    return { root, asOfMs: Number(headers.get(HEADER_AS_OF)) };
  }

  /** @param {Element} fresh */
  #show(fresh) {
    const old = this.#place.querySelector(".tl-list");
    regroup(fresh, this.#nowMs);
    writeDays(fresh, this.#nowMs, this.#locale);
    if (!old) {
      this.#clearNone();
      this.#place.querySelector("slot")?.remove();
      this.#place.prepend(fresh.cloneNode(true));
    } else {
      // What the stream has brought may be newer than an answer.
      const rows = this.#rows(old);
      for (const [match, row] of this.#rows(fresh)) {
        const shown = rows.get(match);
        const isOlder = shown && isNewer(shown.getAttribute(ATTRIBUTE_ID) ?? "", row.getAttribute(ATTRIBUTE_ID) ?? "");
        if (isOlder) row.replaceWith(shown.cloneNode(true));
      }
      const focused = this.#focusedMatch;
      morph(old, /** @type {Element} */ (fresh.cloneNode(true)), () => {});
      // A row that went to another group is another element.
      if (focused && this.#focusedMatch !== focused) this.#rows(old).get(focused)?.querySelector("a")?.focus({ preventScroll: true });
    }
    this.#localize();
  }

  /** Say that there is no match, unless the element's author has put something there for that. */
  #sayNone() {
    const words = this.#words;
    if (!this.#isNone || !words || this.#place.querySelector(".tl-list, .tl-unknown")) return;
    if (this.#element.textContent?.trim()) return;
    const own = `lang="${words.tag}" dir="${words.dir}"`;
    const said = `<article class="tl" ${own}><p class="tl-unknown">${words.text("list.empty")}</p></article>`;
    this.#place.prepend(this.#core.parseHtml(said));
  }

  #clearNone() {
    this.#place.querySelector(".tl-unknown")?.closest(".tl")?.remove();
  }

  // ---- time ------------------------------------------------------------------------------------------

  #localize() {
    const list = this.#place.querySelector(".tl-list");
    if (!list) return;
    const nowMs = this.#nowMs;
    regroup(list, nowMs);
    this.#day = dayOf(new Date(nowMs));
    writeDays(list, nowMs, this.#locale);
    // The days that our own page links to.
    if (list.parentElement === this.#element) {
      for (const nav of document.querySelectorAll("nav.strip")) writeDays(nav, nowMs, this.#locale);
    }
  }

  get #locale() {
    return knownLocale(this.#language.locale);
  }

  get #focusedMatch() {
    const root = /** @type {Document | ShadowRoot} */ (this.#place.getRootNode());
    return root.activeElement?.closest(`li[${ATTRIBUTE_MATCH}]`)?.getAttribute(ATTRIBUTE_MATCH) ?? "";
  }

  /** By the server's clock, once that is known. */
  get #nowMs() {
    const { clock } = /** @type {Feed} */ (this.#feed);
    return clock.known ? clock.nowMs : Date.now();
  }

  /** The texts that this script writes; null while they are on their way. */
  get #words() {
    return this.#core.wordsOf(this.#base, this.#language.tag);
  }

  /** Minutes run on, and what should have begun says so. */
  #runClocks() {
    const { clock } = /** @type {Feed} */ (this.#feed);
    const nowMs = this.#nowMs;
    if (this.#day !== dayOf(new Date(nowMs))) this.#localize();
    if (!clock.known) return;
    showDelayed(this.#place, nowMs);
    const words = this.#words;
    for (const chip of this.#place.querySelectorAll(`[${ATTRIBUTE_CLOCK_START}]`)) {
      if (words) write(chip, minute(chip, nowMs, words) ?? chip.textContent);
    }
  }

  #reflect() {
    if (!this.#feed) return;
    this.#element.dataset.connection = this.connection;
    this.#sayNone();
    this.#writeAge();
  }

  #tick() {
    const feed = this.#feed;
    if (!feed || document.hidden) return;
    if (this.#core.languageOf(this.#element).tag !== this.#language.tag) return this.restart();
    feed.clock.look();
    this.#runClocks();
    this.#reflect();
    const { connection } = this;
    if (connection === "closed" && this.#shown) return;
    const isStreamed = connection === "open";
    if (this.#dueMs === Infinity && !isStreamed && elapsedMs(this.#started) > PATIENCE_MS) {
      // Full jitter, and at once if the last answer is old: the stream was lost, not the network.
      const waitMs = this.#answered || feed.connection === "open" ? POLL_MS * (0.5 + Math.random()) : RETRY_MS * Math.random();
      this.#later(Math.max(0, APART_MS - elapsedMs(this.#asked), waitMs));
    }
    if (performance.now() >= this.#dueMs) void this.#fetch();
  }

  #writeAge() {
    const freshness = /** @type {Freshness} */ (this.#freshness);
    const isLive = ["open", "polling"].includes(this.#element.dataset.connection ?? "");
    if (isLive) this.#lost = mark();
    const age = this.#place.querySelector(`[${ATTRIBUTE_AGE}]`);
    const [words, { locale }] = [this.#words, this.#language];
    if (age) write(age, isLive ? "" : freshness.ageLine(this.#lost, this.#started, words, locale));
  }
}

/** @param {Element} row */
const phaseOf = (row) => row.querySelector(`[${ATTRIBUTE_PHASE}]`)?.getAttribute(ATTRIBUTE_PHASE) ?? "";

/** @param {Element} row */
const kickoffOf = (row) => row.getAttribute(ATTRIBUTE_KICKOFF) ?? "";

/** Percent-encoded as the origin does it. @param {string} text */
const encoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
