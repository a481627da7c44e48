// @ts-check
/**
 * What a match's changes are to a page's own script: read from the server's fragments or the reducer's replies,
 * kept by the id of their delta, and taken once what is shown has moved past them. So each comes once, in order,
 * at the moment at which the reader sees it, whichever tier showed it; nothing that is there at load is news.
 */

import { isNewer, parts } from "./ids.js";
import { ATTRIBUTE_NOTIFICATIONS, DELTA_OP, DELTA_TYPE } from "./wire.js";

/** More than the deltas of a burst; what is older was shown long ago. */
const KEPT_MAX = 200;
/** Fragments that are asked for only because of what they may say, of one burst. */
const FETCHED_MAX = 50;
/** The same of deltas that were not received, as by a poll or after a gap: all readers may ask at once. */
const UNKNOWN_MAX = 8;
/** A new event of another type changes neither score nor status. */
const TYPES = new Set(["GOAL", "SCORE_OVERRIDE", "STATUS_CHANGE"]);

/** @typedef {import("./events.js").Notification} Notification */

export class Notifications {
  /** @type {Map<string, Notification[]>} */
  #of = new Map();

  /** @param {(html: string) => ParentNode} parseHtml of the loader, which has the page's policy */
  constructor(parseHtml) {
    this.parseHtml = parseHtml;
  }

  /**
   * What a fragment says of the delta that led to it.
   *
   * @param {string} id
   * @param {string} html
   */
  read(id, html) {
    // Most have nothing, and names in them are escaped.
    const root =
      html.includes(`${ATTRIBUTE_NOTIFICATIONS}="`) &&
      this.parseHtml(html).querySelector(`[${ATTRIBUTE_NOTIFICATIONS}]`);
    this.#put(id, root ? JSON.parse(root.getAttribute(ATTRIBUTE_NOTIFICATIONS) ?? "[]") : []);
  }

  /** What the reducer said of several deltas. @param {Notification[]} list */
  add(list) {
    for (const { id } of list) this.#put(id, list.filter((one) => one.id === id));
  }

  /**
   * The ids between two, of which it is not known yet what they have to notify of, and whose fragment may say it.
   *
   * @param {string} before
   * @param {string} after
   * @param {{ id: string, data: string }[]} deltas those that are here
   */
  unread(before, after, deltas) {
    const [[epoch, from], [later, to]] = [parts(before), parts(after)];
    if (epoch !== later) return [];
    const known = new Map(deltas.map(({ id, data }) => [id, data]));
    /** @type {string[]} */
    const may = [];
    /** @type {string[]} */
    const unknown = [];
    for (let seq = Math.max(from, to - KEPT_MAX) + 1; seq < to; seq++) {
      const id = `${epoch}-${seq}`;
      const data = known.get(id);
      if (this.#of.has(id)) continue;
      if (data === undefined) unknown.push(id);
      else {
        const { [DELTA_TYPE]: type, [DELTA_OP]: op } = JSON.parse(data);
        if (op || TYPES.has(type)) may.push(id);
      }
    }
    return [...unknown.slice(-UNKNOWN_MAX), ...may.slice(-FETCHED_MAX)];
  }

  /**
   * Those between two ids, in order. They are not given twice.
   *
   * @param {string} before what was shown; "" if nothing was
   * @param {string} after what is shown now
   * @param {boolean} isDelayed by a spoiler delay: what was taken back meanwhile has never been there
   * @returns {Notification[]}
   */
  take(before, after, isDelayed) {
    const ids = [...this.#of.keys()].filter((id) => !isNewer(id, after)).sort((a, b) => (isNewer(a, b) ? 1 : -1));
    const taken = before ? ids.filter((id) => isNewer(id, before)).flatMap((id) => this.#of.get(id) ?? []) : [];
    for (const id of ids) this.#of.set(id, []);
    return isDelayed ? withoutTakenBack(taken) : taken;
  }

  /**
   * @param {string} id
   * @param {Notification[]} list
   */
  #put(id, list) {
    if (this.#of.has(id)) return;
    this.#of.set(id, list);
    for (const old of this.#of.keys()) if (this.#of.size > KEPT_MAX) this.#of.delete(old);
  }
}

/** @param {Notification[]} list */
function withoutTakenBack(list) {
  const goals = new Set(list.filter(({ type }) => type === "goal").map(({ eventId }) => eventId));
  const gone = new Set(
    list.filter((one) => one.type === "correction" && one.what === "goal_ruled_out" && goals.has(one.eventId)).map(({ eventId }) => eventId),
  );
  return list.filter(({ type, eventId }) => type === "status" || !gone.has(eventId));
}
