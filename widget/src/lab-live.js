// @ts-check
/**
 * The live demo: buttons, two real viewers in frames, what is on the first one's wire, and who is in step.
 *
 * What the page knows is asked for twice a second; a part of it that the page is told at once, by the viewers.
 */

import { isLocal, STATE_ASKED, STATE_REPORTED } from "./lab-messages.js";
import { ask, BASE, clearError, duration, make, part, row, showError, whole } from "./lab-page.js";

const ASK_MS = 400;
const FRAMES_SHOWN = 60;
const AN_HOUR_S = 3_600;
/** @typedef {{id?: string, hash?: string, score?: string, age?: string, tier?: number, connection?: string, latencyMs?: number, shownMs?: number}} ViewerState */

/** The viewers, by name. @type {Record<string, {frame: HTMLIFrameElement, address: string, state: ViewerState}>} */
const viewers = {};
/** @type {any} */
let server = {};
let matchId = "";
let proxyPort = 0;
let isSkewed = false;
let framesAfter = 0;
let postsAfter = 0;
/** Called with each answer, and with what a viewer shows. @type {((answer: any, viewers: Record<string, {state: ViewerState}>) => void)[]} */
const listeners = [];

/** @param {(answer: any, viewers: Record<string, {state: ViewerState}>) => void} listener */
export function onAnswer(listener) {
  listeners.push(listener);
}

export function startLive() {
  for (const frame of document.querySelectorAll("iframe")) {
    viewers[frame.dataset.viewer ?? ""] = { frame, address: "", state: {} };
    frame.addEventListener("load", () => askViewer(frame));
  }
  addEventListener("message", hear);
  for (const button of document.querySelectorAll("button[data-action]")) {
    if (button instanceof HTMLElement) button.addEventListener("click", () => void act(button.dataset.action ?? ""));
  }
  for (const button of document.querySelectorAll("button[data-network]")) {
    if (button instanceof HTMLElement) button.addEventListener("click", () => void change(button.dataset.network ?? ""));
  }
  part("new-match").addEventListener("click", () => void press("Another match kicks off.", ask("match", {})));
  part("restart").addEventListener("click", () => void press("The stream worker ends; another starts.", ask("restart", {})));
  part("clock").addEventListener("click", skew);
  void keepAsking();
}

/** @param {string} action */
async function act(action) {
  const team = /** @type {HTMLSelectElement} */ (part("team")).value;
  const answer = await press("", ask("act", { action, team }));
  if (!answer) return;
  const events = answer.posts.flatMap((/** @type {any} */ post) => post.events.map((/** @type {string[]} */ one) => one.join(" ")));
  say(`Posted: ${events.join(", then ")}.`);
}

/** @param {string} condition */
async function change(condition) {
  await press(condition === "drop" ? "The stream of viewer 1 was cut." : `Viewer 1’s network: ${condition}.`, ask("network", { condition }));
}

/**
 * @param {string} said
 * @param {Promise<any>} asked
 */
async function press(said, asked) {
  try {
    const answer = await asked;
    clearError();
    if (said) say(said);
    void askNow();
    return answer;
  } catch (error) {
    showError(error);
  }
}

/** @param {string} text */
function say(text) {
  part("said").textContent = text;
}

function skew() {
  isSkewed = !isSkewed;
  part("clock").setAttribute("aria-pressed", String(isSkewed));
  say(isSkewed ? "Viewer 1 was loaded again with a clock an hour ahead." : "Viewer 1 was loaded again with the true clock.");
  loadViewers();
}

function loadViewers() {
  const query = isSkewed ? `?clock=${AN_HOUR_S}` : "";
  const addresses = {
    proxied: `http://127.0.0.1:${proxyPort}/lab/viewer/${matchId}${query}`,
    straight: `${BASE}lab/viewer/${matchId}`,
  };
  for (const [name, address] of Object.entries(addresses)) {
    const viewer = viewers[name];
    if (!viewer || viewer.address === address) continue;
    viewer.address = viewer.frame.src = address;
    viewer.state = {};
  }
}

/** @param {HTMLIFrameElement} frame */
function askViewer(frame) {
  const { origin } = new URL(frame.src || document.baseURI);
  if (frame.src) frame.contentWindow?.postMessage({ type: STATE_ASKED }, origin);
}

/** @param {MessageEvent} event */
function hear({ origin, source, data }) {
  if (!isLocal(origin) || data?.type !== STATE_REPORTED || typeof data.state !== "object") return;
  const viewer = Object.values(viewers).find(({ frame }) => frame.contentWindow === source);
  if (!viewer) return;
  viewer.state = data.state;
  showWho();
  for (const listener of listeners) listener(null, viewers);
}

async function keepAsking() {
  for (;;) {
    await askNow();
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? 5 * ASK_MS : ASK_MS));
  }
}

let asking = false;
let wasLost = false;

async function askNow() {
  if (asking) return;
  asking = true;
  try {
    const answer = await ask(`state?after=${framesAfter}&posts_after=${postsAfter}`);
    if (wasLost) clearError();
    wasLost = false;
    take(answer);
  } catch (error) {
    wasLost = true;
    showError(`The origin does not answer now: ${error instanceof Error ? error.message : error}`);
  } finally {
    asking = false;
  }
}

/** @param {any} answer */
function take(answer) {
  server = answer.server;
  if (answer.match_id !== matchId || answer.network.port !== proxyPort) {
    ({ match_id: matchId } = answer);
    proxyPort = answer.network.port;
    part("wire").replaceChildren();
    loadViewers();
  }
  for (const frame of answer.frames) framesAfter = Math.max(framesAfter, frame.n);
  for (const post of answer.posts) postsAfter = Math.max(postsAfter, post.n);
  showNetwork(answer.network);
  showFrames(answer.frames);
  showWho();
  for (const listener of listeners) listener(answer, viewers);
}

/** @param {any} network */
function showNetwork(network) {
  part("condition").textContent = network.condition;
  for (const button of document.querySelectorAll("button[data-network][aria-pressed]")) {
    if (button instanceof HTMLElement) button.setAttribute("aria-pressed", String(button.dataset.network === network.condition));
  }
  part("wire-counts").textContent =
    `${whole(network.requests)} requests, ${whole(network.bytes_down)} bytes to the viewer, ` +
    `${whole(network.connections)} connections open, ${whole(network.withheld)} frames withheld.`;
}

/** @param {any[]} frames */
function showFrames(frames) {
  const body = part("wire");
  for (const frame of frames) {
    const time = new Date(frame.at_ms).toISOString().slice(11, 23);
    const passed = make("span", { class: frame.passed ? "" : "lab-bad" }, frame.passed ? "yes" : "no: withheld");
    const made = row(time, frame.event, make("code", {}, frame.id.replace(/^.*@/, "") || "–"), whole(frame.bytes),
      frame.latency_ms === undefined ? "–" : duration(frame.latency_ms), passed, make("code", { class: "lab-data" }, frame.data));
    body.prepend(made);
  }
  while (body.children.length > FRAMES_SHOWN) body.lastElementChild?.remove();
}

function showWho() {
  const rows = [];
  const known = server.id ? server : {};
  rows.push(row("Server", known.score?.join("–") ?? "–", id(known.id), code(known.hash), "–", "–", known.error ?? "–"));
  for (const [name, { state }] of Object.entries(viewers)) {
    const label = name === "proxied" ? "Viewer 1" : "Viewer 2";
    const connection = [state.connection, state.age].filter(Boolean).join(": ") || "–";
    const verdict = inStep(known, state);
    const made = row(label, state.score || "–", id(state.id), code(foldedHash(state)), connection, String(state.tier ?? "–"),
      make("span", { class: verdict.isGood ? "lab-good" : "lab-bad" }, verdict.text));
    made.dataset.who = name;
    made.dataset.step = verdict.isGood ? "yes" : "no";
    rows.push(made);
  }
  part("who").replaceChildren(...rows);
}

/**
 * The hash of the state that the viewer has folded itself. Tier 1 shows the server's HTML and folds nothing; what the
 * element still has then is the hash of before.
 *
 * @param {ViewerState} state
 */
const foldedHash = (state) => ((state.tier ?? 0) >= 2 ? state.hash : "");

/**
 * @param {any} known the server's state
 * @param {ViewerState} state
 */
function inStep(known, state) {
  if (!known.id || !state.id) return { isGood: false, text: "not known" };
  const [epoch, seq] = known.id.split("-").map(Number);
  const [ownEpoch, ownSeq] = state.id.split("-").map(Number);
  if (epoch !== ownEpoch) return { isGood: false, text: "another epoch" };
  if (seq !== ownSeq) return { isGood: ownSeq > seq, text: ownSeq > seq ? "ahead of this answer" : `${seq - ownSeq} behind` };
  if (!foldedHash(state)) return { isGood: true, text: "yes, by position" };
  return state.hash === known.hash ? { isGood: true, text: "yes, same hash" } : { isGood: false, text: "another hash" };
}

/** @param {string | undefined} text */
const id = (text) => make("code", { title: text ?? "" }, text ? `…-${text.split("-")[1]}` : "–");
/** @param {string | undefined} text */
const code = (text) => make("code", {}, text || "–");
