// @ts-check
/**
 * Make one tree like another by changing only what differs. What stays in place keeps its focus, its
 * selection and its running animation, and a screen reader's place in it.
 */

import { ATTRIBUTE_EVENT, ATTRIBUTE_GROUP, ATTRIBUTE_MATCH } from "./wire.js";

const KEYS = [ATTRIBUTE_EVENT, ATTRIBUTE_MATCH, ATTRIBUTE_GROUP];

/** Rows are known by the event or the match they show, groups of them by their own, whatever comes before. @param {Node} node */
const key = (node) =>
  node instanceof Element ? (KEYS.map((name) => node.getAttribute(name)).find((value) => value !== null) ?? null) : null;

/** @param {Node} a @param {Node} b */
const alike = (a, b) => a.nodeName === b.nodeName && key(a) === key(b);

/**
 * @param {Element} old
 * @param {Element} fresh what `old` is to be like; its children may be moved out of it
 * @param {(row: Element) => void} onRow a row that `old` did not have has been put in
 */
export function morph(old, fresh, onRow) {
  for (const { name } of [...old.attributes]) {
    // What the reader opened stays open.
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const rows = new Map([...old.children].filter(key).map((row) => [key(row), row]));
  /** @type {ChildNode | null} */
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const row = rows.get(key(child));
    if (row && row !== next) {
      old.insertBefore(row, next);
      next = row;
    }
    // Removed rows stay until the end, behind the ones that follow them, so that no other row has to move.
    if (next && alike(next, child)) {
      const current = next;
      next = next.nextSibling;
      if (current instanceof Element) morph(current, /** @type {Element} */ (child), onRow);
      else if (current.nodeValue !== child.nodeValue) current.nodeValue = child.nodeValue;
    } else {
      old.insertBefore(child, next);
      if (key(child)) onRow(/** @type {Element} */ (child));
    }
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}
