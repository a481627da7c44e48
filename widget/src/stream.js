// @ts-check
/**
 * One server-sent event stream of one match, shared by every element on the page that shows it.
 *
 * Read with fetch, not EventSource: EventSource does not show a script `retry:` or the `Retry-After` of a
 * 503, and tries again after exactly that time. A million pages that lost one server would come back together,
 * and a server that asked for more time would not get it.
 */

import { delayMs } from "./reconnect.js";
import { HEADER_RETRY_AFTER, QUERY_LAST_EVENT_ID, STREAM_TYPE } from "./wire.js";

/**
 * Heartbeats come every 15 s. A connection without a byte for two and a half of them is dead without having been
 * closed: a phone changed networks.
 */
const SILENCE_MS = 37_500;
/** Longer than any answer takes on a slow phone; shorter than a reader's patience. */
const ANSWER_MS = 20_000;

/**
 * @typedef {{ event: string, id: string, data: string }} Frame
 * @typedef {"connecting" | "open" | "waiting" | "closed"} Connection
 * `waiting`: lost, and the next attempt has its time. `closed`: by us.
 */

/** text/event-stream (WHATWG HTML, section 9.2.6), fed in pieces of any size. */
export class Parser {
  #rest = "";
  #event = "";
  #id = "";
  /** @type {string[]} */
  #data = [];
  /** The last `retry:`, in milliseconds. @type {number | null} */
  retryMs = null;

  /**
   * @param {string} text
   * @param {(frame: Frame) => void} onFrame
   */
  feed(text, onFrame) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        const data = this.#data.join("\n");
        if (this.#data.length) onFrame({ event: this.#event || "message", id: this.#id, data });
        this.#event = this.#id = "";
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a comment
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") this.#data.push(value);
      else if (name === "event") this.#event = value;
      else if (name === "id") this.#id = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    }
  }
}

export class Stream {
  /** @type {AbortController | null} */
  #running = null;
  /** Ends the present wait between two attempts, as far as the server lets it. */
  #skipWait = () => {};
  /** Ends the present connection. */
  #drop = () => {};
  #attempt = 0;
  /** @type {Connection} */
  connection = "closed";

  /**
   * @param {string} url
   * @param {() => string} lastId where to resume from, asked anew at each attempt; "" for a new viewer
   * @param {(frame: Frame) => void} onFrame
   * @param {() => void} onConnection `connection` has changed
   */
  constructor(url, lastId, onFrame, onConnection) {
    this.url = url;
    this.lastId = lastId;
    this.onFrame = onFrame;
    this.onConnection = onConnection;
  }

  /** Connect, and connect again for as long as it takes. Does nothing if it is open. */
  open() {
    if (this.#running) return;
    this.#running = new AbortController();
    void this.#run(this.#running.signal);
  }

  close() {
    this.#running?.abort();
    this.#running = null;
    this.#drop();
    this.#set("closed");
  }

  /** Try soon, if it is waiting: the reader is back, or the network. Not sooner than the server asked. */
  wake() {
    this.open();
    this.#skipWait();
  }

  /**
   * Give up this connection for a new one: it lost something, or the network changed under it. With the
   * usual wait: what happened to one may have happened to all.
   */
  restart() {
    this.#drop();
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    while (!signal.aborted) {
      this.#set("connecting");
      const hintMs = await this.#connect(signal);
      if (signal.aborted) return;
      this.#set("waiting");
      await this.#wait(signal, hintMs);
    }
  }

  /**
   * @param {AbortSignal} signal
   * @param {number | null} hintMs
   */
  #wait(signal, hintMs) {
    const waitMs = delayMs(this.#attempt++, Math.random(), hintMs);
    const soonest = Date.now() + delayMs(0, 0, hintMs);
    return new Promise((resolve) => {
      let timer = setTimeout(resolve, waitMs);
      this.#skipWait = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, Math.max(0, soonest - Date.now()));
      };
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
  }

  /**
   * One connection, to its end.
   *
   * @param {AbortSignal} signal
   * @returns {Promise<number | null>} how long the server asks to wait before the next, if it does
   */
  async #connect(signal) {
    const parser = new Parser();
    const own = new AbortController();
    const abort = () => own.abort();
    this.#drop = abort;
    let watchdog = setTimeout(abort, ANSWER_MS);
    try {
      const url = new URL(this.url);
      const lastId = this.lastId();
      if (lastId) url.searchParams.set(QUERY_LAST_EVENT_ID, lastId);
      const response = await fetch(url, {
        headers: { Accept: STREAM_TYPE },
        cache: "no-store",
        credentials: "omit",
        signal: own.signal,
      });
      if (!response.ok || !response.body) {
        const seconds = Number(response.headers.get(HEADER_RETRY_AFTER));
        return seconds > 0 ? seconds * 1_000 : null;
      }
      this.#set("open");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(abort, SILENCE_MS);
        const { value, done } = await reader.read();
        if (done || own.signal.aborted) break;
        parser.feed(value, (frame) => {
          if (own.signal.aborted) return;
          this.#attempt = 0; // a server that accepts and then falls over has not answered yet
          this.onFrame(frame);
        });
      }
    } catch {
      // Whatever it was, the answer is the same: try again.
    } finally {
      clearTimeout(watchdog);
      own.abort();
    }
    return parser.retryMs;
  }

  /** @param {Connection} connection */
  #set(connection) {
    if (this.connection === connection) return;
    this.connection = connection;
    this.onConnection();
  }
}
