// @ts-check
/** The list of matches, and the two ways to create one. */

import { byId, el, newId, reconcile } from "./dom.js";
import { TEXT } from "./texts.js";

const { base = "" } = document.body.dataset;
const csrf = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=csrf]")).content;
const REFRESH_MS = 5_000;
const FILE_MAX_BYTES = 262_144;

/** @typedef {{ match_id: string, home: string, away: string, phase: string, status: string, score: (number | null)[], competition: string, kickoff: string }} Match */
/** @typedef {{ row: number, match_id: string, home: string, away: string, competition: string | null, kickoff_ms: number | null }} Fixture */
/** @typedef {{ fixtures: Fixture[], bad: { row: number, column: string, message: string }[], created: number }} Checked */

/** @type {Match[] | null} */
let matches = null;
const search = byId("search");

async function readMatches() {
  try {
    const answer = await fetch(`${base}/api/matches`, { cache: "no-store" });
    if (answer.status === 401) {
      location.assign(`${base}/sign-in`);
      return;
    }
    if (answer.ok) ({ matches } = await answer.json());
  } catch {
    byId("matches-note").textContent = TEXT.failed;
    return;
  }
  showMatches();
}

function showMatches() {
  if (!matches) return;
  const words = search.value.trim().toLowerCase();
  const found = matches.filter(({ match_id, home, away, competition }) => `${match_id} ${home} ${away} ${competition}`.toLowerCase().includes(words));
  byId("matches-note").textContent = matches.length ? (found.length ? "" : TEXT.noneFound) : TEXT.noMatches;
  reconcile(byId("matches"), found, ({ match_id }) => match_id, matchRow);
}

/** @param {Match} match */
function matchRow({ match_id, home, away, phase, status, score, competition, kickoff }) {
  const kickoffText = kickoff ? new Date(kickoff).toLocaleString("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }) : "";
  return el(
    "li",
    {},
    el(
      "a",
      { href: `${base}/match/${match_id}`, class: "match-link", "data-phase": phase },
      el("span", { class: "match-teams" }, `${home} – ${away}`),
      el("span", { class: "match-score" }, score[0] === null ? "" : `${score[0]}–${score[1]}`),
      el("span", { class: "match-about" }, [competition, kickoffText].filter(Boolean).join(" · ")),
      el("span", { class: "match-status" }, status),
    ),
  );
}

/**
 * @param {object} body
 * @returns {Promise<{ ok: boolean, content: any }>}
 */
async function post(body) {
  try {
    const answer = await fetch(`${base}/api/fixtures`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Touchline-Csrf": csrf },
      body: JSON.stringify(body),
    });
    return { ok: answer.ok, content: await answer.json() };
  } catch {
    return { ok: false, content: { error: { message: TEXT.failed } } };
  }
}

// --- one match

const create = byId("create");
create.elements.date.value = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
/** The same for each attempt to create one match, so that it is created once. */
let createId = newId("c-");

create.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const row = Object.fromEntries([...new FormData(create)].map(([name, value]) => [name, String(value).trim()]).filter(([, value]) => value));
  if (row.time && row.date) {
    // As on this operator's clock.
    const moment = new Date(`${row.date}T${row.time}`);
    row.zone = zoneOf(moment);
  }
  const problem = byId("create-problem");
  const { ok, content } = await post({ text: JSON.stringify([row]), apply: true, id: createId });
  if (ok && content.fixtures.length === 1) {
    location.assign(`${base}/match/${content.fixtures[0].match_id}`);
    return;
  }
  createId = newId("c-");
  problem.textContent = content.error?.bad?.[0]?.message ?? content.error?.message ?? TEXT.failed;
  problem.hidden = false;
  const column = content.error?.bad?.[0]?.column;
  if (column && create.elements[column]) create.elements[column].focus();
});

/** @param {Date} moment */
function zoneOf(moment) {
  const minutes = -moment.getTimezoneOffset();
  const two = (/** @type {number} */ value) => String(Math.abs(value)).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(Math.trunc(minutes / 60))}:${two(minutes % 60)}`;
}

// --- a list

const fixtures = byId("fixtures");
const result = byId("fixtures-result");
let listId = newId("c-");

fixtures.elements.file.addEventListener("change", async () => {
  const [file] = fixtures.elements.file.files;
  if (!file) return;
  if (file.size > FILE_MAX_BYTES) {
    result.replaceChildren(el("p", { class: "problem", role: "alert" }, TEXT.fileTooLarge));
    return;
  }
  fixtures.elements.text.value = await file.text();
  fixtures.elements.file.value = "";
  listId = newId("c-");
  check(false, false);
});
fixtures.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  listId = newId("c-");
  check(false, false);
});

/** @param {boolean} apply @param {boolean} leaveOutBad */
async function check(apply, leaveOutBad) {
  const { ok, content } = await post({ text: fixtures.elements.text.value, apply, leave_out_bad: leaveOutBad, id: listId });
  if (!ok && !content.error?.bad) {
    result.replaceChildren(el("p", { class: "problem", role: "alert" }, content.error?.message ?? TEXT.failed));
    return;
  }
  /** @type {Checked} */
  const checked = ok ? content : content.error;
  const created = checked.created;
  result.replaceChildren(
    ...(created ? [el("p", { class: "good" }, TEXT.created(created))] : [el("p", {}, TEXT.goodRows(checked.fixtures.length))]),
    checked.bad.length ? badRows(checked.bad) : "",
    el("ul", { class: "fixtures" }, ...checked.fixtures.map(fixtureRow(created > 0))),
    created || !checked.fixtures.length
      ? ""
      : el(
          "button",
          { class: "button primary", type: "button", onclick: () => check(true, checked.bad.length > 0) },
          checked.bad.length ? TEXT.createGood(checked.fixtures.length) : TEXT.createAll(checked.fixtures.length),
        ),
  );
  if (created) readMatches();
}

/** @param {Checked["bad"]} rows */
function badRows(rows) {
  return el("div", { class: "problem", role: "alert" }, el("p", {}, TEXT.badRows(rows.length)), el("ul", {}, ...rows.map(({ row, message }) => el("li", {}, `${TEXT.row} ${row}: ${message}`))));
}

/** @param {boolean} isCreated */
function fixtureRow(isCreated) {
  return (/** @type {Fixture} */ { match_id, home, away, kickoff_ms }) => {
    const text = `${home} – ${away}${kickoff_ms ? `, ${new Date(kickoff_ms).toLocaleString("en-GB")}` : ""}`;
    return el("li", {}, isCreated ? el("a", { href: `${base}/match/${match_id}` }, text) : text, " ", el("code", {}, match_id));
  };
}

search.addEventListener("input", showMatches);
setInterval(() => {
  if (document.visibilityState === "visible") readMatches();
}, REFRESH_MS);
readMatches();
