// @ts-check
/**
 * Requests whose answer must be ours: the status and the media type are checked, and the time is bounded. A captive
 * portal answers everything with 200 and a page of its own.
 */

import { HEADER_RETRY_AFTER, JSON_TYPE } from "./wire.js";

/** Longer than any answer takes on a slow phone. */
const ANSWER_MS = 12_000;

/** Not an answer of ours, or one that refuses. `status`: 0 if none came, or a foreign one. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {number | null} hintMs how long the server asks to wait
   * @param {number} [dateMs] when it was made, by whoever answered
   */
  constructor(status, hintMs, dateMs = NaN) {
    super(`refused: ${status}`);
    this.dateMs = dateMs;
    this.status = status;
    this.hintMs = hintMs;
  }
}

/** @param {Headers} headers @returns {number | null} milliseconds that the server asks to wait */
export function retryAfterMs(headers) {
  const seconds = Number(headers.get(HEADER_RETRY_AFTER));
  return seconds > 0 ? seconds * 1_000 : null;
}

/**
 * Whether an answer is of a media type.
 *
 * @param {Response} response
 * @param {string} type
 */
export const isOf = (response, type) => (response.headers.get("Content-Type") ?? "").startsWith(type);

/**
 * @param {string} url
 * @param {string} type the media type of an answer of ours
 * @param {{ cache?: RequestCache, signal?: AbortSignal, limitMs?: number }} [options]
 * @returns {Promise<{ text: string, headers: Headers }>}
 * @throws {Refusal} whatever else comes, or nothing
 */
export async function ask(url, type, { cache = "default", signal, limitMs = ANSWER_MS } = {}) {
  const own = new AbortController();
  const abort = () => own.abort();
  const timer = setTimeout(abort, limitMs);
  signal?.addEventListener("abort", abort);
  try {
    // On our own pages with what the reader's browser is logged in with: a staging site behind a password.
    const response = await fetch(url, { cache, credentials: "same-origin", signal: own.signal });
    if (!response.ok || !isOf(response, type)) {
      abort();
      // What is between answers in HTML, and knows nothing of a match.
      const isOurs = !response.ok && isOf(response, JSON_TYPE);
      const dateMs = Date.parse(response.headers.get("Date") ?? "");
      throw new Refusal(isOurs ? response.status : 0, retryAfterMs(response.headers), dateMs);
    }
    return { text: await response.text(), headers: response.headers };
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(0, null);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
