// @ts-check
/** The page of one match: keys and buttons make entries, the queue sends them, and the page shows how far each has come. */

import { Connection } from "./connection.js";
import { byId, el, newId, reconcile, timeOf } from "./dom.js";
import { Editor } from "./editor.js";
import { framePreview } from "./preview.js";
import { Queue } from "./queue.js";
import { EVENT_NAMES, KEYS, LINKS, OPS, OUTCOMES, PERIODS, STATES, STEPS, TEXT } from "./texts.js";
import { Viewers } from "./viewers.js";
import * as model from "./model.js";

/** @import { Change, Conflict, EventBody, MatchView, Operator, Row } from "./types.js" */

const { base = "", site = "", match: matchId = "", operator = "" } = document.body.dataset;
const HIDDEN_TYPES = ["MATCH_INFO", "LINE_UP", "STAT"];

/** @typedef {{ key: string, label: string, type: string, detail: Record<string, any>, kick?: boolean }} Pad */
/** @type {Pad[]} */
const PADS = [
  { key: "g", label: EVENT_NAMES.GOAL, type: "GOAL", detail: { own_goal: false, penalty: false }, kick: true },
  { key: "p", label: EVENT_NAMES.PENALTY, type: "GOAL", detail: { own_goal: false, penalty: true }, kick: true },
  { key: "m", label: EVENT_NAMES.PENALTY_MISSED, type: "PENALTY_MISSED", detail: {}, kick: false },
  { key: "o", label: EVENT_NAMES.OWN_GOAL, type: "GOAL", detail: { own_goal: true, penalty: false } },
  { key: "y", label: EVENT_NAMES.YELLOW_CARD, type: "YELLOW_CARD", detail: {} },
  { key: "d", label: EVENT_NAMES.SECOND_YELLOW, type: "SECOND_YELLOW", detail: {} },
  { key: "r", label: EVENT_NAMES.RED_CARD, type: "RED_CARD", detail: {} },
  { key: "s", label: EVENT_NAMES.SUBSTITUTION, type: "SUBSTITUTION", detail: {} },
  { key: "t", label: EVENT_NAMES.STOPPAGE_ANNOUNCED, type: "STOPPAGE_ANNOUNCED", detail: {} },
  { key: "n", label: EVENT_NAMES.NOTE, type: "NOTE", detail: {} },
];

/** @type {MatchView} */
let match = model.emptyMatch(matchId);
/** @type {Row[]} */
let rows = [];
/** @type {Operator[]} */
let operators = [];
let own = "";
let hasMatch = false;
/** What the server did not take, until the operator has seen it. @type {{ label: string, message: string, conflicts: Conflict[], changes: Change[] }[]} */
const refusals = [];

const queue = new Queue(operator, matchId);
const editor = new Editor();
const viewers = new Viewers(site, matchId, () => {
  preview.show();
  refresh();
});
const preview = framePreview(byId("preview"), () => viewers.isKnown);
const connection = new Connection(base, matchId, queue, {
  welcome(id) {
    own = id;
  },
  match(newMatch) {
    match = newMatch;
    hasMatch = true;
    document.body.dataset.ready = "";
    refresh();
  },
  operators(present) {
    operators = present;
    refresh();
  },
  logged(entry) {
    announce(TEXT.done(entry.label, STATES.logged));
    refresh();
  },
  refused(entry, message) {
    refusals.push({ label: entry.label, message: message.message, conflicts: message.conflicts ?? [], changes: entry.changes });
    refresh();
    byId("conflict").focus();
  },
  changed() {
    // Who else is there is not known without a connection.
    if (connection.link !== "open") operators = [];
    refresh();
  },
});

/** @param {string} text */
function announce(text) {
  byId("announce").textContent = text;
}

// --- entering

/** @param {string} label @param {Change[]} changes @param {string} [id] */
function enter(label, changes, id) {
  if (!changes.length) return;
  if (queue.isFull) {
    announce(TEXT.queueFull);
    return;
  }
  // The clock of this browser counts the age alone; the server dates the entry.
  queue.add({ id: id ?? newId("e-"), pressedMs: Date.now(), label, changes });
  if (connection.link !== "open") announce(TEXT.done(label, STATES.queued));
  connection.flush();
  refresh();
}

function now() {
  return model.momentOf(rows, connection.serverMs);
}

/** Names that were typed in this match, and those of its line-ups. */
function players() {
  const names = new Set();
  for (const { player, player2, type, detail } of rows) {
    for (const name of [player, player2]) if (name) names.add(name);
    if (type === "LINE_UP") for (const one of [...(detail.starting ?? []), ...(detail.bench ?? [])]) names.add(one.name);
  }
  return [...names].sort();
}

/** @param {Pad} pad */
function openPad(pad) {
  const moment = now();
  const isKick = moment.period === "PENS" && pad.kick !== undefined;
  const type = isKick ? "SHOOTOUT_KICK" : pad.type;
  const detail = isKick ? { order: model.nextKick(rows), scored: pad.kick } : pad.detail;
  const label = isKick ? model.kindName({ type, detail }) : pad.label;
  editor.open(
    match,
    { heading: label, type, detail, now: moment },
    players(),
    (fields) => enter(label, [{ op: "ADD", event_id: newId(`${type[0].toLowerCase()}-`), base_rev: 0, ...fields }]),
    () => {},
  );
}

/** @param {Row} row */
function amend(row) {
  const detail = row.type === "STATUS_CHANGE" ? row.detail : {};
  connection.editing(row.event_id);
  editor.open(
    match,
    { heading: `${TEXT.amend}: ${model.kindName(row)}`, type: row.type, detail, now: now(), amends: row },
    players(),
    (fields) => enter(`${TEXT.amend}: ${model.kindName(row)}`, [model.amended(row, fields)]),
    () => connection.editing(""),
  );
}

/** @param {Row} row */
function retract(row) {
  connection.editing(row.event_id);
  editor.open(
    match,
    { heading: `${TEXT.retract}: ${model.oneLine(match, row)}`, type: row.type, detail: {}, now: now(), amends: row, retracts: true },
    [],
    (fields) => enter(`${TEXT.retract}: ${model.kindName(row)}`, [model.retraction(row, fields.reason ?? "")]),
    () => connection.editing(""),
  );
}

function undo() {
  const last = queue.entries.filter(({ id }) => id.startsWith("e-")).at(-1);
  if (last?.state === "queued") {
    queue.remove(last.id);
    announce(TEXT.done(last.label, TEXT.takenBack));
    refresh();
    return;
  }
  if (last) return; // its answer is a moment away
  const entry = model.lastEntryOf(match, queue.entries, operator);
  const changes = entry && model.inverseOf(match, entry.records);
  if (!entry) announce(TEXT.nothingToUndo);
  else if (!changes) announce(TEXT.cannotUndo);
  else enter(`${TEXT.undo}: ${model.kindName(entry.records[0].event)}`, changes, `u-${entry.id}`);
}

/** The row that has the focus, else the last event that can be changed. */
function chosenRow() {
  const key = document.activeElement?.closest("#events [data-key]")?.getAttribute("data-key");
  return rows.find((row) => row.event_id === key) ?? rows.filter(isChangeable).at(-1);
}

/** @param {Row} row */
function isChangeable(row) {
  return !row.isRetracted && !HIDDEN_TYPES.includes(row.type);
}

function review() {
  const open = model.reviewOf(rows);
  if (open) {
    byId("outcomes").querySelector("button")?.focus();
    return;
  }
  const key = document.activeElement?.closest("#events [data-key]")?.getAttribute("data-key");
  enter(TEXT.underReview, model.changesOfReview(rows, rows.find((row) => row.event_id === key), now()));
}

/** @param {number} index */
function decide(index) {
  const open = model.reviewOf(rows);
  const outcome = open && OUTCOMES[open.kind][index];
  if (outcome) enter(outcome.label, model.changesOfOutcome(rows, index));
}

/** @param {model.Step | undefined} step */
function go(step) {
  if (step) enter(STEPS[step.name], model.changesOfStep(step, now()));
}

/** @param {number} minutes */
function moveClock(minutes) {
  enter(TEXT.minute, model.changesOfClock(rows, minutes));
}

/** @param {"amend" | "retract"} what */
function change(what) {
  const row = chosenRow();
  if (!row) announce(TEXT.noEvent);
  else if (what === "amend") amend(row);
  else retract(row);
}

/** @type {Record<string, () => void>} */
const ACTIONS = {
  ...Object.fromEntries(PADS.map((pad) => [pad.key, () => openPad(pad)])),
  v: review,
  k: () => go(model.stepsOf(rows)[0]),
  u: undo,
  e: () => change("amend"),
  x: () => change("retract"),
  "+": () => moveClock(1),
  "-": () => moveClock(-1),
  "?": openHelp,
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")) return;
  const target = /** @type {HTMLElement} */ (event.target);
  // A field of a dialog that was closed has the focus until the next frame; who types fast has pressed a key by then.
  if (target.closest("input, textarea, select") && !target.closest("dialog:not([open])")) return;
  if (/^[1-9]$/.test(event.key) && model.reviewOf(rows)) {
    event.preventDefault();
    decide(Number(event.key) - 1);
    return;
  }
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (moveInEvents(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
    return;
  }
  const action = ACTIONS[event.key.toLowerCase()];
  if (!action || !hasMatch) return;
  event.preventDefault();
  action();
});

/** @param {number} step */
function moveInEvents(step) {
  const all = /** @type {HTMLElement[]} */ ([...byId("events").children]);
  if (!all.length || !(document.activeElement?.closest("#events") || document.activeElement === document.body)) return false;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + step))];
  next.querySelector("button")?.focus();
  return true;
}

function openHelp() {
  const dialog = byId("help");
  dialog.replaceChildren(
    el("h2", { id: "help-heading" }, TEXT.help),
    el("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [el("dt", {}, ...key.split(/\s+/).map((one) => (one === "–" ? " – " : el("kbd", {}, one)))), el("dd", {}, what)])),
    el("div", { class: "row end" }, el("button", { class: "button primary", type: "button", onclick: () => dialog.close() }, TEXT.close)),
  );
  dialog.showModal();
}

// --- showing

function refresh() {
  // Called by parts that are made before the others are there.
  if (!connection || !viewers) return;
  rows = model.rowsOf(match, queue.entries, (id, rev) => viewers.haveSeen(id, rev), operator, connection.aheadMs);
  showBoard();
  showReview();
  showRefusals();
  showEvents();
  showHistory();
  showOperators();
}

function showBoard() {
  const score = match.score.home === 0 && match.score.away === 0 && !match.known ? model.scoreOf(rows) : queue.entries.length ? model.scoreOf(rows) : match.score;
  byId("home-name").textContent = model.teamName(match, "home");
  byId("away-name").textContent = model.teamName(match, "away");
  set(byId("score"), `${score.home}–${score.away}`);
  const latest = model.statusOf(rows);
  const period = latest?.period ?? "PRE";
  const isOver = period === "POST" || period === "PRE";
  set(byId("period"), latest && (isOver || !["LIVE", "EXTRA_TIME", "PENALTIES", "HALF_TIME"].includes(latest.detail.to)) ? model.kindName(latest) : PERIODS[period]);
  const link = byId("link");
  link.dataset.link = connection.link;
  set(link, LINKS[connection.link]);
  if (connection.link === "signed-out" && !link.querySelector("a")) link.append(" ", el("a", { href: `${base}/sign-in` }, TEXT.signIn));
  const steps = model.stepsOf(rows).map((step, index) => ({ ...step, isNext: index === 0 }));
  reconcile(
    byId("steps"),
    steps,
    ({ name }) => name,
    (step) => el("button", { class: `button ${step.isNext ? "primary" : ""}`, type: "button", "data-action": step.name, onclick: () => go(step) }, STEPS[step.name], step.isNext && el("kbd", {}, "k")),
  );
  tick();
}

/** Text that is the same is not written again, which a screen reader would read out. @param {HTMLElement} element @param {string} text */
function set(element, text) {
  if (element.firstChild?.textContent !== text) element.textContent = text;
}

function tick() {
  const moment = now();
  set(byId("minute"), model.minuteText(moment) || "–");
  const runs = Boolean(model.startOf(rows));
  byId("clock-less").disabled = byId("clock-more").disabled = !runs;
  byId("minute").toggleAttribute("data-runs", runs);
}

function showReview() {
  const open = model.reviewOf(rows);
  byId("review").hidden = !open;
  if (!open) {
    byId("outcomes").replaceChildren();
    return;
  }
  set(byId("review-text"), [TEXT.underReview, open.target ? model.oneLine(match, open.target) : ""].filter(Boolean).join(": "));
  reconcile(
    byId("outcomes"),
    OUTCOMES[open.kind].map(({ label }, index) => ({ label, index })),
    ({ label }) => label,
    ({ label, index }) => el("button", { class: "button", type: "button", "data-action": `outcome-${index}`, onclick: () => decide(index) }, label, el("kbd", {}, String(index + 1))),
  );
}

function showRefusals() {
  const section = byId("conflict");
  section.hidden = refusals.length === 0;
  const [refusal] = refusals;
  if (!refusal) {
    section.replaceChildren();
    return;
  }
  const done = () => {
    refusals.shift();
    refresh();
  };
  const isConflict = refusal.conflicts.length > 0;
  section.replaceChildren(
    el("h2", { id: "conflict-heading" }, isConflict ? TEXT.conflict : `${TEXT.refused}: ${refusal.label}`),
    ...(isConflict ? refusal.conflicts.map((conflict) => versions(conflict, refusal.changes)) : [el("p", {}, refusal.message)]),
    el(
      "div",
      { class: "row" },
      isConflict
        ? el("button", { class: "button primary", type: "button", onclick: done }, TEXT.keepTheirs)
        : el("button", { class: "button primary", type: "button", onclick: done }, TEXT.dismiss),
      isConflict &&
        el(
          "button",
          {
            class: "button",
            type: "button",
            onclick: () => {
              refusals.shift();
              enter(refusal.label, onTop(refusal.changes, refusal.conflicts));
            },
          },
          TEXT.putMine,
        ),
    ),
  );
}

/** Both versions of one event. @param {Conflict} conflict @param {Change[]} changes */
function versions(conflict, changes) {
  const mine = changes.find(({ event_id }) => event_id === conflict.event_id);
  const theirs = conflict.theirs ? model.oneLine(match, conflict.theirs) : TEXT.unknown;
  const reason = (/** @type {string | null | undefined} */ text) => (text ? ` (${text})` : "");
  return el(
    "dl",
    { class: "versions" },
    el("dt", {}, TEXT.yours),
    el("dd", {}, mine?.op === "RETRACT" ? `${TEXT.takenBack}${reason(mine.reason)}` : `${model.oneLine(match, mine ?? {})}${reason(mine?.reason)}`),
    el("dt", {}, `${TEXT.theirs} (${model.nameOf(conflict.by)}, ${timeOf(conflict.by_ms)})`),
    el("dd", {}, conflict.retracted ? `${TEXT.takenBack}${reason(conflict.reason)}: ${theirs}` : `${theirs}${reason(conflict.theirs?.reason)}`),
  );
}

/** The same changes, made to what the log has now. @param {Change[]} changes @param {Conflict[]} conflicts @returns {Change[]} */
function onTop(changes, conflicts) {
  return changes.map((change) => {
    const conflict = conflicts.find(({ event_id }) => event_id === change.event_id);
    if (!conflict || conflict.rev === 0) return change;
    return { ...change, op: change.op === "RETRACT" ? "RETRACT" : "AMEND", base_rev: conflict.rev };
  });
}

function showEvents() {
  const shown = rows.filter(({ type }) => !HIDDEN_TYPES.includes(type)).reverse();
  reconcile(byId("events"), shown, ({ event_id }) => event_id, eventRow);
  const notes = [];
  if (hasMatch && !match.known && !rows.length) notes.push(TEXT.unknown);
  else if (hasMatch && !shown.length) notes.push(TEXT.nothingYet);
  if (match.left_out) notes.push(TEXT.leftOut(match.left_out));
  set(byId("events-note"), notes.join(" "));
  const waiting = queue.entries.filter(({ state }) => state === "queued").length;
  const isWaiting = waiting > 0 && connection.link !== "open";
  byId("queue").hidden = !isWaiting;
  if (isWaiting) set(byId("queue"), [TEXT.inQueue(waiting), queue.isKept ? "" : TEXT.noStorage].filter(Boolean).join(" "));
}

/** @param {Row} row */
function eventRow(row) {
  const what = model.oneLine(match, row);
  return el(
    "li",
    { class: `event${row.isRetracted ? " retracted" : ""}${row.status === "PROVISIONAL" && !row.isRetracted ? " provisional" : ""}`, "data-state": row.state, "data-type": row.type },
    el("span", { class: "event-minute" }, model.minuteText(row)),
    el(
      "span",
      { class: "event-what" },
      el("strong", {}, model.kindName(row)),
      " ",
      el("span", {}, model.detailText(match, row)),
      row.isRetracted && el("em", {}, ` ${TEXT.takenBack}${row.reason ? `: ${row.reason}` : ""}`),
    ),
    el("span", { class: "chip", "data-state": row.state }, STATES[row.state]),
    el(
      "span",
      { class: "event-actions" },
      el("button", { class: "button small", type: "button", "data-action": "amend", "aria-label": `${TEXT.amend}: ${what}`, onclick: () => amend(row) }, TEXT.amend),
      !row.isRetracted && el("button", { class: "button small", type: "button", "data-action": "retract", "aria-label": `${TEXT.retract}: ${what}`, onclick: () => retract(row) }, TEXT.retract),
    ),
  );
}

function showHistory() {
  /** @type {Map<string, EventBody>} */
  const latest = new Map();
  const items = match.records.map(({ offset, appended_ms, key, webhook_id, event }) => {
    const before = latest.get(event.event_id);
    if (event.op !== "RETRACT") latest.set(event.event_id, event);
    const body = event.op === "RETRACT" ? (before ?? event) : event;
    const isClock = event.op === "AMEND" && event.type === "STATUS_CHANGE" && before?.source_ts !== event.source_ts;
    return {
      offset,
      time: timeOf(appended_ms),
      by: model.nameOf(key),
      op: webhook_id.startsWith("u-") ? OPS.UNDO : isClock ? OPS.CLOCK : (OPS[event.op ?? "ADD"] ?? ""),
      what: model.oneLine(match, body),
      was: event.op === "AMEND" && before ? model.oneLine(match, before) : "",
      reason: event.reason ?? "",
    };
  });
  reconcile(
    byId("history"),
    items.reverse(),
    ({ offset }) => String(offset),
    ({ time, by, op, what, was, reason }) =>
      el("li", {}, el("time", {}, time), " ", el("strong", {}, by || "?"), ` ${op} `, el("span", {}, what), was && was !== what && el("span", { class: "was" }, ` was ${was}`), reason && el("em", {}, ` ${reason}`)),
  );
}

function showOperators() {
  const words = operators.map(({ connection: id, operator: name, editing }) => {
    const row = rows.find((one) => one.event_id === editing);
    const who = id === own ? TEXT.you : name;
    return { id, text: row && id !== own ? `${who} ${TEXT.editing(model.oneLine(match, row))}` : who };
  });
  reconcile(byId("operators"), words, ({ id }) => id, ({ text }) => el("span", { class: "person" }, text));
}

byId("pads").append(
  ...PADS.map((pad) => padButton(pad.label, pad.key, `pad-${pad.type.toLowerCase()}`)),
  padButton(EVENT_NAMES.VAR, "v", "pad-var"),
  padButton(TEXT.undo, "u", "pad-undo"),
  padButton(TEXT.help, "?", "pad-help"),
);
byId("clock-less").addEventListener("click", () => moveClock(-1));
byId("clock-more").addEventListener("click", () => moveClock(1));

/** @param {string} label @param {string} key @param {string} kind */
function padButton(label, key, kind) {
  return el("button", { class: `pad ${kind}`, type: "button", "data-pad": key, "aria-keyshortcuts": key, onclick: () => hasMatch && ACTIONS[key]() }, el("span", {}, label), el("kbd", {}, key));
}

setInterval(tick, 1_000);
refresh();
