// @ts-check
/** What is said to screen readers: one polite sentence for changes that come together. */

/** An announcement stays so long, beside those that come meanwhile. */
const SPOKEN_MS = 10_000;
/** Changes that come within this time are announced together. */
const TOGETHER_MS = 300;
/** Said only to screen readers; kept out of the way without relying on a stylesheet. */
const UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap";

/** Announcements that come together are one. @type {WeakMap<HTMLElement, string[]>} */
const unsaid = new WeakMap();

/**
 * The place where announcements go. It must be there, and empty, before there is something to say.
 *
 * @param {Element | ShadowRoot} place
 * @param {string} language
 */
export function addStatus(place, language) {
  const status = document.createElement("div");
  status.setAttribute("role", "status");
  // Each announcement is spoken by itself: one that follows at once neither replaces nor repeats the one before.
  status.setAttribute("aria-atomic", "false");
  status.lang = language;
  status.style.cssText = UNSEEN;
  place.append(status);
  return status;
}

/**
 * @param {HTMLElement} status of {@link addStatus}
 * @param {string} text
 */
export function say(status, text) {
  const waiting = unsaid.get(status);
  if (waiting) return void waiting.push(text);
  const texts = [text];
  unsaid.set(status, texts);
  setTimeout(() => {
    unsaid.delete(status);
    const line = document.createElement("p");
    line.textContent = texts.join(" ");
    status.append(line);
    setTimeout(() => line.remove(), SPOKEN_MS);
  }, TOGETHER_MS);
}
