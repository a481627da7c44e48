// @ts-check
/**
 * The demo's panel: says which tier is live, where it is, and how old the last change was when it showed.
 *
 * It listens to the `live-score:state` events that <live-score> sends, whose detail is
 * `{tier, id, latencyMs, connection, hash}`; a part that is not there leaves its field as it was.
 * Nothing on the page depends on this file.
 */

/** The text for each state of the connection; a state that is not listed is shown as it is. */
const CONNECTIONS = {
  none: "Not connected",
  connecting: "Connecting",
  open: "Live",
  waiting: "Waiting to reconnect",
  polling: "Polling",
  offline: "Offline",
  ended: "Ended",
  closed: "Closed",
};

/**
 * @param {string} selector
 * @param {(element: HTMLElement) => void} fill
 */
function fill(selector, fill) {
  const element = document.querySelector(selector);
  if (element instanceof HTMLElement) fill(element);
}

document.addEventListener("live-score:state", (event) => {
  const { tier, id, latencyMs, connection, hash } = /** @type {CustomEvent} */ (event).detail ?? {};
  if (tier !== undefined) fill("[data-tl-tier]", (list) => (list.dataset.tlTier = String(tier)));
  if (id) fill("[data-tl-id]", (code) => (code.textContent = id));
  if (hash) fill("[data-tl-hash]", (code) => (code.textContent = hash));
  if (typeof latencyMs === "number") {
    fill("[data-tl-latency]", (field) => {
      field.textContent = latencyMs < 10_000 ? `${Math.round(latencyMs)} ms` : `${Math.round(latencyMs / 1000)} s`;
    });
  }
  if (connection) {
    fill("[data-tl-connection]", (field) => {
      field.dataset.tlConnection = connection;
      field.textContent = CONNECTIONS[/** @type {keyof typeof CONNECTIONS} */ (connection)] ?? connection;
    });
  }
});
