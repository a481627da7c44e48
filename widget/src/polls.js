// @ts-check
/**
 * One match without a stream: long-polls that caches can hold, and where these fail plain conditional polls. The
 * answers become the frames that a stream would have brought.
 */

import { learnAnswer } from "./answered-clock.js";
import { Refusal, ask } from "./answers.js";
import { elapsedMs, mark } from "./clock.js";
import { idOf, isNewer, parts } from "./ids.js";
import { RETRY_MAX_MS, RETRY_MS, retryMs } from "./reconnect.js";
import { STEP_POLL, STEP_STALE } from "./steps.js";
import {
  EVENT_END,
  EVENT_HEARTBEAT,
  EVENT_SCORE,
  HEADER_AS_OF,
  HEADER_STEP,
  JSON_TYPE,
  KEY_HASH,
  KEY_MATCH_ID,
  KEY_STEP,
} from "./wire.js";

/** A slice of the long-poll's URLs, milliseconds. */
const SLICE_MS = 10_000;
/** The answer to a long-poll comes within a slice. */
const HELD_MS = 15_000;
/** Between two polls of a match; and where the server asks for few. */
const [POLL_MS, STALE_MS] = [5_000, 20_000];
/** More answers in 5 s than this are a loop, whoever makes it. */
const ANSWERS_MAX = 10;
const LOOP_MS = 5_000;
/** After so many failures in a row a long-poll is left alone for a minute. */
const FAILURES_MAX = 3;
const PAUSE_MS = 60_000;

/**
 * @typedef {{ match: string, event: string, id: string, data: string, hash?: string, list?: string, serverMs?: number,
 *   snapshot?: string }} MatchFrame what a stream or a poll says of one match. `serverMs`: when the server said it.
 */

export class Poller {
  #stopping = new AbortController();
  #wake = () => {};
  #slice = 0;
  /** Of the long-poll, in a row. */
  #failures = 0;
  #pausedSince = { wall: -Infinity, steady: -Infinity };
  #lostSince = mark();
  #lastUrl = "";
  #asked = mark();
  /** @type {import("./clock.js").Mark[]} */
  #answers = [];
  /** Whether the last answer was one of ours. */
  isAnswered = false;

  /**
   * @param {string} base the URL of the origin
   * @param {string} match
   * @param {import("./clock.js").ServerClock} clock
   * @param {{ lastId(): string, onFrame(frame: MatchFrame): void, onAnswer(): void,
   *   mayHold(): boolean, crowd(): number, steps: import("./steps.js").Steps }} page `mayHold`: whether this match may
   *   occupy a connection; `crowd`: how many matches are polled beside each other
   */
  constructor(base, match, clock, page) {
    this.clock = clock;
    this.base = base;
    this.match = match;
    this.page = page;
    void this.#run();
  }

  stop() {
    this.#stopping.abort();
    this.#wake();
  }

  /** Ask now: the reader is back, or the network. */
  wake() {
    this.#wake();
  }

  get #mayHold() {
    return this.#slice > 0 && this.page.steps.step < STEP_POLL && this.page.mayHold() && elapsedMs(this.#pausedSince) > PAUSE_MS;
  }

  async #run() {
    const { signal } = this.#stopping;
    await this.#sleep(Math.random() * 500);
    while (!signal.aborted) {
      let waitMs = 0;
      let held = false;
      try {
        held = this.#mayHold;
        if (held) {
          await this.#hold();
        } else {
          await this.#poll();
          // Full jitter, and no more than two requests a second, however many matches a page has.
          waitMs = (0.5 + Math.random()) * Math.max(this.page.steps.step < STEP_STALE ? POLL_MS : STALE_MS, this.page.crowd() * 500);
          if (this.#mayHold) waitMs = 0;
        }
        this.#lostSince = mark();
        this.#set(true);
      } catch (error) {
        if (signal.aborted) return;
        const { status = 0, hintMs = null, dateMs = NaN } = error instanceof Refusal ? error : {};
        this.clock.bound(dateMs);
        if (status === 404 && !this.#slice) waitMs = RETRY_MAX_MS;
        this.#slice = 0; // begin again from a state
        waitMs = Math.max(waitMs, retryMs(elapsedMs(this.#lostSince), hintMs));
        // A long-poll that fails says nothing of the polls that follow it.
        if (held) waitMs = Math.min(waitMs, RETRY_MS);
        else this.#set(false);
      }
      await this.#sleep(waitMs);
    }
  }

  /** One conditional poll of the state. */
  async #poll() {
    const last = this.page.lastId();
    // The browser sends the validator, and takes the date of a 304; a header of ours would be preflighted.
    let state = await this.#state("no-cache");
    if (isNewer(last, state.id) || (last && parts(last)[0] !== parts(state.id)[0])) {
      // Older than what we know, or of another epoch: a cache may have said that, so ask past it, once.
      state = await this.#state("reload");
    }
    if (isNewer(last, state.id)) throw new Refusal(0, null);
    this.#slice = Math.floor(state.serverMs / SLICE_MS);
    this.#confirm(state);
  }

  /** What a heartbeat says. @param {{ id: string, serverMs: number, hash?: string, snapshot?: string }} state */
  #confirm(state) {
    learnAnswer(this.clock, state.serverMs);
    this.page.onFrame({ match: this.match, event: EVENT_HEARTBEAT, data: "", ...state });
  }

  /** @param {RequestCache} cache */
  async #state(cache) {
    const url = new URL(`api/match/${this.match}/state`, this.base).href;
    const { text, headers } = await this.#ask(url, { cache });
    const state = JSON.parse(text);
    this.page.steps.hear(headers.get(HEADER_STEP));
    const serverMs = Number(headers.get(HEADER_AS_OF));
    if (state[KEY_MATCH_ID] !== this.match) throw new Refusal(0, null);
    return { id: idOf(state), hash: state[KEY_HASH], serverMs, snapshot: text };
  }

  /** One long-poll: what came after our id, or at the end of the slice nothing. */
  async #hold() {
    const after = this.page.lastId();
    const url = new URL(`api/match/${this.match}/deltas/${after}/${this.#slice}`, this.base).href;
    // A loop of equal requests would be our own fault or a cache's; half a slice lies between two.
    if (url === this.#lastUrl) await this.#sleep(SLICE_MS / 2 - elapsedMs(this.#asked));
    this.#lastUrl = url;
    this.#asked = mark();
    try {
      const answer = JSON.parse((await this.#ask(url, { limitMs: HELD_MS })).text);
      const { deltas, next, as_of: asOf, ended } = answer;
      this.page.steps.hear(answer[KEY_STEP]);
      if (answer[KEY_MATCH_ID] !== this.match || answer.after !== after || !follows(after, deltas, next.id)) {
        throw new Refusal(0, null);
      }
      const slice = Number(next.slice);
      if (!(slice > this.#slice || deltas.length || ended)) throw new Refusal(0, null);
      this.#slice = slice;
      for (const [id, delta] of deltas) {
        this.page.onFrame({ match: this.match, event: EVENT_SCORE, id, data: JSON.stringify(delta) });
      }
      this.#confirm({ id: next.id, serverMs: asOf });
      // A bare 204 of the stream may be anybody's; this answer is checked.
      if (ended) this.page.onFrame({ match: this.match, event: EVENT_END, id: "", data: '{"reason":"ended"}' });
      this.#failures = 0;
    } catch (error) {
      // 410: what came after our id is gone; a state says where to go on.
      const gone = error instanceof Refusal && error.status === 410;
      if (!gone && (++this.#failures >= FAILURES_MAX || (error instanceof Refusal && error.status === 501))) {
        this.#failures = 0;
        this.#pausedSince = mark();
      }
      throw error;
    }
  }

  /**
   * @param {string} url
   * @param {{ cache?: RequestCache, limitMs?: number }} options
   */
  async #ask(url, options) {
    const answer = await ask(url, JSON_TYPE, { ...options, signal: this.#stopping.signal });
    this.#answers = [...this.#answers, mark()].slice(-ANSWERS_MAX);
    if (this.#answers.length === ANSWERS_MAX && elapsedMs(this.#answers[0]) < LOOP_MS) this.#pausedSince = mark();
    return answer;
  }

  /** @param {boolean} isAnswered */
  #set(isAnswered) {
    const changed = isAnswered !== this.isAnswered;
    this.isAnswered = isAnswered;
    if (changed && !this.#stopping.signal.aborted) this.page.onAnswer();
  }

  /** @param {number} ms */
  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, ms));
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }
}

/**
 * Whether deltas are a run that begins behind `after` and ends at `last`.
 *
 * @param {string} after
 * @param {[string, any][]} deltas
 * @param {string} last
 */
function follows(after, deltas, last) {
  const [epoch, seq] = parts(after);
  return last === `${epoch}-${seq + deltas.length}` && deltas.every(([id], n) => id === `${epoch}-${seq + n + 1}`);
}
