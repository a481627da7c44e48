// @ts-check
/**
 * Tiers 2 and 3 of one match: the reducer in this browser, which shows each delta itself. It comes with runtime.js, so a
 * page that stays at tier 1 never asks for it. live-match.js has the rules.
 */

import { isNewer } from "./ids.js";
import { fetchSnapshot } from "./snapshots.js";
import { ATTRIBUTE_UNSEEN, RECEIPT_APPLIED, RECEIPT_IN_STEP, RECEIPT_NEED_SNAPSHOT, RECEIPT_WAITING } from "./wire.js";

/** The reducer and the server disagree for good, as during a release: their HTML is right, ours is not. */
const SNAPSHOTS_MAX = 3;

/**
 * @typedef {import("./live-match.js").LiveMatch} LiveMatch
 * @typedef {import("./live-match.js").Snapshot} Snapshot
 * @typedef {import("./runtime.js").Runtime} Runtime
 */

/** @type {WeakMap<LiveMatch, LocalReducer>} */
const reducers = new WeakMap();

/**
 * Let the reducer take over, or another runtime of it.
 *
 * @param {LiveMatch} live
 * @param {Runtime} runtime
 */
export async function takeOver(live, runtime) {
  let reducer = reducers.get(live);
  if (!reducer) reducers.set(live, (reducer = new LocalReducer(live)));
  await reducer.takeOver(runtime);
}

/**
 * @param {LiveMatch} live
 * @param {Runtime} runtime
 */
export const uses = (live, runtime) => reducers.get(live)?.uses(runtime) ?? false;

export class LocalReducer {
  /** @type {Runtime | null} */
  #runtime = null;
  #snapshots = 0;
  #recovering = false;

  /** @param {LiveMatch} live */
  constructor(live) {
    this.live = live;
  }

  /** @param {Runtime} runtime */
  async takeOver(runtime) {
    const { live } = this;
    const before = this.#runtime;
    if (before === runtime || live.ended || !live.started) return;
    if (!before) this.#recovering = false;
    live.bootMs = runtime.bootMs;
    try {
      // It was brought in by afterwards.js, which has made the news.
      runtime.learn(await /** @type {import("./news.js").News} */ (live.news).words);
      const snapshot = live.snapshot ?? (await this.#untilSnapshot());
      if (snapshot) await this.#restore(runtime, snapshot);
      before?.call({ op: "close", slot: live.slot }).catch(() => {});
    } catch {
      if (!before || this.#runtime !== before) this.#fallBack();
    }
  }

  /** @param {Runtime} runtime */
  uses(runtime) {
    return this.#runtime === runtime;
  }

  /** @param {[string, string][]} deltas ids and data */
  receive(deltas) {
    this.#ask({ op: "receive", deltas });
  }

  /** What the server says of its state. @param {string} id @param {string} hash */
  check(id, hash) {
    this.#ask({ op: "check", id, hash });
  }

  /** Go on from a snapshot. @param {Snapshot} snapshot */
  async adopt(snapshot) {
    const runtime = this.#runtime;
    this.#attach(null);
    if (runtime) await this.#restore(runtime, snapshot).catch(() => this.#fallBack());
    this.#recovering = false;
    if (this.live.tier < 2) void this.live.pull();
  }

  /** The reducer may be wrong, or misses something: tier 1 goes on meanwhile. */
  async recover() {
    if (this.#recovering) return; // replies that were on their way ask for the same once more
    this.#recovering = true;
    this.live.tier = 1;
    this.live.changed();
    void this.live.pull();
    if (++this.#snapshots > SNAPSHOTS_MAX) this.#fallBack();
    else await this.#resync(); // which ends in adopt
  }

  /** The state that it has. @returns {Promise<{ id: string, snapshot: string } | null>} */
  async state() {
    const { slot, match } = this.live;
    return (await this.#runtime?.call({ op: "snapshot", slot, match }).catch(() => null)) ?? null;
  }

  close() {
    this.#runtime?.call({ op: "close", slot: this.live.slot }).catch(() => {});
    this.#attach(null);
  }

  /** @param {Runtime | null} runtime */
  #attach(runtime) {
    this.#runtime = runtime;
    this.live.reducer = runtime && this;
  }

  /** Ask for the snapshot and go on from it, however long that takes. */
  async #resync() {
    const { live } = this;
    const snapshot = await this.#untilSnapshot();
    if (snapshot) await live.adopt(snapshot);
  }

  /** @returns {Promise<Snapshot | null>} null if nobody wants it any more */
  async #untilSnapshot() {
    for (let attempt = 0; !this.live.ended; attempt++) {
      try {
        return await fetchSnapshot(this.live);
      } catch (error) {
        await this.live.pause(attempt, error);
      }
    }
    return null;
  }

  /**
   * @param {Runtime} runtime
   * @param {Snapshot} snapshot
   * @returns {Promise<void>}
   */
  async #restore(runtime, snapshot) {
    const { live } = this;
    const { slot, match, language } = live;
    const seen = isNewer(live.shown.id, snapshot.id) ? live.shown.id : snapshot.id;
    const unseen = live.delay ? await this.#unseenAt(seen) : undefined;
    const reply = await runtime.call({ op: "restore", slot, match, language, snapshot: snapshot.text, unseen });
    if (live.ended) return;
    if (reply.receipt !== RECEIPT_APPLIED) throw new Error(reply.reason);
    // Tier 1 has gone on meanwhile.
    if (live.delay && isNewer(live.shown.id, seen)) return this.#restore(runtime, snapshot);
    // From here to the end of this task nothing else runs: no delta is missed and none comes between.
    this.#attach(runtime);
    live.unfolded = [];
    const later = live.deltas.filter(({ id }) => isNewer(id, snapshot.id));
    if (later.length) {
      this.#ask({ op: "receive", deltas: later.map(({ id, data }) => [id, data]) }, snapshot.id);
    } else {
      this.#onReply(reply, snapshot.id);
    }
  }

  /**
   * The events that a reader with this delay is never shown, by their ids.
   *
   * @param {string} id of the state
   * @returns {Promise<string[]>}
   */
  async #unseenAt(id) {
    const { live } = this;
    const html = live.shown.id === id && live.shown.html ? live.shown.html : await live.fragment(id);
    return JSON.parse(live.news?.attributeOf(html, ATTRIBUTE_UNSEEN) || "[]");
  }

  /**
   * @param {object} request
   * @param {string} [restored] these are the deltas since the snapshot of this id
   */
  #ask(request, restored = "") {
    const { live } = this;
    const runtime = this.#runtime;
    if (!runtime) return;
    const spoken = isNewer(live.silentUntil, live.shown.id) ? live.silentUntil : live.shown.id;
    const seen = live.shown.id;
    const context = { slot: live.slot, match: live.match, spoken, spoken_ms: live.newsFromMs, seen };
    runtime.call({ ...context, ...request }).then(
      (reply) => this.#runtime === runtime && this.#onReply(reply, restored),
      () => this.#runtime === runtime && this.#fallBack(),
    );
  }

  /**
   * @param {any} reply
   * @param {string} restored the id of the snapshot that it was restored from just now; "" if it was not
   */
  #onReply(reply, restored) {
    const { live } = this;
    if (live.ended) return;
    if (reply.notifications) live.whenThere(() => live.news?.add(reply.notifications));
    if (reply.receipt === RECEIPT_NEED_SNAPSHOT || (restored && isNewer(live.shown.id, reply.id))) {
      void this.recover();
    } else if (reply.receipt === RECEIPT_WAITING) {
      // What comes is in order, so a delta that was left out is lost.
      if (live.deltas.some(({ id }) => isNewer(id, reply.id))) void this.recover();
    } else if (reply.receipt === RECEIPT_IN_STEP) {
      this.#snapshots = 0;
    } else if (reply.html && !isNewer(live.shown.id, reply.id)) {
      live.tier = this.#runtime?.tier ?? 2;
      live.hash = reply.hash;
      const acceptedMs = restored ? undefined : reply.accepted_ms;
      void this.#showReply(reply, acceptedMs, restored);
    }
  }

  /**
   * @param {any} reply
   * @param {number | undefined} acceptedMs
   * @param {string} restored
   */
  async #showReply(reply, acceptedMs, restored) {
    const { live } = this;
    // The reducer has not seen the steps that led to a snapshot, from a poll or in place of lost deltas.
    const earlier = (restored && live.shown.id && (await live.news?.between(live.shown.id, restored))) || [];
    const announce = live.shown.id ? [...earlier, reply.announce].filter(Boolean).join(" ") : "";
    live.show({ id: reply.id, html: reply.html, announce, acceptedMs });
  }

  /** Go on without the reducer. */
  #fallBack() {
    const { live } = this;
    this.#attach(null);
    if (live.tier >= 2) live.tier = 1;
    live.changed();
    void live.pull();
  }
}
