// @ts-check
/** Parts of the lab's page that its other files share: how it asks the origin, and how it makes nodes. */

/** Where the origin's paths begin. */
export const BASE = new URL(".", document.baseURI).href;
/** A request that changes something has it, see origin/lab/blueprint.py. */
const HEADERS = { "Content-Type": "application/json", "Touchline-Lab": "1" };

const API = `${BASE}lab/api/`;

/**
 * Ask the lab. Rejects with the reason in words.
 *
 * @param {string} path
 * @param {object} [body] what to post; without one it is a GET
 * @returns {Promise<any>}
 */
export async function ask(path, body) {
  const sent = body === undefined ? {} : { method: "POST", headers: HEADERS, body: JSON.stringify(body) };
  const response = await fetch(API + path, { cache: "no-store", ...sent, signal: AbortSignal.timeout(75_000) });
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.error?.message ?? `the origin answered ${response.status}`);
  return content;
}

/**
 * The part of the page with a name.
 *
 * @param {string} name
 * @returns {HTMLElement}
 */
export function part(name) {
  const found = document.querySelector(`[data-lab="${name}"]`);
  if (!(found instanceof HTMLElement)) throw new Error(`no part ${name}`);
  return found;
}

/**
 * An element with attributes and content.
 *
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} content
 */
export function make(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...content);
  return element;
}

/**
 * A row of a table, whose first cell is its head.
 *
 * @param {string} head
 * @param {(Node | string)[]} cells
 */
export function row(head, ...cells) {
  const made = make("tr", {}, make("th", {}, head));
  for (const cell of cells) made.append(make("td", {}, cell));
  return made;
}

/** @param {unknown} error */
export function showError(error) {
  const alert = part("alert");
  alert.textContent = error instanceof Error ? error.message : String(error);
  alert.hidden = !alert.textContent;
}

export function clearError() {
  part("alert").hidden = true;
}

/** A whole number, 12,345. Not by Intl: WebKit refuses to make a format where the system's locale is C. @param {number} value */
export const whole = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");

/** Three digits that count, 1.23 or 12,300. @param {number} value */
export function short(value) {
  const rounded = Number(value.toPrecision(3));
  return Math.abs(rounded) >= 1_000 ? whole(rounded) : String(rounded);
}

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms >= 10_000) return `${short(ms / 1_000)}\u00a0s`;
  return `${ms < 10 ? ms.toFixed(1) : whole(ms)}\u00a0ms`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 10_000) return `${whole(bytes)}\u00a0B`;
  return bytes < 1e7 ? `${short(bytes / 1e3)}\u00a0kB` : `${short(bytes / 1e6)}\u00a0MB`;
}
