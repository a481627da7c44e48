// @ts-check
/** The language of an element. shared_state/languages.py chooses alike; languages.js has the texts. */

/** @typedef {{ tag: string, locale: string | undefined }} Language `locale`: for Intl; undefined: the reader's own */

/** A longer tag is nonsense (RFC 5646, 4.4.1). */
const TAG_MAX = 35;

/**
 * The language that an element is in: by its own `lang` or that of what it is in, also beyond a shadow root. What is no
 * language, and what is none of ours, is English.
 *
 * @param {Element} element
 * @returns {Language}
 */
export function languageOf(element) {
  /** @type {Element | undefined} */
  let node = element;
  while (node) {
    const declaring = node.closest("[lang]");
    if (declaring) return chosen(declaring.getAttribute("lang") ?? "", ASSETS.languages);
    node = /** @type {ShadowRoot} */ (node.getRootNode()).host;
  }
  return chosen("", []);
}

/**
 * @param {string} declared
 * @param {string[]} others the languages but English
 * @returns {Language}
 */
export function chosen(declared, others) {
  if (!declared) return { tag: "en", locale: undefined };
  const name = declared.length > TAG_MAX ? "" : declared.replaceAll("_", "-");
  const primary = name.split("-")[0].toLowerCase();
  const tag = others.includes(primary) ? primary : "en";
  // The digits of the scores.
  return { tag, locale: primary !== tag ? "en" : tag === "ar" ? `${name}-u-nu-latn` : name };
}
