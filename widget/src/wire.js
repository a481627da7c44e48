// @ts-check
/**
 * Every name that the loader reads off the wire or writes to it: the only file here that spells them.
 *
 * shared_state/wire.py has the same names with the same values; tests/widget/test_wire_names.py compares the two,
 * and both with what the server sends.
 */

/** Server-sent events. */
export const EVENT_SCORE = "score";
export const EVENT_GAP = "gap";
export const EVENT_HEARTBEAT = "heartbeat";
export const EVENT_ROW = "row";
export const EVENT_END = "end";

/** Keys of the data of a gap and a heartbeat, and of a snapshot. */
export const KEY_EPOCH = "epoch";
export const KEY_SEQ = "seq";
export const KEY_HASH = "hash";
export const KEY_SERVER_MS = "server_ms";
export const KEY_MATCH_ID = "match_id";
export const KEY_MATCHES = "matches";
export const KEY_LIST = "list";
export const KEY_STEP = "step";
export const KEY_LATE_MS = "late_ms";
/** Of a page's address; HTML has the same name for an element's language. */
export const KEY_LANGUAGE = "lang";

/** Keys of a row. */
export const KEY_ID = "id";
export const KEY_LISTS = "lists";
export const KEY_HTML = "html";

/** Keys of a delta; the loader reads no others. */
export const DELTA_EVENT_ID = "e";
export const DELTA_OP = "o";
export const DELTA_REV = "r";
export const DELTA_TYPE = "t";
export const DELTA_ACCEPTED = "a";
export const DELTA_DETAIL = "k";
export const OP_AMEND = "AMEND";
export const OP_RETRACT = "RETRACT";

/** Requests and answers. */
export const QUERY_LAST_EVENT_ID = "last_event_id";
export const QUERY_MATCH = "m";
export const QUERY_LIST = "list";
export const QUERY_LIST_ID = "list_id";
export const QUERY_FLUSH = "flush";
export const QUERY_BEHIND = "behind";
export const HEADER_RETRY_AFTER = "Retry-After";
export const HEADER_AS_OF = "Touchline-As-Of";
export const HEADER_STEP = "Touchline-Step";
export const HEADER_KEEP = "Touchline-Keep";
export const STREAM_TYPE = "text/event-stream";
export const JSON_TYPE = "application/json";
export const HTML_TYPE = "text/html";

/** Replies of the reducer, by widget/python/bridge.py. */
export const RECEIPT_APPLIED = "applied";
export const RECEIPT_IN_STEP = "in_step";
export const RECEIPT_NEED_SNAPSHOT = "need_snapshot";
export const RECEIPT_WAITING = "waiting";

/** Attributes of the server's HTML, and the id of the script element with the page's snapshot. */
export const ATTRIBUTE_AGE = "data-tl-age";
export const ATTRIBUTE_ANNOUNCE = "data-announce";
export const ATTRIBUTE_AS_OF = "data-as-of";
export const ATTRIBUTE_CLOCK_BASE = "data-clock-base";
export const ATTRIBUTE_CLOCK_LEAST = "data-clock-least";
export const ATTRIBUTE_CLOCK_LIMIT = "data-clock-limit";
export const ATTRIBUTE_CLOCK_MOST = "data-clock-most";
export const ATTRIBUTE_CLOCK_START = "data-clock-start";
export const ATTRIBUTE_DAY = "data-tl-day";
export const ATTRIBUTE_ELAPSED = "data-tl-elapsed";
export const ATTRIBUTE_EVENT = "data-event";
export const ATTRIBUTE_FRESH = "data-fresh";
export const ATTRIBUTE_GROUP = "data-tl-group";
export const ATTRIBUTE_ID = "data-id";
export const ATTRIBUTE_JSON_LD = "data-json-ld";
export const ATTRIBUTE_KICKOFF = "data-kickoff";
export const ATTRIBUTE_LIST_ID = "data-list-id";
export const ATTRIBUTE_LOCAL_TIME = "data-tl-local";
export const ATTRIBUTE_MATCH = "data-match";
export const ATTRIBUTE_MOMENT = "data-moment";
export const ATTRIBUTE_NOTIFICATIONS = "data-notifications";
export const ATTRIBUTE_PHASE = "data-phase";
export const ATTRIBUTE_TEXT = "data-tl-text";
export const ATTRIBUTE_TITLE = "data-title";
export const ATTRIBUTE_UNTIL = "data-tl-until";
// The events that a reader with a delay is never shown, as a JSON array.
export const ATTRIBUTE_UNSEEN = "data-unseen";
export const SNAPSHOT_ELEMENT_ID = "tl-snapshot";

/** The meta element of a page that permits what keep.js does. */
export const OFFLINE_META_NAME = "touchline-offline";
export const BEACON_META_NAME = "touchline-beacons";
