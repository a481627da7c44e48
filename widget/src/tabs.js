// @ts-check
/**
 * The tabs of one origin share one connection: one of them leads, by a Web Lock, and passes on what comes, by a
 * BroadcastChannel. Where either is missing each tab goes by itself.
 *
 * The lock goes to the next tab when the leader is closed. A leader that is frozen keeps it and says nothing; then
 * a follower takes it away.
 */

import { elapsedMs, mark } from "./clock.js";

const SAY_MS = 4_000;
/** A leader that has said nothing for so long is frozen. */
const SILENT_MS = 10_000;
/** At the start nothing is known of the leader yet. */
const START_MS = 2_500;

/** @typedef {"leader" | "follower" | "none"} Role */

export class Tabs {
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #closing = new AbortController();
  #release = () => {};
  #heard = mark();
  #patienceMs = START_MS;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {Role} */
  role = "none";

  /**
   * @param {string} name of the lock and of the channel
   * @param {(role: Role) => void} onRole
   * @param {(message: any) => void} onMessage from another tab
   * @param {() => void} onBeat the leader says that it is there
   */
  constructor(name, onRole, onMessage, onBeat) {
    this.name = name;
    this.onRole = onRole;
    this.onMessage = onMessage;
    this.onBeat = onBeat;
  }

  open() {
    if (!navigator.locks || !("BroadcastChannel" in globalThis)) return this.#take("leader");
    this.#closing = new AbortController();
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => {
      if (data.lead) {
        this.#heard = mark();
        this.#patienceMs = SILENT_MS * (1 + Math.random() / 4);
      }
      this.onMessage(data);
    };
    this.#heard = mark();
    this.#patienceMs = START_MS;
    let ticked = mark();
    this.#timer = setInterval(() => {
      // This tab may have slept itself; then the leader gets its time to speak.
      if (elapsedMs(ticked) > SAY_MS) this.#heard = mark();
      ticked = mark();
      if (this.role === "leader") this.onBeat();
      else if (elapsedMs(this.#heard) > this.#patienceMs && !document.hidden) this.#request(true);
    }, 1_000);
    this.#request(false);
  }

  close() {
    this.#closing.abort();
    this.#release();
    clearInterval(this.#timer);
    this.#channel?.close();
    this.#channel = null;
    this.role = "none";
  }

  /** Let another tab lead, if one waits. */
  yield() {
    if (this.role !== "leader" || !this.#channel) return;
    this.#release();
    this.#request(false);
  }

  /** @param {any} message */
  post(message) {
    this.#channel?.postMessage(message);
  }

  /** @param {boolean} steal */
  #request(steal) {
    const { signal } = this.#closing;
    this.#heard = mark();
    navigator.locks
      .request(this.name, steal ? { steal } : { signal }, () => {
        if (signal.aborted) return;
        return new Promise((resolve) => {
          this.#release = () => resolve(undefined);
          this.#take("leader");
        });
      })
      .then(() => !signal.aborted && this.#take("follower"))
      .catch((error) => {
        if (signal.aborted) return;
        if (error?.name !== "AbortError") return this.#take("leader"); // no locks here: by itself
        // Another tab took it.
        const led = this.role === "leader";
        this.#take("follower");
        if (led || steal) this.#request(false);
      });
  }

  /** @param {Role} role */
  #take(role) {
    if (role === this.role) return;
    this.role = role;
    this.onRole(role);
  }
}
