// @ts-check
/**
 * What viewers have been sent, read as a viewer reads it: from the public stream of the match, and after a gap from its
 * public snapshot. An event of a revision that came this way has been seen.
 */

const AGAIN_MS = 2_000;

export class Viewers {
  /** By event, the revision that viewers have. @type {Map<string, number>} */
  #revs = new Map();
  #site;
  #matchId;
  #changed;
  /** @type {EventSource | null} */
  #source = null;
  /** Whether viewers can see the match at all. */
  isKnown = false;

  /** @param {string} site @param {string} matchId @param {() => void} changed */
  constructor(site, matchId, changed) {
    this.#site = site;
    this.#matchId = matchId;
    this.#changed = changed;
    this.#open();
  }

  /** @param {string} eventId @param {number} rev */
  haveSeen(eventId, rev) {
    return (this.#revs.get(eventId) ?? 0) >= rev;
  }

  #open() {
    const source = new EventSource(`${this.#site}/stream/${this.#matchId}`);
    this.#source = source;
    source.addEventListener("score", (event) => {
      const delta = JSON.parse(event.data);
      this.#note(delta.e, delta.r ?? 1);
      this.#isThere();
    });
    source.addEventListener("gap", () => this.#readSnapshot());
    source.addEventListener("heartbeat", () => this.#isThere());
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
      setTimeout(() => this.#open(), AGAIN_MS);
    });
  }

  async #readSnapshot() {
    try {
      const answer = await fetch(`${this.#site}/api/match/${this.#matchId}/state`, { cache: "no-store", credentials: "omit" });
      if (!answer.ok) return;
      const state = await answer.json();
      for (const event of state.events) this.#note(event.event_id, event.rev);
      for (const { event, retraction } of state.retracted) this.#note(event.event_id, Math.max(event.rev, retraction.rev));
      this.#isThere();
    } catch {
      setTimeout(() => this.#readSnapshot(), AGAIN_MS);
    }
  }

  /** @param {string} eventId @param {number} rev */
  #note(eventId, rev) {
    if (!this.haveSeen(eventId, rev)) this.#revs.set(eventId, rev);
  }

  #isThere() {
    this.isKnown = true;
    this.#changed();
  }
}
