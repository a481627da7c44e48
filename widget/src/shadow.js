// @ts-check
/** The shadow root of an element on a page that has not what it shows, with the stylesheet of the origin. */

/** By address. @type {Map<string, Promise<CSSStyleSheet>>} */
const styles = new Map();

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
