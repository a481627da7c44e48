// @ts-check
/**
 * What the changes of a match are to those who follow it: sentences for screen readers, and notifications for the
 * page's own script (notifications.js). Each comes once, in order; nothing that is there at load is news.
 */

import { isNewer, parts } from "./ids.js";
import { loadWords } from "./languages.js";
import { Notifications } from "./notifications.js";
import { ATTRIBUTE_ANNOUNCE } from "./wire.js";

/** Changes of one burst that are announced; nobody listens to more at once. */
const ANNOUNCED_MAX = 8;

export class News extends Notifications {
  /**
   * @param {import("./live-match.js").LiveMatch} live
   * @param {(html: string) => ParentNode} parseHtml of the loader, which has the page's policy
   */
  constructor(live, parseHtml) {
    super(parseHtml);
    this.live = live;
  }

  /** The texts of this match's language. */
  get words() {
    return loadWords(this.live.base, this.live.language);
  }

  /**
   * What the changes between two ids say, and have their notifications here.
   *
   * @param {string} before what is shown; "" for nothing
   * @param {string} id
   * @param {Promise<string>} html the scoreboard at that id
   */
  async tell(before, id, html) {
    const { live } = this;
    const ids = this.#ids(before, id);
    const earlier = ids.filter((of) => of !== id).map((of) => this.#sentence(of));
    const own = ids.includes(id) ? await this.#sentence(id, html) : "";
    if (before) {
      await Promise.all(earlier); // they are read for the announcements, and have the notifications too
      await html.catch(() => "");
      const unread = this.#audible(this.unread(before, id, live.deltas), id);
      await Promise.all(unread.map((of) => live.fragment(of).catch(() => "")));
    }
    return [...(await Promise.all(earlier)), own].filter(Boolean).join(" ");
  }

  /**
   * What the changes that led from one id to a snapshot say.
   *
   * @param {string} before
   * @param {string} id
   * @returns {Promise<string[]>}
   */
  between(before, id) {
    return Promise.all(this.#ids(before, id).map((of) => this.#sentence(of)));
  }

  /**
   * The ids after one and up to another that may be announced, whoever brings them.
   *
   * @param {string} before what is shown; "" for nothing, after which nothing is news
   * @param {string} after
   */
  #ids(before, after) {
    const { live } = this;
    const [[epoch, from], [later, to]] = [parts(before), parts(after)];
    if (!before || epoch !== later) return [];
    const ids = [];
    for (let seq = Math.max(from, to - ANNOUNCED_MAX) + 1; seq <= to; seq++) ids.push(`${epoch}-${seq}`);
    const isNews = (/** @type {string} */ of) => !((live.acceptedMs(of) ?? Infinity) < live.newsFromMs);
    return this.#audible(ids.filter((of) => isNewer(of, live.silentUntil) && isNews(of)), after);
  }

  /** Of ids up to another, those that a reader with a delay may hear of; without one, all. @param {string[]} ids @param {string} after */
  #audible(ids, after) {
    const { live } = this;
    if (!live.delay) return ids;
    const deltas = live.deltas.filter(({ id }) => isNewer(id, live.shown.id) && !isNewer(id, after));
    return live.spoilerDelay?.audible(ids, deltas, after) ?? [];
  }

  /**
   * What a change says to a screen reader; "" if it cannot be had now.
   *
   * @param {string} id
   * @param {Promise<string>} [html] the scoreboard at that id
   */
  async #sentence(id, html = this.live.fragment(id)) {
    return this.attributeOf(await html.catch(() => ""), ATTRIBUTE_ANNOUNCE);
  }

  /** What a scoreboard says in an attribute; "" if it has none. @param {string} html @param {string} name */
  attributeOf(html, name) {
    return this.parseHtml(html).querySelector(`[${name}]`)?.getAttribute(name) ?? "";
  }
}
