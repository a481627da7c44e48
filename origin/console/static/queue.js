// @ts-check
/**
 * Entries that are not in the log yet, in the order in which they were made. They are kept in this browser, so a reload
 * loses none; each has an id, so that none counts twice however often it is sent.
 *
 * Each entry is stored under a key of its own, by operator and match: several tabs do not overwrite each other's, and
 * what one operator has left is not sent under the name of the next.
 */

/** @import { Entry } from "./types.js" */

const PREFIX = "touchline-console";
const ENTRIES_MAX = 200;

export class Queue {
  /** @type {Entry[]} */
  #entries = [];
  #prefix;
  #made = 0;
  /** Whether this browser keeps entries over a reload. */
  isKept = true;

  /** @param {string} operator @param {string} matchId */
  constructor(operator, matchId) {
    this.#prefix = `${PREFIX}:${operator}:${matchId}:`;
    try {
      localStorage.setItem(`${PREFIX}:probe`, "1");
      localStorage.removeItem(`${PREFIX}:probe`);
    } catch {
      this.isKept = false;
    }
    this.load();
  }

  /** Take in what other tabs, or an earlier life of this one, have left. */
  load() {
    if (!this.isKept) return;
    const known = new Set(this.#entries.map(({ id }) => id));
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i) ?? "";
      if (!key.startsWith(this.#prefix)) continue;
      try {
        const entry = JSON.parse(localStorage.getItem(key) ?? "");
        if (!known.has(entry.id)) this.#entries.push({ ...entry, state: "queued" });
      } catch {
        localStorage.removeItem(key);
      }
    }
    this.#entries.sort((a, b) => a.pressedMs - b.pressedMs || a.place - b.place);
  }

  /** @returns {readonly Entry[]} */
  get entries() {
    return this.#entries;
  }

  get first() {
    return this.#entries[0];
  }

  get isFull() {
    return this.#entries.length >= ENTRIES_MAX;
  }

  /** @param {Omit<Entry, "place" | "state">} entry */
  add(entry) {
    const kept = { ...entry, place: this.#made++, state: /** @type {const} */ ("queued") };
    this.#entries.push(kept);
    if (!this.isKept) return;
    try {
      localStorage.setItem(this.#prefix + entry.id, JSON.stringify(kept));
    } catch {
      this.isKept = false;
    }
  }

  /** @param {string} id */
  remove(id) {
    this.#entries = this.#entries.filter((entry) => entry.id !== id);
    if (this.isKept) localStorage.removeItem(this.#prefix + id);
  }

  /** After a lost connection nobody knows what of the sent has come through. */
  requeue() {
    for (const entry of this.#entries) entry.state = "queued";
  }
}
