// @ts-check
/**
 * One server-sent event stream, and its next connections for as long as it takes.
 *
 * Read with fetch, not EventSource: EventSource does not show a script `retry:` or the `Retry-After` of a
 * 503, and tries again after exactly that time. A million pages that lost one server would come back together,
 * and a server that asked for more time would not get it.
 *
 * It is open once a frame has come. A head is no contact: some proxies and virus scanners pass it on and keep the
 * body back until its end, which never comes.
 */

import { isOf, retryAfterMs } from "./answers.js";
import { elapsedMs, mark } from "./clock.js";
import { FRESH_MS } from "./freshness.js";
import { delayMs } from "./reconnect.js";
import { QUERY_FLUSH, STREAM_TYPE } from "./wire.js";

/** A stream begins with a frame. One without any for so long is kept back on its way. */
const FIRST_FRAME_MS = 10_000;
/**
 * The first frame is sent with the head, so its bytes come with it. Where they do not, a scanner keeps them until
 * the next piece comes.
 */
const FIRST_BYTES_MS = 750;
/** The server's pushing comment comes half a second later. */
const FLUSHED_BYTES_MS = 4_000;
/** A reader who comes back to a connection without a frame for more than a heartbeat gets a new one. */
const WAKE_MS = 17_000;
/** A way that cannot work is tried again, since the reader may have gone elsewhere with the device. */
const PROBE_MS = 45_000;

/**
 * @typedef {{ event: string, id: string, data: string }} Frame
 * @typedef {"connecting" | "open" | "waiting" | "closed"} Connection
 * `open`: a frame has come on this connection. `waiting`: lost, and the next attempt has its time. `closed`: by us.
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
  #lastFrame = mark();
  /** When this connection was asked for. */
  asked = mark();
  /** Whether the server is asked for a comment behind each frame, which pushes it through a scanner. */
  #flush = false;
  /** Attempts in a row that brought no frame. */
  failures = 0;
  /** Whether the way here, not the server, seems to keep streams from working. */
  isBlocked = false;
  /** @type {Connection} */
  connection = "closed";

  /**
   * @param {() => string} address asked for anew at each attempt: it says where to resume from
   * @param {(frame: Frame) => void} onFrame
   * @param {() => void} onConnection `connection` has changed
   * @param {{ readonly retryMs: number }} steps how long a lost connection waits at least
   */
  constructor(address, onFrame, onConnection, steps) {
    this.steps = steps;
    this.address = address;
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

  /** The reader is back, or the network: try soon if it is waiting, not sooner than the server asked. */
  wake() {
    // Timers stop while a device sleeps, and a dead connection says nothing; the clock on the wall went on.
    if (this.connection === "open" && elapsedMs(this.#lastFrame) > WAKE_MS) {
      this.#set("connecting");
      this.#attempt = 0;
      this.#drop();
    }
    this.#skipWait();
  }

  /**
   * Give up this connection for a new one: it lost something, or the network changed under it. With the
   * usual wait: what happened to one may have happened to all.
   */
  restart() {
    this.#drop();
  }

  /** Frames come late: ask for pieces that push them on. False if that was asked for already. */
  flush() {
    if (this.#flush) return false;
    this.#flush = true;
    this.#drop();
    return true;
  }

  /** This way does not work, whatever the connection looks like. */
  block() {
    this.isBlocked = true;
    this.failures++;
    this.#drop();
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    while (!signal.aborted) {
      this.#set("connecting");
      const flushed = this.#flush;
      const hintMs = await this.#connect(signal);
      if (signal.aborted) return;
      if (this.#flush && !flushed) continue;
      this.#set("waiting");
      await this.#wait(signal, Math.max(hintMs ?? 0, this.isBlocked ? PROBE_MS : this.steps.retryMs));
    }
  }

  /**
   * @param {AbortSignal} signal
   * @param {number} hintMs
   */
  #wait(signal, hintMs) {
    const waitMs = delayMs(this.#attempt++, Math.random(), hintMs);
    const [began, leastMs] = [mark(), delayMs(0, 0, this.isBlocked ? 0 : hintMs)];
    return new Promise((resolve) => {
      let timer = setTimeout(resolve, waitMs);
      this.#skipWait = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, Math.max(0, leastMs - elapsedMs(began)));
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
    let [hasHead, hasBytes, hasFrame] = [false, false, false];
    let watchdog = setTimeout(abort, FIRST_FRAME_MS);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let firstBytes;
    try {
      this.asked = mark();
      const url = new URL(this.address());
      if (this.#flush) url.searchParams.set(QUERY_FLUSH, "1");
      const response = await fetch(url, {
        headers: { Accept: STREAM_TYPE },
        cache: "no-store",
        credentials: "same-origin",
        signal: own.signal,
      });
      if (!response.ok || !response.body || !isOf(response, STREAM_TYPE)) {
        // 204: the match has ended. 501: this server has no streams. The rest may be anything's answer.
        this.isBlocked = [204, 404, 501].includes(response.status);
        return retryAfterMs(response.headers);
      }
      hasHead = true;
      firstBytes = setTimeout(abort, this.#flush ? FLUSHED_BYTES_MS : FIRST_BYTES_MS);
      const reader = response.body.getReader();
      const decoder = new TextDecoder(); // older browsers have no TextDecoderStream
      for (;;) {
        const { value, done } = await reader.read();
        if (done || own.signal.aborted) break;
        hasBytes = true;
        clearTimeout(firstBytes);
        // A comment is bytes, and no frame: only a frame says what the server knows.
        parser.feed(decoder.decode(value, { stream: true }), (frame) => {
          if (own.signal.aborted) return;
          hasFrame = true;
          this.#attempt = this.failures = 0; // a server that accepts and then falls over has not answered yet
          this.isBlocked = false;
          this.#lastFrame = mark();
          clearTimeout(watchdog);
          watchdog = setTimeout(abort, FRESH_MS);
          this.#set("open");
          this.onFrame(frame);
        });
      }
    } catch {
      // Whatever it was, the answer is the same: try again.
    } finally {
      clearTimeout(watchdog);
      clearTimeout(firstBytes);
      own.abort();
      if (!hasFrame && !signal.aborted) {
        this.failures++;
        if (hasHead && this.#flush) this.isBlocked = true;
        if (hasHead && !hasBytes) this.#flush = true;
      }
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
