// @ts-check
/** The shadow root of an element on a page that has not what it shows, with the stylesheet of the origin. */

/** By address. @type {Map<string, Promise<CSSStyleSheet>>} */
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
 * @returns {ShadowRoot}
 */
export function openShadow(element, base) {
  const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
  if (!root.firstChild) root.append(document.createElement("slot"));
  if (root.adoptedStyleSheets && !root.adoptedStyleSheets.length) {
    try {
      const critical = new CSSStyleSheet();
      critical.replaceSync(CRITICAL);
      root.adoptedStyleSheets = [critical];
    } catch {
      // A browser without constructable style sheets takes the link below.
    }
  }
  const url = new URL("widget/", base).href;
  let sheet = styles.get(url);
  if (!sheet) styles.set(url, (sheet = loadStyle(url)));
  sheet.then(
    (loaded) => (root.adoptedStyleSheets = [loaded]),
    () => {
      styles.delete(url); // the next element tries again
      // A browser without constructable style sheets (Safari before 16.4) takes a link. Unstyled is still readable.
      if (!root.querySelector("link")) {
        root.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: url + ASSETS.css }));
      }
    },
  );
  return root;
}

/**
 * An origin of another release has not our file, but always one of the name without a hash.
 *
 * @param {string} url of the folder
 */
async function loadStyle(url) {
  for (const name of [ASSETS.css, "live-score.css"]) {
    const response = await fetch(url + name, { credentials: "same-origin" });
    if (response.ok) return new CSSStyleSheet().replace(await response.text());
  }
  throw new Error(url);
}
