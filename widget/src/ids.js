// @ts-check
/** Ids are `<epoch>-<seq>`, the cursors of lists `<UTC ms>-<digest>`; docs/protocol.md sections 3 and 4. */

import { KEY_EPOCH, KEY_SEQ } from "./wire.js";

/** @param {string} id @returns {[number, number]} */
export function parts(id) {
  const [epoch, seq] = id.split("-").map(Number);
  return [epoch, seq];
}

/**
 * The id of a gap, a heartbeat or a snapshot.
 *
 * @param {Record<string, any>} value
 */
export function idOf(value) {
  return `${value[KEY_EPOCH]}-${value[KEY_SEQ]}`;
}

/**
 * Whether `id` is after `than`; anything is after nothing. A rebuilt log has a later epoch.
 *
 * @param {string} id
 * @param {string} than
 */
export function isNewer(id, than) {
  if (!id || !than) return Boolean(id);
  const [[epoch, seq], [thanEpoch, thanSeq]] = [parts(id), parts(than)];
  return epoch === thanEpoch ? seq > thanSeq : epoch > thanEpoch;
}

/**
 * Until when all rows of a list are known, by its cursor: UTC milliseconds, 0 for no cursor. The digest in it is the
 * server's, so a cursor is given back whole.
 *
 * @param {string} cursor
 */
export function knownUntilMs(cursor) {
  return Number(cursor.split("-")[0]);
}
