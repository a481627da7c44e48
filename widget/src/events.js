// @ts-check
/**
 * The events of `<live-score>` for a page's own script, and their types. Importing this file does nothing.
 *
 * `touchline:goal`, `touchline:correction` and `touchline:status` are sent once each, in order, when the reader sees
 * the change; `touchline:state` whenever the element's connection, tier or position is another. All bubble and
 * cross shadow roots. docs/embedding.md has an example of each.
 */

/**
 * @typedef {{ home: number, away: number }} Score
 *
 * @typedef {object} Change
 *   What all three have; `match` is added by the element.
 * @property {string} match the match's id
 * @property {string} id `<epoch>-<seq>`, the id of the delta that brought it
 * @property {string} eventId the source's id of the event
 * @property {Score} score after it
 * @property {Score} [shootout] after it, once there is a shoot-out
 *
 * @typedef {object} Subject
 * @property {"home" | "away" | null} team
 * @property {string | null} player
 * @property {Period | null} period
 * @property {number | null} minute
 * @property {number} stoppage
 *
 * @typedef {Change & Subject & { type: "goal", ownGoal: boolean, penalty: boolean, underReview: boolean }} GoalDetail
 *
 * @typedef {Change & Subject & { type: "correction", what: CorrectionKind, reason: string | null }} CorrectionDetail
 * @typedef {"goal_ruled_out" | "goal_restored" | "goal_amended" | "score" | "red_card_rescinded" | "shootout_kick"} CorrectionKind
 *
 * @typedef {Change & { type: "status", status: MatchStatus, from: MatchStatus, period: Period }} StatusDetail
 * @typedef {"SCHEDULED" | "DELAYED" | "LIVE" | "HALF_TIME" | "EXTRA_TIME" | "PENALTIES" | "INTERRUPTED" | "SUSPENDED"
 *   | "FT" | "AET" | "FT_PENS" | "POSTPONED" | "CANCELLED" | "ABANDONED" | "AWARDED"} MatchStatus
 *
 * @typedef {"PRE" | "H1" | "HT" | "H2" | "BREAK_ET" | "ET1" | "ET_HT" | "ET2" | "BREAK_PENS" | "PENS" | "POST"} Period
 *
 * @typedef {GoalDetail | CorrectionDetail | StatusDetail} Notification
 *
 * @typedef {object} StateDetail
 * @property {string} match the match's id
 * @property {0 | 1 | 2} tier 0 as the server rendered it, 1 live by fragments, 2 live by the reducer in this browser
 * @property {string} id what is shown; "" for nothing yet
 * @property {"connecting" | "open" | "polling" | "waiting" | "offline" | "ended" | "closed"} connection
 * @property {number | null} latencyMs from the log to the screen, of the last change
 * @property {string} hash of the state shown, where it is known
 * @property {number | null} bootMs how long the reducer took to start
 *
 * @typedef {CustomEvent<GoalDetail>} GoalEvent
 * @typedef {CustomEvent<CorrectionDetail>} CorrectionEvent
 * @typedef {CustomEvent<StatusDetail>} StatusEvent
 * @typedef {CustomEvent<StateDetail>} StateEvent
 */

/**
 * @param {EventTarget} element
 * @param {string} name with its prefix
 * @param {object} detail
 */
export function send(element, name, detail) {
  element.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
}

/**
 * @param {EventTarget} element
 * @param {string} match
 * @param {Notification[]} list
 */
export function notify(element, match, list) {
  for (const one of list) send(element, `touchline:${one.type}`, { ...one, match });
}
