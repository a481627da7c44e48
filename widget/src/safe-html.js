// @ts-check
/**
 * The one place where text becomes HTML or the address of a script, for pages that require Trusted Types.
 *
 * A page that requires them and does not permit our policy's name gets its nodes from html-reader.js, which is
 * fetched there alone. Workers cannot be started on such a page.
 */

import { afterwards } from "./later.js";

/** @type {TrustedTypePolicy | undefined} */
let policy;
/** @type {((html: string) => DocumentFragment) | undefined} */
let readHtml;
try {
  policy = globalThis.window?.trustedTypes?.createPolicy("live-score", {
    createHTML: (text) => text,
    createScriptURL: (url) => url,
  });
} catch {
  ({ readHtml } = await (await afterwards()).htmlReader());
}

/**
 * The nodes of HTML of our origin, which escapes everything that came from a feed.
 *
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function parseHtml(html) {
  if (readHtml) return readHtml(html);
  const template = document.createElement("template");
  template.innerHTML = /** @type {string} */ (policy ? policy.createHTML(html) : html);
  return template.content;
}

/**
 * The address of a worker of ours, as the platform wants it.
 *
 * @param {URL | string} url
 * @returns {string}
 */
export const scriptUrl = (url) => /** @type {string} */ (policy ? policy.createScriptURL(String(url)) : String(url));
