// @ts-check
/**
 * Completes the embed snippets of a match page with the address of this origin.
 *
 * A server without TOUCHLINE_PUBLIC_URL does not know the address that readers use, so its snippets begin with
 * a path, and a note asks the reader to put the address before it. The browser knows the address.
 */

const BASE = new URL("..", import.meta.url).href;
const SITE = BASE.slice(0, -1);

for (const code of document.querySelectorAll("details.embed :is(code, samp)")) {
  const text = (code.textContent ?? "").replace('src="/', `src="${BASE}`);
  code.textContent = text.replace(/^\/oembed\?url=/, `${SITE}/oembed?url=${encodeURIComponent(SITE)}`);
}
document.querySelector("[data-tl-site-note]")?.remove();
