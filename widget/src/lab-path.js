// @ts-check
/**
 * A goal's path as a tree: each delta is a pulse along it, with the time that each hop took.
 *
 * Measured: stamps of one machine's clock, joined by the delta's id. Simulated: what `touchline
 * capacity simulate goal` says of 50 million viewers, each constant with its source; nothing of it happened.
 */

import { onAnswer } from "./lab-live.js";
import { EVENT_SCORE } from "./wire.js";
import { ask, duration, make, part, row, short, whole } from "./lab-page.js";

const SVG = "http://www.w3.org/2000/svg";
const KEPT = 8;
const RECORDS_MAX = 200;
const PULSE_MS = 450;
const MEASURED = "measured";

/** @typedef {{id: string, name: string, note: string, x: number, y: number, isAbsent?: boolean}} Place */
/** @typedef {{id: string, sentMs?: number, acceptedMs: number, busMs: number, wireMs?: number, firstMs?: number, secondMs?: number, type: string, event: string}} PathRecord */

/** Hops of what is measured here: what each is called, and how it is made of stamps. */
const HOPS = [
  { name: "Source → log", from: "source", to: "log", of: (/** @type {PathRecord} */ r) => between(r.sentMs, r.acceptedMs) },
  { name: "Log → fan-out → bus", from: "log", to: "bus", of: (/** @type {PathRecord} */ r) => between(r.acceptedMs, r.busMs) },
  { name: "Bus → stream tier → network", from: "bus", to: "network", of: (/** @type {PathRecord} */ r) => between(r.busMs, r.wireMs) },
  { name: "Network → viewer 1 shows it", from: "network", to: "viewer1", of: (/** @type {PathRecord} */ r) => between(r.wireMs, r.firstMs) },
  { name: "Bus → stream tier → viewer 2 shows it", from: "bus", to: "viewer2", of: (/** @type {PathRecord} */ r) => between(r.busMs, r.secondMs) },
];
/** The places on the way of each hop. @type {Record<string, string[]>} */
const WAYS = {
  "log-bus": ["log", "fanout", "bus"],
  "bus-network": ["bus", "stream", "network"],
  "bus-viewer2": ["bus", "stream", "viewer2"],
};
/** @type {Place[]} */
const PLACES = [
  { id: "source", name: "Source", note: "signed webhook", x: 60, y: 110 },
  { id: "log", name: "Log", note: "SQLite", x: 200, y: 110 },
  { id: "fanout", name: "Fan-out", note: "a thread", x: 340, y: 110 },
  { id: "bus", name: "Bus", note: "in memory", x: 480, y: 110 },
  { id: "stream", name: "Stream tier", note: "one worker", x: 620, y: 110 },
  { id: "cache", name: "Cache", note: "none in the demo", x: 760, y: 190, isAbsent: true },
  { id: "network", name: "Network", note: "the lab’s proxy", x: 760, y: 40 },
  { id: "viewer1", name: "Viewer 1", note: "", x: 900, y: 40 },
  { id: "viewer2", name: "Viewer 2", note: "straight", x: 900, y: 120 },
];
const LINES = [
  ["source", "log"], ["log", "fanout"], ["fanout", "bus"], ["bus", "stream"], ["stream", "network"],
  ["network", "viewer1"], ["stream", "viewer2"], ["stream", "cache"],
];
const SIMULATED_LINES = [["source", "log"], ["log", "fanout"], ["fanout", "bus"], ["bus", "stream"], ["stream", "cache"], ["cache", "viewer1"], ["stream", "viewer1"]];

/** @type {Map<string, PathRecord>} */
const records = new Map();
/** By match, event, revision and operation. @type {Map<string, number>} */
const posts = new Map();
/** By id. @type {Map<string, number>} */
const frames = new Map();
const animated = new Set();
let mode = MEASURED;
/** @type {SVGSVGElement} */
let svg;

export function startPath() {
  draw(PLACES, LINES);
  onAnswer(take);
  for (const choice of document.querySelectorAll("input[name=path]")) {
    choice.addEventListener("change", (event) => void choose(/** @type {HTMLInputElement} */ (event.target).value));
  }
  showMeasured();
}

/**
 * @param {any} answer
 * @param {Record<string, {state: {id?: string, shownMs?: number}}>} viewers
 */
function take(answer, viewers) {
  let changed = false;
  if (answer) {
    for (const post of answer.posts) for (const event of post.events) posts.set(`${post.match_id} ${event.join(" ")}`, post.sent_ms);
    for (const frame of answer.frames) if (frame.event === EVENT_SCORE && frame.passed) frames.set(frame.id.replace(/^.*@/, ""), frame.at_ms);
    for (const stamp of answer.stamps) {
      if (records.has(stamp.id)) continue;
      const event = `${answer.match_id} ${stamp.event.join(" ")}`;
      records.set(stamp.id, { id: stamp.id, event, type: stamp.type, acceptedMs: stamp.accepted_ms, busMs: stamp.bus_ms });
      changed = true;
    }
    for (const record of records.values()) {
      record.sentMs ??= posts.get(record.event);
      record.wireMs ??= frames.get(record.id);
    }
    for (const map of [records, posts, frames]) while (map.size > RECORDS_MAX) map.delete(map.keys().next().value ?? "");
  }
  for (const [name, key] of /** @type {[string, "firstMs" | "secondMs"][]} */ ([["proxied", "firstMs"], ["straight", "secondMs"]])) {
    const state = viewers[name]?.state;
    const record = state?.id ? records.get(state.id) : undefined;
    // What was shown before the bus brought it is another visit of the page.
    if (record && record[key] === undefined && (state?.shownMs ?? 0) >= record.busMs - 5) {
      record[key] = state?.shownMs;
      changed = true;
    }
  }
  if (mode !== MEASURED) return;
  if (answer || changed) showMeasured();
  for (const record of records.values()) {
    const isOver = record.firstMs !== undefined || performance.timeOrigin + performance.now() - record.busMs > 1_500;
    if (isOver && !animated.has(record.id)) {
      animated.add(record.id);
      if (performance.timeOrigin + performance.now() - record.busMs < 10_000) void pulse(record);
    }
  }
}

/** @param {number | undefined} from @param {number | undefined} to */
function between(from, to) {
  // The log dates in whole milliseconds, so a hop may come out a fraction below nothing.
  return from === undefined || to === undefined ? undefined : Math.max(0, to - from);
}

function showMeasured() {
  const shown = [...records.values()].slice(-KEPT).reverse();
  part("hops-head").replaceChildren(make("tr", {}, ...["Delta", ...HOPS.map(({ name }) => name), "Post → viewer 1"].map((name) => make("th", { scope: "col" }, name))));
  part("hops").replaceChildren(...shown.map((record) => {
    const made = row(`${record.id.split("-")[1]} ${record.type ?? record.event.split(" ").pop()}`,
      ...HOPS.map(({ of }) => duration(of(record))), duration(between(record.sentMs, record.firstMs)));
    made.dataset.delta = record.id;
    return made;
  }));
  part("path-note").textContent = shown.length
    ? "Newest first. The log dates in whole milliseconds. A viewer shows the last of several deltas that come together, and only that one is dated there."
    : "Press a button of the live demo: its delta appears here.";
}

/** @param {PathRecord} record */
async function pulse(record) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const hop of HOPS) {
    const ms = hop.of(record);
    if (ms === undefined) continue;
    const way = WAYS[`${hop.from}-${hop.to}`] ?? [hop.from, hop.to];
    label(way[way.length - 1], duration(ms));
    if (isStill || document.hidden) continue;
    const moved = travel(way);
    if (hop.to !== "viewer1") await moved;
  }
}

/** @param {string[]} way */
async function travel(way) {
  const dot = node("circle", { r: "7", class: "lab-pulse" });
  svg.append(dot);
  const steps = way.map((id) => PLACES.find((place) => place.id === id)).filter((place) => place !== undefined);
  const keyframes = steps.map(({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` }));
  try {
    await dot.animate(keyframes, { duration: PULSE_MS * (way.length - 1), easing: "ease-in-out" }).finished;
  } catch {
    // the tree was drawn anew
  }
  dot.remove();
}

/** @param {Place[]} places @param {string[][]} lines */
function draw(places, lines) {
  svg = /** @type {SVGSVGElement} */ (node("svg", { viewBox: "0 0 960 240", role: "img", "aria-label": "Source, log, fan-out, bus, stream tier, cache and viewers, in the order of a goal’s path" }));
  for (const [from, to] of lines) {
    const [a, b] = [from, to].map((id) => places.find((place) => place.id === id));
    if (a && b) svg.append(node("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: a.isAbsent || b.isAbsent ? "lab-line lab-absent" : "lab-line" }));
  }
  for (const { id, name, note, x, y, isAbsent } of places) {
    const group = node("g", { class: isAbsent ? "lab-place lab-absent" : "lab-place", "data-place": id });
    group.append(node("rect", { x: x - 54, y: y - 22, width: 108, height: 44, rx: 8 }));
    group.append(node("text", { x, y: y - 3, class: "lab-name" }, name), node("text", { x, y: y + 13, class: "lab-small" }, note));
    group.append(node("text", { x, y: y + 38, class: "lab-time" }, ""));
    svg.append(group);
  }
  part("tree").replaceChildren(svg);
}

/** @param {string} place @param {string} text */
function label(place, text) {
  const time = svg.querySelector(`[data-place="${place}"] .lab-time`);
  if (time) time.textContent = `+${text}`;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** @param {string} chosen */
async function choose(chosen) {
  mode = chosen;
  if (mode === MEASURED) {
    draw(PLACES, LINES);
    showMeasured();
    return;
  }
  part("hops-head").replaceChildren();
  part("hops").replaceChildren();
  part("path-note").textContent = "Simulating; this takes some seconds the first time.";
  try {
    const outcome = await ask("final");
    if (mode === chosen) showSimulated(outcome);
  } catch (error) {
    if (mode === chosen) part("path-note").textContent = `There is nothing to show: ${error instanceof Error ? error.message : error}.`;
  }
}

/** @param {any} outcome */
function showSimulated({ plan, results, seed, findings }) {
  const { constants, regions, viewers } = plan.inputs;
  const { hops, p50_ms: p50, p99_ms: p99 } = results.streams;
  const lastMile = constants.network_viewer_s;
  const machines = (/** @type {string} */ role) => plan.instances.find((/** @type {any} */ one) => one.role === role)?.count ?? 0;
  draw([
    { id: "source", name: "Source", note: "one webhook", x: 60, y: 110 },
    { id: "log", name: "Log", note: `${whole(plan.kafka_partitions)} partitions`, x: 200, y: 110 },
    { id: "fanout", name: "Fan-out", note: `${whole(machines("fan-out worker"))} workers`, x: 340, y: 110 },
    { id: "bus", name: "Bus", note: `${whole(machines("Redis"))} Redis`, x: 480, y: 110 },
    { id: "stream", name: "Stream tier", note: `${whole(plan.stream_servers)} servers`, x: 620, y: 110 },
    { id: "cache", name: "Cache", note: plan.cache_nodes ? `${whole(plan.cache_nodes)} nodes` : "nobody’s way", x: 760, y: 190, isAbsent: !plan.cache_nodes },
    { id: "viewer1", name: "Viewers", note: `${short(viewers / 1e6)} million`, x: 900, y: 110 },
  ], SIMULATED_LINES);
  /** Where each hop of the simulation ends, and the constants that it was drawn from. @type {[string, string[]][]} */
  const ends = [
    ["log", ["acknowledged_min_s", "acknowledged_s", "acknowledged_max_s"]],
    ["fanout", ["network_region_s"]],
    ["bus", ["cluster_first_s"]],
    ["stream", ["delivery_s", "redis_publish_100_s"]],
  ];
  part("hops-head").replaceChildren(make("tr", {}, ...["Hop", "Time", "Since the post", "From"].map((name) => make("th", { scope: "col" }, name))));
  const rows = hops.map((/** @type {any} */ hop, /** @type {number} */ number) => {
    const [place, names] = ends[number] ?? ["stream", []];
    const ms = hop.done_ms - (hops[number - 1]?.done_ms ?? 0);
    label(place, duration(ms));
    return row(hop.name, duration(ms), duration(hop.done_ms), sourcesOf(constants, names));
  });
  const last = hops[hops.length - 1].done_ms;
  label("viewer1", duration(lastMile.value * 1_000));
  rows.push(row("on the viewer’s screen", duration(lastMile.value * 1_000), duration(last + lastMile.value * 1_000), sourcesOf(constants, ["network_viewer_s"])));
  part("hops").replaceChildren(...rows);
  part("path-note").textContent =
    `Simulated, not run (touchline capacity simulate goal, seed ${seed}): ${short(viewers / 1e6)} million viewers in ${whole(regions)} regions; ` +
    `half of them have it after ${duration(p50)}, 99 % after ${duration(p99)}; ${short(plan.gigabytes_per_goal)} GB a goal. ${findings.map((/** @type {string} */ one) => `${one[0].toUpperCase()}${one.slice(1)}.`).join(" ")}`;
}

/** @param {Record<string, {source: string}>} constants @param {string[]} names */
function sourcesOf(constants, names) {
  return names.map((name) => `${name}: ${constants[name]?.source ?? "not given"}`).join("; ");
}
