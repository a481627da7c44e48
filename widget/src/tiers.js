// @ts-check
/**
 * The page's end of tiers 2 and 3: brings in runtime.js, which no reader needs before tier 1 is live, and fetches
 * beside it what it will ask for.
 */

/**
 * @typedef {import("./live-match.js").LiveMatch} LiveMatch
 * @typedef {Promise<[wasm: ArrayBuffer, image: ArrayBuffer]>} Files
 */

/** What starts the reducer did not come, which says nothing about the reducer. */
export class MissingFile extends Error {}

/** @type {Map<string, Promise<import("./runtime.js").Tiers>>} */
const all = new Map();
/** How often it did not come: a browser remembers a module that failed by its address. */
let failures = 0;

/**
 * Ask for the files of tier 2.
 *
 * @param {string} base the URL that /widget/ is below
 * @param {(url: URL | string) => string} scriptUrl makes an address one that the page trusts
 * @returns {Promise<import("./runtime.js").Tiers>} rejects with {@link MissingFile}; then another attempt is one
 */
export function prepareTiers(base, scriptUrl) {
  const known = all.get(base);
  if (known) return known;
  const url = (/** @type {string} */ path) => new URL("widget/" + path, base).href;
  const get = async (/** @type {[string, string]} */ [path, integrity]) => (await fetch(url(path), { integrity })).arrayBuffer();
  // Its script is the largest part: asked for now, it is there when the worker starts.
  fetch(url(ASSETS.worker)).catch(() => {});
  const files = Promise.all([get(ASSETS.wasm), get(ASSETS.image)]);
  files.catch(() => {}); // who awaits them comes later
  const again = failures ? `?${failures}` : "";
  const tiers = import(url(ASSETS.runtime) + again).then(
    ({ Tiers }) => new Tiers(base, files, scriptUrl),
    () => {
      failures++;
      all.delete(base);
      throw new MissingFile(ASSETS.runtime);
    },
  );
  tiers.catch(() => {}); // likewise
  all.set(base, tiers);
  return tiers;
}

/**
 * Let a reducer take over a match, as far as the page allows.
 *
 * @param {string} base the URL that /widget/ is below
 * @param {LiveMatch} live
 * @param {string} wanted the element's `runtime`
 * @param {(url: URL | string) => string} scriptUrl makes an address one that the page trusts
 */
export async function joinTiers(base, live, wanted, scriptUrl) {
  await (await prepareTiers(base, scriptUrl)).join(live, wanted);
}

/** No element is left to show anything; a later one boots anew. */
export function endTiers() {
  for (const tiers of all.values()) tiers.then((of) => of.end(), () => {});
  all.clear();
}
