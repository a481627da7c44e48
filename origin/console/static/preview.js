// @ts-check
/** The embed, as any page shows it, at the height that it says it has. */

const READY = "touchline:ready";
const ASK = "touchline:ask";
const HEIGHT = "touchline:height";
const HEIGHT_MAX_PX = 4_000;

/**
 * @param {HTMLIFrameElement} frame
 * @param {() => boolean} isKnown whether viewers can see the match
 */
export function framePreview(frame, isKnown) {
  let wasKnown = false;
  addEventListener("message", (event) => {
    if (event.source !== frame.contentWindow || event.origin !== location.origin) return;
    if (event.data?.type === READY) {
      wasKnown = true;
      frame.contentWindow?.postMessage({ type: ASK }, location.origin);
    } else if (event.data?.type === HEIGHT && Number.isFinite(event.data.height)) {
      frame.style.blockSize = `${Math.min(HEIGHT_MAX_PX, event.data.height)}px`;
    }
  });
  return {
    /** An embed of a match that nobody knew has no score in it, and is loaded again once somebody does. */
    show() {
      if (wasKnown || !isKnown()) return;
      wasKnown = true;
      frame.src = frame.src;
    },
  };
}
