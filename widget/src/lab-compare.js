// @ts-check
/** The comparison of protocols: starts and stops it, and shows its rows and lines while it runs. */

import { ask, clearError, duration, make, part, row, short, showError, size, whole } from "./lab-page.js";

const ASK_MS = 1_000;
const NAMES = {
  poll: "Poll each 5 s",
  conditional: "Conditional poll each 5 s",
  "long-poll": "Long poll through a cache",
  sse: "SSE",
  websocket: "WebSocket",
};
const PHASES = {
  starting: "Five origins start",
  connecting: "Clients connect",
  running: "The match runs",
  done: "Done",
  stopped: "Stopped",
  failed: "Failed",
};

/** @type {Record<string, import("./lab-chart.js").Chart>} */
const charts = {};
/** @type {any[]} */
let samples = [];

export function startCompare() {
  const form = /** @type {HTMLFormElement} */ (part("compare"));
  void loadCharts();
  form.addEventListener("input", () => estimate(form));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(form);
  });
  part("stop").addEventListener("click", () => void ask("comparison-stop", {}).catch(showError));
  estimate(form);
  void keepAsking();
}

/** The table has the same figures, so a browser in which the charts' library does not start goes without them. */
async function loadCharts() {
  /** @type {typeof import("./lab-chart.js")} */
  let module;
  try {
    module = await import(new URL(CHART, import.meta.url).href);
  } catch {
    return;
  }
  for (const place of document.querySelectorAll("[data-chart]")) {
    if (place instanceof HTMLElement) charts[place.dataset.chart ?? ""] = new module.Chart(place, Object.values(NAMES), "min");
  }
}

/** @param {HTMLFormElement} form */
function values(form) {
  const data = new FormData(form);
  return { clients: Number(data.get("clients")), minutes: Number(data.get("minutes")) };
}

/** @param {HTMLFormElement} form */
function estimate(form) {
  const { clients, minutes } = values(form);
  // As origin/lab/comparison/run.py decides it.
  const [pollsPerS, pollS, scaleMax] = [form.dataset.pollsPerS, form.dataset.pollS, form.dataset.scaleMax].map(Number);
  const scale = Math.max(1, Math.min(scaleMax, Math.floor((pollsPerS * pollS) / Math.max(1, clients))));
  part("compare-estimate").textContent =
    `About ${duration((minutes * 60_000) / scale)} at ${scale} times the match’s speed, and a few seconds to start.`;
}

/** @param {HTMLFormElement} form */
async function run(form) {
  try {
    await ask("comparison", values(form));
    clearError();
    samples = [];
    void askNow();
  } catch (error) {
    showError(error);
  }
}

async function keepAsking() {
  for (;;) {
    await askNow();
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? 5 * ASK_MS : ASK_MS));
  }
}

let wasRunning = true;

async function askNow() {
  const isSeen = part("compare").getBoundingClientRect().top < innerHeight * 2;
  if (!wasRunning && !isSeen) return;
  try {
    show(await ask(`comparison?after=${samples.length}`));
  } catch {
    // the live demo says that the origin does not answer
  }
}

/** @param {any} state */
function show(state) {
  if (!state.phase) {
    wasRunning = false;
    return;
  }
  const isRunning = ["starting", "connecting", "running"].includes(state.phase);
  wasRunning = isRunning;
  const stop = /** @type {HTMLButtonElement} */ (part("stop"));
  stop.disabled = !isRunning;
  const phase = PHASES[/** @type {keyof typeof PHASES} */ (state.phase)] ?? state.phase;
  const minute = Math.floor((state.elapsed_s * state.scale) / 60);
  write(part("compare-status"),
    `${phase}: ${whole(state.clients)} clients of each protocol, minute ${minute} of ${state.minutes}, ` +
    `${short(state.scale)} times as fast, ${state.events} events.${state.error ? ` ${state.error}` : ""}`);
  part("compare-status").dataset.phase = state.phase;
  part("compare-rows").replaceChildren(...state.rows.map((/** @type {any} */ one) => compareRow(one, state)));
  if (state.samples_before === 0) samples = [];
  samples.push(...state.samples);
  if (!samples.length || !charts.cpu) return;
  part("charts").hidden = false;
  const minutes = samples.map((sample) => (sample.at_s * state.scale) / 60);
  const lines = (/** @type {(of: any) => number} */ pick) => Object.keys(NAMES).map((name) => samples.map((sample) => (sample[name] ? pick(sample[name]) : null)));
  charts.cpu?.set([minutes, ...lines((of) => of.cpu_s)]);
  charts.bytes?.set([minutes, ...lines((of) => of.bytes_down / 1e6)]);
}

/** A live region is spoken when it is written to. @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {any} one
 * @param {any} state
 */
function compareRow(one, state) {
  const name = NAMES[/** @type {keyof typeof NAMES} */ (one.protocol)] ?? one.protocol;
  // Elsewhere than on Linux there is no /proc to measure by.
  const cpu = one.cpu_s === null ? "not measured here" : `${one.cpu_s.toFixed(2)} s${one.cache_cpu_s === null ? "" : ` + ${one.cache_cpu_s.toFixed(2)} s of the cache`}`;
  const isPoll = one.protocol === "poll" || one.protocol === "conditional";
  const inMatch = (/** @type {number | null} */ ms) => (isPoll && ms !== null ? ` (${duration(ms * state.scale)} of the match)` : "");
  const failures = Object.entries(one.failures).map(([why, count]) => `${count} × ${why}`).join(", ");
  const made = row(name, whole(one.requests), whole(one.origin_requests), size(one.bytes_up), size(one.bytes_down), cpu,
    duration(one.p50_ms) + inMatch(one.p50_ms), duration(one.p99_ms) + inMatch(one.p99_ms),
    make("span", { class: one.received < one.expected || failures ? "lab-bad" : "" }, `${whole(one.received)} of ${whole(one.expected)}${failures ? `; ${failures}` : ""}`));
  made.dataset.protocol = one.protocol;
  return made;
}
