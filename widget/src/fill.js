// @ts-check

/**
 * The HTML of what is shown, which so far only the server's page has: for an element that came later, or one in another
 * language.
 *
 * @param {import("./live-match.js").LiveMatch} live
 */
export async function fill(live) {
  for (let attempt = 0; !live.ended; attempt++) {
    const { id } = live.shown;
    const html = await live.fragment(id).catch(() => "");
    if (live.shown.html) return; // a change has brought it
    if (html && live.shown.id === id) {
      live.shown.html = html;
      live.dispatchEvent(new CustomEvent("show", { detail: { moved: false } }));
      return;
    }
    await live.pause(attempt, null);
  }
}
