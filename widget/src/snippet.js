// @ts-check
/**
 * Completes the embed snippets of a match page with the address of this site.
 *
 * A server without TOUCHLINE_PUBLIC_URL does not know the address that readers use, so its snippets begin with
 * a path, and a note asks the reader to put the address before it. The browser knows the address.
 */

for (const code of document.querySelectorAll("details.embed :is(code, samp)")) {
  const text = (code.textContent ?? "").replace('src="/', `src="${location.origin}/`);
  code.textContent = text.replace(/^\/oembed\?url=/, `${location.origin}/oembed?url=${encodeURIComponent(location.origin)}`);
}
document.querySelector("[data-tl-site-note]")?.remove();
