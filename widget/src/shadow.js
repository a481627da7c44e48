// @ts-check
/** The shadow root of an element on a page that has not what it shows, with the stylesheet of the origin. */

/** @type {Map<string, Promise<CSSStyleSheet>>} */
const styles = new Map();

/**
 * Until there is something to show, what the element's author put into it is shown.
 *
 * @param {HTMLElement} element
 * @param {string} base the URL of the origin
 */
export function openShadow(element, base) {
  const root = element.attachShadow({ mode: "open" });
  root.append(document.createElement("slot"));
  const url = new URL("widget/" + ASSETS.css, base).href;
  let sheet = styles.get(url);
  if (!sheet) styles.set(url, (sheet = loadStyle(url)));
  sheet.then(
    (loaded) => (root.adoptedStyleSheets = [loaded]),
    () => styles.delete(url), // unstyled is still readable
  );
}

/** @param {string} url */
async function loadStyle(url) {
  const response = await fetch(url, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return new CSSStyleSheet().replace(await response.text());
}
