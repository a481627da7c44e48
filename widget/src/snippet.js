// @ts-check
/**
 * Completes the embed snippets of a match page with the address of this origin.
 *
 * A server without TOUCHLINE_PUBLIC_URL does not know the address that readers use, so its snippets begin with
 * a path, and a note asks the reader to put the address before it. The browser knows the address.
 */

const BASE = new URL("..", import.meta.url).href;

for (const code of document.querySelectorAll("details.embed code")) {
  code.textContent = (code.textContent ?? "").replace('src="/', `src="${BASE}`);
}
document.querySelector("[data-tl-site-note]")?.remove();
