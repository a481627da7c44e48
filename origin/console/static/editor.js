// @ts-check
/** The form of one event, in a dialog: by keyboard from the first to the last field, or by thumb. */

import { byId, el } from "./dom.js";
import { kindName, minuteText, periodOf } from "./model.js";
import { EVENT_NAMES, TEXT } from "./texts.js";

/** @import { Change, MatchView, Moment, Row, Team } from "./types.js" */

/**
 * @typedef {object} Draft
 * @property {string} heading
 * @property {string} type
 * @property {Record<string, any>} detail
 * @property {Moment} now
 * @property {Row} [amends] the event that is amended; undefined for a new one
 * @property {boolean} [retracts] it is taken back: only a reason is asked for
 */

const NEEDS_TEAM = ["GOAL", "PENALTY_MISSED", "SHOOTOUT_KICK", "YELLOW_CARD", "SECOND_YELLOW", "RED_CARD", "SUBSTITUTION"];
const NO_MINUTE = ["SHOOTOUT_KICK", "MATCH_INFO"];
/** What an event may be amended to, by what it is. @type {Record<string, [string, Record<string, any>][]>} */
const KINDS = {
  GOAL: [
    ["GOAL", { own_goal: false, penalty: false }],
    ["GOAL", { own_goal: false, penalty: true }],
    ["GOAL", { own_goal: true, penalty: false }],
  ],
  YELLOW_CARD: [
    ["YELLOW_CARD", {}],
    ["SECOND_YELLOW", {}],
    ["RED_CARD", {}],
  ],
};
KINDS.SECOND_YELLOW = KINDS.RED_CARD = KINDS.YELLOW_CARD;

export class Editor {
  #dialog = byId("editor");
  /** @type {() => void} */
  #closed = () => {};

  constructor() {
    this.#dialog.addEventListener("close", () => this.#closed());
    this.#dialog.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /**
   * @param {MatchView} match
   * @param {Draft} draft
   * @param {string[]} players
   * @param {(fields: Partial<Change>) => void} save
   * @param {() => void} closed
   */
  open(match, draft, players, save, closed) {
    this.#closed = closed;
    const { amends } = draft;
    const event = amends ?? { ...draft.now, team: null, player: null, player2: null, reason: null, detail: draft.detail };
    const fields = draft.retracts ? [] : this.#fields(match, draft, event, players);
    const problem = el("p", { class: "problem", role: "alert", hidden: true });
    const form = el(
      "form",
      { class: "stack", method: "dialog", novalidate: true },
      el("h2", { id: "editor-heading" }, draft.heading),
      ...fields,
      amends && el("label", { class: "field" }, el("span", {}, `${TEXT.reason} `, el("small", {}, `(${TEXT.reasonHint})`)), el("input", { name: "reason", maxlength: "500", value: draft.retracts ? "" : (event.reason ?? ""), autocomplete: "off" })),
      problem,
      el(
        "div",
        { class: "row end" },
        el("button", { class: "button", type: "button", onclick: () => this.#dialog.close() }, TEXT.cancel),
        el("button", { class: `button ${draft.retracts ? "danger" : "primary"}`, type: "submit" }, draft.retracts ? TEXT.retract : TEXT.save),
      ),
    );
    form.addEventListener("submit", (/** @type {SubmitEvent} */ submitted) => {
      submitted.preventDefault();
      const read = this.#read(new FormData(form), draft);
      if (typeof read === "string") {
        problem.textContent = read;
        problem.hidden = false;
        return;
      }
      this.#dialog.close();
      save(read);
    });
    this.#dialog.replaceChildren(form);
    this.#dialog.showModal();
    const first = form.querySelector("input:checked") ?? form.querySelector("input, select, textarea");
    first?.focus();
    if (first instanceof HTMLInputElement && first.type !== "radio") first.select();
  }

  /**
   * @param {MatchView} match
   * @param {Draft} draft
   * @param {any} event
   * @param {string[]} players
   */
  #fields(match, draft, event, players) {
    const { type } = draft;
    const fields = [];
    const kinds = draft.amends && KINDS[type];
    if (kinds) {
      const now = kindName(event);
      fields.push(
        el(
          "label",
          { class: "field" },
          el("span", {}, TEXT.type),
          el("select", { name: "kind" }, ...kinds.map(([kind, detail], index) => el("option", { value: String(index), selected: kindName({ type: kind, detail }) === now }, kindName({ type: kind, detail })))),
        ),
      );
    }
    if (NEEDS_TEAM.includes(type)) {
      fields.push(
        el(
          "fieldset",
          { class: "teams" },
          el("legend", {}, type === "GOAL" ? TEXT.credited : TEXT.team),
          ...["home", "away"].map((team) =>
            el("label", { class: "team" }, el("input", { type: "radio", name: "team", value: team, checked: event.team === team }), el("span", {}, match.info?.[team]?.name ?? TEXT[/** @type {Team} */ (team)]), el("kbd", {}, team[0])),
          ),
        ),
      );
      const labels = type === "SUBSTITUTION" ? [TEXT.playerOn, TEXT.playerOff] : type === "GOAL" ? [TEXT.scorer, TEXT.assist] : [TEXT.player];
      fields.push(
        el("datalist", { id: "players" }, ...players.map((name) => el("option", { value: name }))),
        el(
          "div",
          { class: "pair" },
          ...labels.map((label, index) => {
            const name = index ? "player2" : "player";
            return el("label", { class: "field" }, el("span", {}, label), el("input", { name, maxlength: "128", value: event[name] ?? "", list: "players", autocomplete: "off", autocapitalize: "words" }));
          }),
        ),
      );
    }
    if (type === "NOTE") fields.push(el("label", { class: "field" }, el("span", {}, TEXT.note), el("input", { name: "text", maxlength: "2000", required: true, value: event.detail?.text ?? "", autocomplete: "off" })));
    if (type === "STOPPAGE_ANNOUNCED") fields.push(number("minutes", TEXT.addedMinutes, event.detail?.minutes ?? "", 99));
    if (type === "VAR") fields.push(el("label", { class: "field" }, el("span", {}, EVENT_NAMES.VAR), el("input", { name: "outcome", maxlength: "500", value: event.detail?.outcome ?? "", autocomplete: "off" })));
    if (!NO_MINUTE.includes(type)) {
      fields.push(el("div", { class: "pair" }, number("minute", TEXT.minute, event.minute ?? "", 999), number("stoppage", TEXT.stoppage, event.stoppage || "", 99)));
    }
    return fields;
  }

  /**
   * @param {FormData} data
   * @param {Draft} draft
   * @returns {Partial<Change> | string} the fields, or what is wrong with them
   */
  #read(data, draft) {
    const text = (/** @type {string} */ name) => String(data.get(name) ?? "").trim();
    const reason = text("reason") || null;
    if (draft.retracts) return { reason };
    const { amends } = draft;
    let { type, detail } = draft;
    if (data.has("kind")) [type, detail] = KINDS[draft.type][Number(text("kind"))];
    /** @type {Partial<Change>} */
    const fields = { type, detail: amends ? { ...amends.detail, ...detail } : detail, reason };
    if (NEEDS_TEAM.includes(type)) {
      const team = text("team");
      if (team !== "home" && team !== "away") return TEXT.chooseTeam;
      Object.assign(fields, { team, player: text("player") || null, player2: text("player2") || null });
    }
    if (type === "NOTE") {
      if (!text("text")) return `${TEXT.note}?`;
      fields.detail = { text: text("text") };
    }
    if (type === "VAR") fields.detail = { ...fields.detail, outcome: text("outcome") || null };
    if (type === "STOPPAGE_ANNOUNCED") {
      if (!/^\d{1,2}$/.test(text("minutes"))) return `${TEXT.addedMinutes}?`;
      fields.detail = { minutes: Number(text("minutes")) };
    }
    if (data.has("minute")) {
      if (!/^\d{0,3}$/.test(text("minute")) || !/^\d{0,2}$/.test(text("stoppage"))) return `${TEXT.minute}?`;
      const minute = text("minute") === "" ? null : Number(text("minute"));
      fields.minute = minute;
      fields.stoppage = Number(text("stoppage") || "0");
      const was = amends ?? draft.now;
      fields.period = minute === was.minute ? was.period : periodOf({ ...draft.now, ...(amends ? { period: amends.period, minute: amends.minute } : {}) }, minute);
    } else fields.period = amends?.period ?? draft.now.period;
    return fields;
  }

  /** h and a choose a team, wherever no text is typed. @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof HTMLElement)) return;
    if (event.target instanceof HTMLInputElement && event.target.type !== "radio") return;
    if (event.target instanceof HTMLSelectElement) return;
    const team = { h: "home", a: "away" }[event.key.toLowerCase()];
    if (event.key === "Enter" && event.target instanceof HTMLInputElement && event.target.type === "radio") {
      // Enter on a team goes on to the name; it is not the end of the form.
      event.preventDefault();
      event.target.checked = true;
      this.#dialog.querySelector("input[name=player]")?.focus();
      return;
    }
    const radio = team && this.#dialog.querySelector(`input[name=team][value=${team}]`);
    if (!radio) return;
    event.preventDefault();
    radio.checked = true;
    this.#dialog.querySelector("input[name=player]")?.focus();
  }
}

/** @param {string} name @param {string} label @param {string | number} value @param {number} most */
function number(name, label, value, most) {
  return el("label", { class: "field" }, el("span", {}, label), el("input", { name, inputmode: "numeric", pattern: "[0-9]*", maxlength: String(String(most).length), value: String(value), autocomplete: "off" }));
}

export { minuteText };
