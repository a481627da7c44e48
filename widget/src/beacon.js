// @ts-check

/** At most one reader of a thousand, whatever a page says: what a goal costs the origin is bounded by it. */
const RATE_MAX = 0.001;

/**
 * Draw once whether this page view reports how late it shows goals. Only those that do load what measures it.
 *
 * @param {number} rate the share of page views that report; NaN for none
 */
export function sample(rate) {
  if (Math.random() < Math.min(rate, RATE_MAX)) void import(new URL(GOAL_SCREEN, import.meta.url).href).catch(() => {});
}
