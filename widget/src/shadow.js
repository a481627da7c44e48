// @ts-check
/** The shadow root of an element on a page that has not what it shows, with the stylesheet of the origin. */

/** @type {Map<string, Promise<CSSStyleSheet>>} */
const styles = new Map();

/**
 * What holds without the stylesheet: room for what comes, what is read but not seen, and nothing as plain lists. A
 * scoreboard waits a second for the stylesheet, so that nobody sees it without; then it is shown as it is.
 */
const CRITICAL =
  ":host{display:block;box-sizing:border-box;min-block-size:268px;border-radius:12px;box-shadow:inset 0 0 0 1px #8883}" +
  ":host([hidden]){display:none}:host([size=ticker]){min-block-size:42px;border-radius:8px}" +
  "slot{display:block;padding:12px 16px}.tl{animation:w 1s step-end}@keyframes w{from{visibility:hidden}}" +
  ".tl-vh,.tl-short,.tl-crest,.tl-strip{position:absolute;clip-path:inset(50%)}ol,ul{list-style:none;padding:0}";

/**
 * Until there is something to show, what the element's author put into it is shown.
 *
 * @param {HTMLElement} element
 * @param {string} base the URL of the origin
 */
export function openShadow(element, base) {
  const root = element.attachShadow({ mode: "open" });
  root.append(document.createElement("slot"));
  const critical = new CSSStyleSheet();
  critical.replaceSync(CRITICAL);
  root.adoptedStyleSheets = [critical];
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
