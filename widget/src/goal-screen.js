// @ts-check
/**
 * How late this page shows a goal, or takes one back: from the log to the screen, by the server's clock. One number
 * goes to the origin for each, without an id, by a request whose answer nobody reads (docs/observability.md, Beacons).
 */

/** What goes back to the origin: its files are below /widget/. */
const url = new URL("../beacon", import.meta.url).href;
const LATEST_MS = 600_000;
/** Ids kept; the elements of one match report once. */
const SENT_MAX = 100;

/** By element: what it has just shown. @type {WeakMap<EventTarget, { kind: string, id: string }>} */
const shown = new WeakMap();
/** By element: the latency that it had before. @type {WeakMap<EventTarget, number>} */
const known = new WeakMap();
/** @type {Set<string>} */
const sent = new Set();

/** @param {Event} event @param {string} kind */
function note(event, kind) {
  const { id } = /** @type {CustomEvent} */ (event).detail;
  if (event.target) shown.set(event.target, { kind, id });
}

/** @param {Event} event */
function report(event) {
  const element = /** @type {Element} */ (event.target);
  const { id, match, latencyMs } = /** @type {CustomEvent} */ (event).detail;
  const last = shown.get(element);
  const before = known.get(element);
  known.set(element, latencyMs);
  // What came with a snapshot has no latency of its own: that of the change before still stands.
  if (latencyMs === before) return;
  // What is delayed on purpose, or drawn behind another tab, says nothing of how fast we are.
  if (last?.id !== id || latencyMs === null || document.hidden || Number(element.getAttribute("delay")) > 0) return;
  shown.delete(element);
  if (sent.has(match + id)) return;
  if (sent.size >= SENT_MAX) sent.clear();
  sent.add(match + id);
  const changed = performance.now();
  // The second frame begins once the first has been drawn.
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      const ms = Math.round(latencyMs + performance.now() - changed);
      if (ms <= LATEST_MS) navigator.sendBeacon(url, `${last.kind} ${ms}`);
    }),
  );
}

document.addEventListener("touchline:goal", (event) => note(event, "goal"));
document.addEventListener("touchline:correction", (event) => {
  if (/** @type {CustomEvent} */ (event).detail.what === "goal_ruled_out") note(event, "retract");
});
document.addEventListener("touchline:state", report);
