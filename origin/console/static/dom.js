// @ts-check
/** Elements without HTML text: what operators and feeds write is only ever text. */

/**
 * @param {string} id
 * @returns {any} the element, which the page has
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * @param {string} name
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} attributes `on…` are listeners; false,
 *   null and undefined are left out
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child !== null && child !== undefined && child !== false)));
  return element;
}

/**
 * Make a list's children those of `items`, and leave alone what has not changed: a button that has the focus keeps it.
 *
 * @template T
 * @param {HTMLElement} parent
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} render
 */
export function reconcile(parent, items, keyOf, render) {
  /** @type {Map<string, HTMLElement>} */
  const known = new Map();
  for (const child of /** @type {HTMLElement[]} */ ([...parent.children])) known.set(child.dataset.key ?? "", child);
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const focus = focused && parent.contains(focused) ? { key: focused.closest("[data-key]")?.getAttribute("data-key"), action: focused.dataset.action } : null;
  /** @type {Node | null} */
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const signature = JSON.stringify(item);
    let child = known.get(key);
    known.delete(key);
    if (!child || child.dataset.signature !== signature) {
      const made = render(item);
      made.dataset.key = key;
      made.dataset.signature = signature;
      if (child) {
        if (place === child) place = made;
        child.replaceWith(made);
      }
      child = made;
    }
    if (child === place) place = child.nextSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
  if (focus?.key && !parent.contains(document.activeElement)) {
    const row = [...parent.children].find((child) => /** @type {HTMLElement} */ (child).dataset.key === focus.key);
    const again = focus.action ? row?.querySelector(`[data-action="${focus.action}"]`) : row;
    if (again instanceof HTMLElement) again.focus();
  }
}

/** A random id, as a webhook-id may be. @param {string} prefix */
export function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return prefix + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The time of day with seconds. @param {number} utcMs */
export function timeOf(utcMs) {
  return new Date(utcMs).toLocaleTimeString("en-GB");
}
