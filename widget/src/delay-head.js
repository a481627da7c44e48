// @ts-check
/**
 * A reader who has chosen to stay some seconds behind, before anything of a page is painted. A classic script in the
 * head of our own pages: a match page goes to its address with the delay, a list covers the scores of live matches.
 */

import { QUERY_BEHIND } from "./wire.js";

(() => {
  let delay = null;
  try {
    delay = localStorage.getItem("touchline-delay");
  } catch {
    // Storage may be denied; then nothing was remembered.
  }
  if (!delay || !/^[1-9]\d{0,2}$/.test(delay)) return;
  const root = document.documentElement;
  const url = new URL(location.href);
  if (!document.currentScript?.hasAttribute("data-tl-match-page")) {
    root.setAttribute("data-tl-covered", "");
  } else if (!url.searchParams.has(QUERY_BEHIND)) {
    // The rest of this page, its title included, must not be seen meanwhile.
    root.hidden = true;
    stop();
    // In the order of the one spelling of an address (origin/web/page_language.py).
    url.search = `?${QUERY_BEHIND}=${delay}${url.search.replace("?", "&")}`;
    location.replace(url);
  }
})();
