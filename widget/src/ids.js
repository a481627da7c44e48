// @ts-check
/** Ids are `<epoch>-<seq>`; docs/protocol.md section 3. */

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
