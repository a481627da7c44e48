// @ts-check
/** What the lab's page and its viewers say to each other. */

/** From the page: it wants to hear of states. */
export const STATE_ASKED = "touchline:lab-ask";
/** From a viewer, to the page that asked: `{type, state}`. */
export const STATE_REPORTED = "touchline:lab-state";

const LOCAL = /^(127(\.\d+){3}|localhost|\[::1\])$/;

/** Whether an origin is of this machine: nobody else hears or is heard. @param {string} origin */
export function isLocal(origin) {
  try {
    return LOCAL.test(new URL(origin).hostname);
  } catch {
    return false;
  }
}
