// @ts-check
/**
 * Parts of the widget that a page fetches only if it needs them, after the score is there: files of their own, beside
 * the loader. They share no state with the loader, so they import nothing of it that has any.
 */

/** @param {string} name of a file beside this one */
const later = (name) => import(new URL(name, import.meta.url).href);

/** For visits without a network. @returns {Promise<typeof import("./keep.js")>} */
export const keepModule = () => later(ASSETS.keep);

/** For pages that permit no Trusted Types policy of ours. @returns {Promise<typeof import("./html-reader.js")>} */
export const htmlReaderModule = () => later(ASSETS.htmlReader);
