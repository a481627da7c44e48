// @ts-check
/**
 * A match as the operator sees it: what the server has folded, with what of this browser is on its way laid over it;
 * and the changes that each key makes. No rule of corrections is here: the server folds, and refuses what is out of date.
 */

import { newId } from "./dom.js";
import { EVENT_NAMES, OUTCOMES, PERIODS, STATUSES, STEPS, TEXT, UNDER_REVIEW } from "./texts.js";

/** @import { Change, Entry, EventBody, LogRecord, MatchEvent, MatchView, Moment, Row, Team } from "./types.js" */

const MINUTE_MS = 60_000;
/** Before the name of an operator in the log's records. */
const OPERATOR_PREFIX = "console:";
/** By period that is played: the minute before its first, and its last. @type {Record<string, [number, number]>} */
const PLAYED = { H1: [0, 45], H2: [45, 90], ET1: [90, 105], ET2: [105, 120] };
/** The last minute of the period before each break. @type {Record<string, number>} */
const BREAKS = { HT: 45, BREAK_ET: 90, ET_HT: 105, BREAK_PENS: 120, POST: 90 };
const RUNNING = ["LIVE", "EXTRA_TIME"];
const SCORED_IN_PLAY = ["GOAL"];
const REVIEWED_CARDS = ["RED_CARD", "SECOND_YELLOW"];

/** @returns {MatchView} */
export function emptyMatch(/** @type {string} */ matchId) {
  return {
    match_id: matchId,
    known: false,
    info: null,
    status: "SCHEDULED",
    period: "PRE",
    score: { home: 0, away: 0 },
    shootout: null,
    clock: { period: "PRE", minute: null, stoppage: 0 },
    running: null,
    events: [],
    retracted: [],
    left_out: 0,
    records: [],
  };
}

/**
 * The events in the match's order, with what is on its way.
 *
 * @param {MatchView} match
 * @param {readonly Entry[]} entries
 * @param {(eventId: string, rev: number) => boolean} haveSeen
 * @param {string} operator
 * @param {number} aheadMs what to add to this browser's clock to have the server's
 * @returns {Row[]}
 */
export function rowsOf(match, entries, haveSeen, operator, aheadMs) {
  /** @type {Map<string, Row>} */
  const rows = new Map();
  const known = /** @type {[MatchEvent, boolean][]} */ ([
    ...match.events.map((event) => [event, false]),
    ...match.retracted.map((event) => [event, true]),
  ]);
  for (const [event, isRetracted] of known) {
    rows.set(event.event_id, { ...event, isRetracted, state: haveSeen(event.event_id, event.rev) ? "seen" : "logged" });
  }
  // As the server will date them: a status that is new stands behind all others.
  let latestMs = Math.max(0, ...match.events.filter(({ type }) => type === "STATUS_CHANGE").map(({ source_ts }) => source_ts ?? 0));
  for (const entry of entries) {
    const pressedMs = entry.pressedMs + aheadMs;
    for (const change of entry.changes) {
      const before = rows.get(change.event_id);
      const isNewStatus = change.op === "ADD" && change.type === "STATUS_CHANGE";
      if (isNewStatus) latestMs = Math.max(pressedMs, latestMs + 1);
      /** @type {Row} */
      const row = {
        type: "",
        period: "PRE",
        minute: null,
        stoppage: 0,
        team: null,
        player: null,
        player2: null,
        detail: {},
        status: "CONFIRMED",
        ...before,
        ...(change.op === "RETRACT" ? {} : /** @type {any} */ (bodyOf(change))),
        event_id: change.event_id,
        rev: change.base_rev + 1,
        op: change.op,
        reason: change.reason ?? null,
        source_ts: change.at_ms ?? before?.source_ts ?? (isNewStatus ? latestMs : pressedMs),
        by: OPERATOR_PREFIX + operator,
        by_ms: pressedMs,
        isRetracted: change.op === "RETRACT",
        state: entry.state,
      };
      rows.set(change.event_id, row);
    }
  }
  return [...rows.values()].sort((a, b) => (a.source_ts ?? 0) - (b.source_ts ?? 0) || (a.minute ?? 0) - (b.minute ?? 0));
}

/** @param {Change} change */
function bodyOf({ op: _op, event_id: _event, base_rev: _rev, at_ms: _at, ...body }) {
  return body;
}

/** @param {Row[]} rows */
function liveOf(rows) {
  return rows.filter((row) => !row.isRetracted);
}

/** @param {Row[]} rows */
export function scoreOf(rows) {
  const score = { home: 0, away: 0 };
  for (const row of liveOf(rows)) {
    if (row.type === "GOAL" && row.period !== "PENS" && row.team) score[row.team] += 1;
  }
  return score;
}

/** @param {Row[]} rows */
export function statusOf(rows) {
  return liveOf(rows).filter(({ type }) => type === "STATUS_CHANGE").at(-1);
}

/** The status with which the present period began to run; undefined while the clock stands. @param {Row[]} rows */
export function startOf(rows) {
  const latest = statusOf(rows);
  if (!latest || !RUNNING.includes(latest.detail.to) || !PLAYED[latest.period]) return undefined;
  return liveOf(rows).find(
    (row) => row.type === "STATUS_CHANGE" && row.period === latest.period && RUNNING.includes(row.detail.to) && row.source_ts,
  );
}

/**
 * The minute that an event of now has.
 *
 * @param {Row[]} rows
 * @param {number} nowMs the server's time
 * @returns {Moment}
 */
export function momentOf(rows, nowMs) {
  const latest = statusOf(rows);
  const start = startOf(rows);
  if (start) {
    const [base, limit] = PLAYED[start.period];
    const minute = base + 1 + Math.max(0, Math.floor((nowMs - (start.source_ts ?? nowMs)) / MINUTE_MS));
    return minute > limit ? { period: start.period, minute: limit, stoppage: Math.min(99, minute - limit) } : { period: start.period, minute, stoppage: 0 };
  }
  const period = latest?.period ?? "PRE";
  if (period === "PENS" || period === "PRE") return { period, minute: null, stoppage: 0 };
  return { period, minute: BREAKS[period] ?? PLAYED[period]?.[1] ?? null, stoppage: 0 };
}

/** The period of a minute that somebody has written. @param {Moment} now @param {number | null} minute */
export function periodOf(now, minute) {
  if (minute === null || now.period === "PENS" || now.period === "PRE") return now.period;
  const range = PLAYED[now.period];
  if (range && minute > range[0] && minute <= range[1]) return now.period;
  if (minute === now.minute) return now.period;
  const found = Object.entries(PLAYED).find(([, [base, limit]]) => minute > base && minute <= limit);
  return found?.[0] ?? (minute === 0 ? "H1" : "ET2");
}

/** @typedef {{ name: string, to: string, period: string, minute: number | null, isNext?: boolean }} Step */

/**
 * What can come next in the course of the match; the first one is what comes most often.
 *
 * @param {Row[]} rows
 * @returns {Step[]}
 */
export function stepsOf(rows) {
  const latest = statusOf(rows);
  const status = latest?.detail.to ?? "SCHEDULED";
  const period = latest?.period ?? "PRE";
  /** @param {string} name @param {string} to @param {string} inPeriod @param {number | null} [minute] @returns {Step} */
  const step = (name, to, inPeriod, minute = null) => ({ name, to, period: inPeriod, minute });
  const interrupt = step("interrupt", "INTERRUPTED", period);
  const abandon = step("abandon", "ABANDONED", period);
  switch (status) {
    case "LIVE":
      return period === "H2"
        ? [step("fullTime", "FT", "POST"), step("beforeExtra", "EXTRA_TIME", "BREAK_ET"), step("shootOut", "PENALTIES", "PENS"), interrupt, abandon]
        : [step("halfTime", "HALF_TIME", "HT", 45), interrupt, abandon];
    case "HALF_TIME":
      return [step("secondHalf", "LIVE", "H2", 45), abandon];
    case "EXTRA_TIME":
      if (period === "BREAK_ET") return [step("extraFirst", "EXTRA_TIME", "ET1", 90), step("shootOut", "PENALTIES", "PENS")];
      if (period === "ET1") return [step("extraBreak", "EXTRA_TIME", "ET_HT", 105), interrupt, abandon];
      if (period === "ET_HT") return [step("extraSecond", "EXTRA_TIME", "ET2", 105)];
      return [step("afterExtra", "AET", "POST"), step("shootOut", "PENALTIES", "PENS"), interrupt, abandon];
    case "PENALTIES":
      return [step("afterShootOut", "FT_PENS", "POST")];
    case "INTERRUPTED":
    case "SUSPENDED":
      return [step("resume", period.startsWith("ET") ? "EXTRA_TIME" : "LIVE", period), abandon];
    case "FT":
      return [step("beforeExtra", "EXTRA_TIME", "BREAK_ET"), step("reopen", "LIVE", "H2")];
    case "AET":
      return [step("shootOut", "PENALTIES", "PENS"), step("reopen", "EXTRA_TIME", "ET2")];
    case "FT_PENS":
    case "ABANDONED":
    case "CANCELLED":
    case "AWARDED":
      return [];
    default: // before kick-off
      return [step("kickOff", "LIVE", "H1", 0), step("postpone", "POSTPONED", "PRE")];
  }
}

/** @param {Step} step @param {Moment} now @returns {Change[]} */
export function changesOfStep(step, now) {
  const stoppage = step.minute !== null && step.minute === now.minute ? now.stoppage : 0;
  const isRunning = step.period === now.period;
  return [
    {
      op: "ADD",
      event_id: newId("s-"),
      base_rev: 0,
      type: "STATUS_CHANGE",
      period: step.period,
      minute: step.minute ?? (isRunning ? now.minute : null),
      stoppage: step.minute === null && isRunning ? now.stoppage : stoppage,
      detail: { to: step.to },
    },
  ];
}

/** The clock one minute on or back: the period began earlier or later. @param {Row[]} rows @param {number} minutes @returns {Change[]} */
export function changesOfClock(rows, minutes) {
  const start = startOf(rows);
  if (!start) return [];
  return [amended(start, { at_ms: (start.source_ts ?? 0) - minutes * MINUTE_MS })];
}

/** @param {EventBody} event @param {Partial<Change>} fields @returns {Change} */
export function amended(event, fields) {
  const { type, period, minute, stoppage, team, player, player2, detail, status, reason } = event;
  return {
    op: "AMEND",
    event_id: event.event_id,
    base_rev: event.rev,
    ...{ type, period, minute, stoppage, team, player, player2, detail, status, reason },
    ...(type === "STATUS_CHANGE" ? { at_ms: event.source_ts ?? null } : {}),
    ...fields,
  };
}

/** @param {EventBody} event @param {string} reason @returns {Change} */
export function retraction(event, reason) {
  return { op: "RETRACT", event_id: event.event_id, base_rev: event.rev, reason: reason || null };
}

// --- VAR

/** The review that is open, with the event that it is about. @param {Row[]} rows */
export function reviewOf(rows) {
  const live = liveOf(rows);
  const review = live.filter((row) => row.type === "VAR" && row.detail.state === "OPEN").at(-1);
  if (!review) return null;
  const target = live.find((row) => row.event_id === review.detail.target_event_id);
  return { review, target, kind: kindOf(target) };
}

/** @param {Row | undefined} target @returns {"goal" | "card" | "other"} */
function kindOf(target) {
  if (target?.type === "GOAL") return "goal";
  return target && REVIEWED_CARDS.includes(target.type) ? "card" : "other";
}

/** @param {Row[]} rows @param {Row | undefined} chosen @param {Moment} now @returns {Change[]} */
export function changesOfReview(rows, chosen, now) {
  const reviewed = [...SCORED_IN_PLAY, ...REVIEWED_CARDS];
  const target =
    chosen && !chosen.isRetracted && reviewed.includes(chosen.type)
      ? chosen
      : liveOf(rows)
          .filter(({ type, period }) => reviewed.includes(type) && period === now.period)
          .at(-1);
  const kind = kindOf(target);
  /** @type {Change[]} */
  const changes = [
    {
      op: "ADD",
      event_id: newId("v-"),
      base_rev: 0,
      type: "VAR",
      ...now,
      team: target?.team ?? null,
      detail: { state: "OPEN", outcome: UNDER_REVIEW[kind], target_event_id: target?.event_id ?? null },
    },
  ];
  if (target && kind === "goal") changes.push(amended(target, { status: "PROVISIONAL", reason: null }));
  return changes;
}

/** @param {Row[]} rows @param {number} index @returns {Change[]} */
export function changesOfOutcome(rows, index) {
  const open = reviewOf(rows);
  const outcome = open && OUTCOMES[open.kind][index];
  if (!open || !outcome) return [];
  const { review, target } = open;
  const changes = [amended(review, { detail: { ...review.detail, state: "CLOSED", outcome: outcome.outcome }, reason: null })];
  if (target && outcome.reason) changes.push(retraction(target, outcome.reason));
  else if (target?.status === "PROVISIONAL") changes.push(amended(target, { status: "CONFIRMED", reason: null }));
  return changes;
}

/** The number of the next kick of a shoot-out. @param {Row[]} rows */
export function nextKick(rows) {
  return 1 + Math.max(0, ...liveOf(rows).filter(({ type }) => type === "SHOOTOUT_KICK").map(({ detail }) => Number(detail.order)));
}

// --- undo

/**
 * The last entry of an operator that has not been undone.
 *
 * @param {MatchView} match
 * @param {readonly Entry[]} pending
 * @param {string} operator
 */
export function lastEntryOf(match, pending, operator) {
  const undone = new Set(
    [...match.records.map(({ webhook_id }) => webhook_id), ...pending.map(({ id }) => id)].filter((id) => id.startsWith("u-")).map((id) => id.slice(2)),
  );
  const mine = match.records.filter(
    ({ key, webhook_id }) => key === OPERATOR_PREFIX + operator && webhook_id.startsWith("e-") && !undone.has(webhook_id),
  );
  const id = mine.at(-1)?.webhook_id;
  return id ? { id, records: mine.filter(({ webhook_id }) => webhook_id === id) } : null;
}

/**
 * The changes that take an entry back; null where what was before it is not known any more.
 *
 * @param {MatchView} match
 * @param {LogRecord[]} records
 * @returns {Change[] | null}
 */
export function inverseOf(match, records) {
  /** @type {Change[]} */
  const changes = [];
  for (const { offset, event } of records) {
    const before = match.records.filter((record) => record.offset < offset && record.event.event_id === event.event_id);
    const body = before.filter((record) => record.event.op !== "RETRACT").sort((a, b) => a.event.rev - b.event.rev).at(-1)?.event;
    const tombstone = before.filter((record) => record.event.op === "RETRACT").sort((a, b) => a.event.rev - b.event.rev).at(-1)?.event;
    if (!body && event.rev > 1) return null;
    if (!body || (tombstone && tombstone.rev >= body.rev)) changes.push(retraction(event, tombstone?.reason ?? TEXT.undoReason));
    else changes.push(amended({ ...body, rev: event.rev }, { reason: body.reason }));
  }
  return changes;
}

// --- words

/** The name of an operator in a record's key; the key itself where it is one of webhooks. @param {string} key */
export function nameOf(key) {
  return key.startsWith(OPERATOR_PREFIX) ? key.slice(OPERATOR_PREFIX.length) : key;
}

/** @param {{ type?: string, detail?: Record<string, any> }} event */
export function kindName({ type = "", detail = {} }) {
  if (type === "GOAL") return EVENT_NAMES[detail.own_goal ? "OWN_GOAL" : detail.penalty ? "PENALTY" : "GOAL"];
  if (type === "SHOOTOUT_KICK") return EVENT_NAMES[detail.scored ? "SHOOTOUT_SCORED" : "SHOOTOUT_MISSED"];
  if (type === "STATUS_CHANGE") return STATUSES[detail.to] ?? String(detail.to);
  return EVENT_NAMES[type] ?? type;
}

/** @param {{ minute?: number | null, stoppage?: number }} event */
export function minuteText({ minute, stoppage }) {
  if (minute === null || minute === undefined) return "";
  return stoppage ? `${minute}+${stoppage}′` : `${minute}′`;
}

/** @param {MatchView} match @param {Team | null | undefined} team */
export function teamName(match, team) {
  if (!team) return "";
  return match.info?.[team]?.name ?? TEXT[team];
}

/** What an event says beside its kind and minute. @param {MatchView} match @param {Partial<EventBody>} event */
export function detailText(match, event) {
  const detail = event.detail ?? {};
  const parts = [teamName(match, event.team)];
  if (event.type === "SUBSTITUTION") parts.push([event.player && `${TEXT.playerOn}: ${event.player}`, event.player2 && `${TEXT.playerOff}: ${event.player2}`].filter(Boolean).join(", "));
  else parts.push(event.player2 ? `${event.player} (${event.player2})` : (event.player ?? ""));
  if (event.type === "VAR") parts.push(detail.outcome ?? "");
  if (event.type === "NOTE") parts.push(detail.text ?? "");
  if (event.type === "STOPPAGE_ANNOUNCED") parts.push(`+${detail.minutes}`);
  if (event.type === "STATUS_CHANGE") parts.push(PERIODS[event.period ?? ""] ?? "");
  if (event.type === "SCORE_OVERRIDE") parts.push(`${detail.home}–${detail.away}`);
  if (event.status === "PROVISIONAL") parts.push(TEXT.underReview.toLowerCase());
  if (event.type === "MATCH_INFO") parts.push(`${detail.home?.name} – ${detail.away?.name}`, detail.competition ?? "");
  return parts.filter(Boolean).join(" · ");
}

/** One line about a change, for lists and screen readers. @param {MatchView} match @param {Partial<EventBody>} event */
export function oneLine(match, event) {
  return [minuteText(event), kindName(event), detailText(match, event)].filter(Boolean).join(" ");
}

export { STEPS };
