// @ts-check
/** The capacity planner: sliders, and what the model behind `touchline capacity` answers. */

import { ask, duration, make, part, row, short, whole } from "./lab-page.js";

const WAIT_MS = 150;
/** What has a slider: its name, label, the greatest value offered, and whether it moves by orders of magnitude. */
const SLIDERS = [
  { name: "viewers", label: "Viewers at once", max: 1e9, isLog: true },
  { name: "regions", label: "Regions", max: 30, isLog: false },
  { name: "matches", label: "Matches at once", max: 10_000, isLog: true },
  { name: "deltas_per_match", label: "Deltas of a match", max: 2_000, isLog: true },
  { name: "cached_share", label: "Share that long-polls through caches", max: 1, isLog: false },
  { name: "within_ms", label: "Last viewer within, ms", max: 10_000, isLog: true },
  { name: "cores", label: "Cores of a machine", max: 128, isLog: true },
];
const STEPS = 300;

/** @type {Record<string, any>} */
const given = { constants: {} };
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;
let asked = 0;

export async function startPlan() {
  let known;
  try {
    known = await ask("plan");
  } catch (error) {
    part("plan-missing").textContent = `The planner is not in this build: ${error instanceof Error ? error.message : error}.`;
    part("plan-missing").hidden = false;
    return;
  }
  part("plan").hidden = false;
  const { inputs, bounds } = known;
  for (const slider of SLIDERS) part("sliders").append(sliderOf(slider, inputs[slider.name], bounds[slider.name]));
  const tls = /** @type {HTMLInputElement} */ (make("input", { type: "checkbox", name: "plan-tls" }));
  tls.addEventListener("change", () => set("tls", tls.checked));
  part("sliders").append(make("label", { class: "lab-check" }, tls, " Machines of the stream tier end TLS"));
  part("plan-constants").replaceChildren(...Object.entries(inputs.constants).map(([name, one]) => constantRow(name, one)));
  void plan();
}

/**
 * @param {{name: string, label: string, max: number, isLog: boolean}} slider
 * @param {number} value
 * @param {[number, number]} bound
 */
function sliderOf({ name, label, max, isLog }, value, bound) {
  const [low, high] = [Math.max(bound[0], isLog ? 1 : 0), Math.min(bound[1], max)];
  const isShare = name === "cached_share";
  const toStep = (/** @type {number} */ of) => Math.round((STEPS * (isLog ? Math.log(of / low) / Math.log(high / low) : (of - low) / (high - low))));
  const toValue = (/** @type {number} */ step) => {
    const exact = isLog ? low * (high / low) ** (step / STEPS) : low + ((high - low) * step) / STEPS;
    return isShare ? Math.round(exact * 100) / 100 : Number(Math.round(exact).toPrecision(2));
  };
  const output = make("output", {}, isShare ? `${Math.round(value * 100)} %` : whole(value));
  // A field with the plain name would hide the form's own "matches".
  const input = /** @type {HTMLInputElement} */ (make("input", { type: "range", name: `plan-${name}`, min: "0", max: String(STEPS), step: "1", value: String(toStep(value)) }));
  input.setAttribute("aria-valuetext", output.textContent ?? "");
  input.addEventListener("input", () => {
    const chosen = toValue(Number(input.value));
    output.textContent = isShare ? `${Math.round(chosen * 100)} %` : whole(chosen);
    input.setAttribute("aria-valuetext", output.textContent);
    set(name, chosen);
  });
  return make("label", {}, make("span", {}, label), output, input);
}

/** @param {string} name @param {any} one */
function constantRow(name, one) {
  const input = /** @type {HTMLInputElement} */ (make("input", { type: "number", step: "any", min: "0", value: String(Number(one.value.toPrecision(6))), "aria-label": `${name}, ${one.unit}` }));
  input.addEventListener("change", () => {
    given.constants[name] = Number(input.value);
    later();
  });
  return row(name, input, one.unit, one.meaning, one.source);
}

/** @param {string} name @param {unknown} value */
function set(name, value) {
  given[name] = value;
  later();
}

function later() {
  clearTimeout(waiting);
  waiting = setTimeout(() => void plan(), WAIT_MS);
}

async function plan() {
  const number = ++asked;
  try {
    const made = await ask("plan", given);
    // A slider that moves on has asked again.
    if (number !== asked) return;
    part("plan-missing").hidden = true;
    show(made);
  } catch (error) {
    if (number !== asked) return;
    part("plan-missing").textContent = error instanceof Error ? error.message : String(error);
    part("plan-missing").hidden = false;
  }
}

/** @param {any} made */
function show(made) {
  const figures = [
    ["Stream servers", whole(made.stream_servers)],
    ["Redis, a region", `${whole(made.redis_instances)}, each with a replica`],
    ["Kafka partitions", whole(made.kafka_partitions)],
    ["Fan-out workers, a region", whole(made.fanout_workers)],
    ["Cache nodes", whole(made.cache_nodes)],
    ["To viewers for a goal", `${short(made.gigabytes_per_goal)} GB`],
    ["Last viewer after", made.stream ? duration(made.last_viewer_ms) : "–"],
    ["Reconnect window", `${short(made.reconnect_window_s)} s`],
    ["All back after", `${short(made.back_s)} s`],
    ["Cost a month", `${whole(made.monthly_usd)} USD`],
  ];
  part("plan-figures").replaceChildren(...figures.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  part("plan-seed").replaceChildren(...made.seed.map((/** @type {any} */ one) => row(one.figure, short(one.seed), short(one.planned), one.ratio ? `${short(one.ratio)} : 1` : "–")));
  part("plan-machines").replaceChildren(
    ...made.instances.map((/** @type {any} */ one) => row(one.role, whole(one.count), one.why, short(one.usd_per_hour))),
    row("Machines", "", "", `${whole(made.machines_usd)} USD a month`),
    row("Traffic", "", "", `${whole(made.traffic_usd)} USD a month`),
  );
  part("plan-limits").replaceChildren(...made.limits.map((/** @type {any} */ one) =>
    row(one.name, `${short(one.used)} ${one.unit}`, `${short(one.limit)} ${one.unit}`, `${short(one.share * 100)} %`, one.why)));
}
