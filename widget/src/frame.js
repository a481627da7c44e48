// @ts-check
/**
 * For a page that has a match in a frame: gives each frame of this origin the height of what is in it.
 *
 *     <iframe src="https://scores.example/embed/fra-cro" title="…"></iframe>
 *     <script type="module" src="https://scores.example/widget/frame.js" async></script>
 *
 * Only messages of this script's own origin count, only from a frame that is on the page, and only heights that a score
 * can have: whatever another frame says moves nothing.
 */

import { HEIGHT_ASKED, HEIGHT_MAX_PX, HEIGHT_MIN_PX, HEIGHT_READY, HEIGHT_TOLD } from "./frame-messages.js";

const ORIGIN = new URL(import.meta.url).origin;

/** @param {MessageEventSource | null} source */
const frameOf = (source) => [...document.querySelectorAll("iframe")].find((frame) => frame.contentWindow === source);

addEventListener("message", ({ origin, source, data }) => {
  if (origin !== ORIGIN || typeof data !== "object" || data === null) return;
  const frame = frameOf(source);
  if (!frame) return;
  if (data.type === HEIGHT_READY) ask(frame);
  const { height } = data;
  if (data.type !== HEIGHT_TOLD || !Number.isInteger(height) || height < HEIGHT_MIN_PX || height > HEIGHT_MAX_PX) return;
  frame.style.height = `${height}px`;
});

/** @param {HTMLIFrameElement} frame */
function ask(frame) {
  frame.contentWindow?.postMessage({ type: HEIGHT_ASKED }, ORIGIN);
}

// Those that are there already have said that they are ready to nobody.
for (const frame of document.querySelectorAll("iframe")) {
  if (frame.src && new URL(frame.src, document.baseURI).origin === ORIGIN) ask(frame);
}
