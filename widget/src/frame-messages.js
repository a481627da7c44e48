// @ts-check
/** What frame.js and embed-frame.js say to each other. */

/** From the frame, to whoever is around it: it has no content. */
export const HEIGHT_READY = "touchline:ready";
/** From the page: it wants to hear of heights. */
export const HEIGHT_ASKED = "touchline:ask";
/** From the frame, to the origin that asked. */
export const HEIGHT_TOLD = "touchline:height";
export const HEIGHT_MIN_PX = 40;
export const HEIGHT_MAX_PX = 4_000;
