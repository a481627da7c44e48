// @ts-check
/**
 * The WebSocket of one match, and its next connections for as long as it takes. The oldest entry of the queue is sent,
 * and the next one once the server has answered, so entries come into the log in their order.
 */

/** @import { Queue } from "./queue.js" */
/** @import { ConnectionEvents, Entry, Link } from "./types.js" */

/** The server says something each three seconds. */
const SILENT_MS = 10_000;
const WAIT_MIN_MS = 400;
const WAIT_MAX_MS = 8_000;
const AGAIN_MS = 1_500;
const CLOSE_SIGNED_OUT = 4401;

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  #failures = 0;
  #heardMs = 0;
  #isWelcome = false;
  /** The id of the entry whose answer is waited for. */
  #sent = "";
  #timer = 0;
  #address;
  #base;
  #queue;
  #events;
  /** @type {Link} */
  link = "connecting";
  /** What to add to this browser's clock to have the server's. */
  aheadMs = 0;

  /**
   * @param {string} base
   * @param {string} matchId
   * @param {Queue} queue
   * @param {ConnectionEvents} events
   */
  constructor(base, matchId, queue, events) {
    this.#base = base;
    this.#address = `${location.origin.replace(/^http/, "ws")}${base}/ws/${matchId}`;
    this.#queue = queue;
    this.#events = events;
    addEventListener("online", () => this.#open());
    addEventListener("offline", () => this.#drop());
    addEventListener("pageshow", () => this.#open());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#open();
    });
    setInterval(() => {
      if (this.#socket && performance.now() - this.#heardMs > SILENT_MS) this.#drop();
    }, 1_000);
    this.#open();
  }

  get serverMs() {
    return Date.now() + this.aheadMs;
  }

  /** Send what is queued, if there is a connection. */
  flush() {
    const first = this.#queue.first;
    if (!this.#isWelcome || this.#sent || !first) return;
    this.#sent = first.id;
    first.state = "sent";
    const ageMs = Math.max(0, Date.now() - first.pressedMs);
    this.#say({ t: "entry", id: first.id, age_ms: ageMs, changes: first.changes });
    this.#events.changed();
  }

  /** @param {string} eventId */
  editing(eventId) {
    if (this.#isWelcome) this.#say({ t: "editing", event_id: eventId });
  }

  /** @param {object} message */
  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #open() {
    if (this.#socket || this.link === "signed-out") return;
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    this.#heardMs = performance.now();
    socket.addEventListener("message", (event) => {
      if (this.#socket === socket) this.#hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (this.#socket === socket) this.#lost(event.code);
    });
  }

  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    this.#lost(1006);
    socket.close();
  }

  /** @param {number} code */
  #lost(code) {
    this.#socket = null;
    const wasWelcome = this.#isWelcome;
    this.#isWelcome = false;
    this.#sent = "";
    this.#queue.requeue();
    if (code === CLOSE_SIGNED_OUT) {
      this.#become("signed-out");
      return;
    }
    this.#failures = wasWelcome ? 0 : this.#failures + 1;
    this.#become("offline");
    const mostMs = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** this.#failures);
    this.#timer = setTimeout(() => this.#open(), WAIT_MIN_MS + Math.random() * mostMs);
    // A refused handshake does not say why.
    if (!wasWelcome) this.#askWhy();
  }

  async #askWhy() {
    try {
      const answer = await fetch(`${this.#base}/api/session`, { cache: "no-store", redirect: "error" });
      if (answer.status === 401) {
        clearTimeout(this.#timer);
        this.#become("signed-out");
      }
    } catch {
      // there is no network
    }
  }

  /** @param {any} message */
  #hear(message) {
    this.#heardMs = performance.now();
    if (message.server_ms) this.aheadMs = message.server_ms - Date.now();
    switch (message.t) {
      case "welcome":
        this.#isWelcome = true;
        this.#failures = 0;
        this.#queue.load();
        this.#events.welcome(message.connection);
        this.#become("open");
        this.flush();
        break;
      case "match":
        this.#events.match(message.match);
        break;
      case "operators":
        this.#events.operators(message.operators);
        break;
      case "logged":
      case "refused":
        this.#answered(message);
        break;
      default: // a tick
    }
  }

  /** @param {any} message */
  #answered(message) {
    const entry = /** @type {Entry | undefined} */ (this.#queue.entries.find(({ id }) => id === message.id));
    if (message.id === this.#sent) this.#sent = "";
    if (message.t === "refused" && message.again) {
      if (entry) entry.state = "queued";
      setTimeout(() => this.flush(), AGAIN_MS);
      return;
    }
    if (entry) {
      this.#queue.remove(entry.id);
      if (message.t === "logged") this.#events.logged(entry, message);
      else this.#events.refused(entry, message);
    }
    this.flush();
  }

  /** @param {Link} link */
  #become(link) {
    this.link = link;
    this.#events.changed();
  }
}
