// @ts-check
/**
 * Reads HTML without the browser's parser, which a page that requires Trusted Types keeps from scripts without a
 * policy. It reads what our origin writes: every element closed or void, every value in quotes.
 *
 * It makes no element and no attribute that runs a script, and none that loads more than an image, so a page loses
 * nothing by it.
 */

const TOKEN = /<!--[^]*?-->|<(\/?)([a-z][a-z0-9-]*)((?:\s+[^\s=<>"'/]+(?:="[^"]*"|='[^']*')?)*)\s*(\/?)>|([^<]+)/gi;
const ATTRIBUTE = /([^\s=<>"'/]+)(?:="([^"]*)"|='([^']*)')?/g;
const REFERENCE = /&(?:#x([0-9a-f]+)|#([0-9]+)|(amp|lt|gt|quot|apos|nbsp));/gi;
/** @type {Record<string, string>} */
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };
const VOID = new Set(["br", "hr", "img", "wbr"]);
/** No script, style, frame, form or embedded object among them. */
const ELEMENTS = new Set(
  ("a abbr article aside b bdi bdo br caption circle code dd defs del details div dl dt ellipse em figcaption figure " +
    "footer g h1 h2 h3 h4 h5 h6 header hr i img ins kbd li line lineargradient main mark nav ol p path polygon polyline " +
    "rect s section small span stop strong sub summary sup svg table tbody td text tfoot th thead time title tr tspan u " +
    "ul wbr").split(" "),
);
const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} html
 * @returns {DocumentFragment}
 * @throws {Error} it is not what our origin writes; nothing of it is made
 */
export function readHtml(html) {
  const root = document.createDocumentFragment();
  /** @type {(Element | DocumentFragment)[]} */
  const open = [root];
  let end = 0;
  for (const match of html.matchAll(TOKEN)) {
    const [token, slash, name = "", attributes, closed, text] = match;
    if (match.index !== end) break;
    end += token.length;
    const parent = open[0];
    if (text !== undefined) parent.append(decoded(text));
    else if (slash) {
      if (open.length === 1 || /** @type {Element} */ (parent).localName !== name) throw new Error(`unexpected ${token}`);
      open.shift();
    } else if (name) {
      const element = made(name, attributes, parent);
      parent.append(element);
      if (!closed && !VOID.has(name)) open.unshift(element);
    }
  }
  if (end !== html.length || open.length > 1) throw new Error(`cannot be read from character ${end}`);
  return root;
}

/**
 * @param {string} name
 * @param {string} attributes
 * @param {Element | DocumentFragment} parent
 */
function made(name, attributes, parent) {
  if (!ELEMENTS.has(name.toLowerCase())) throw new Error(`no <${name}> here`);
  const isSvg = name === "svg" || (parent instanceof SVGElement && parent.localName !== "foreignObject");
  const element = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [, key, quoted, value = quoted ?? ""] of attributes.matchAll(ATTRIBUTE)) {
    const text = decoded(value);
    const isLink = /^(?:href|src|xlink:href)$/i.test(key);
    if (/^(?:on|style$|srcdoc$|srcset$)/i.test(key) || (isLink && !/^(?:https?:|[^:]*$|[^:]*[/?#])/i.test(text))) {
      throw new Error(`no ${key}="${text}" here`);
    }
    element.setAttribute(key, text);
  }
  return element;
}

/** @param {string} text */
const decoded = (text) =>
  text.replace(REFERENCE, (_reference, hex, decimal, name) =>
    name ? NAMED[name.toLowerCase()] : String.fromCodePoint(hex ? parseInt(hex, 16) : Number(decimal)),
  );
