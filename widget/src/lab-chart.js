// @ts-check
/** Lines over time, by uPlot, in the page's colours; drawn again when the theme or the width changes. */

import uPlot from "uplot";

const HEIGHT = 220;

export class Chart {
  /**
   * @param {HTMLElement} place
   * @param {string[]} names of the lines
   * @param {string} unit of the x axis
   */
  constructor(place, names, unit) {
    this.place = place;
    this.names = names;
    this.unit = unit;
    /** @type {(number | null)[][]} */
    this.data = [[], ...names.map(() => [])];
    /** @type {uPlot | null} */
    this.plot = null;
    new ResizeObserver(() => this.#resize()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** @param {(number | null)[][]} data the x values, and those of each line */
  set(data) {
    this.data = data;
    if (this.plot) this.plot.setData(/** @type {any} */ (data));
    else this.draw();
  }

  draw() {
    this.plot?.destroy();
    const style = getComputedStyle(this.place);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
    const lines = this.names.map((label, number) => ({
      label,
      stroke: color(`--line-${number + 1}`),
      width: 2,
      // Not by colour alone.
      dash: [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 5]][number],
      points: { show: false },
    }));
    this.plot = new uPlot(
      {
        width: Math.max(240, this.place.clientWidth),
        height: HEIGHT,
        scales: { x: { time: false } },
        axes: [{ ...axis, values: (/** @type {unknown} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => `${tick} ${this.unit}`) }, { ...axis, size: 56 }],
        series: [{ label: this.unit }, ...lines],
        cursor: { show: false },
        legend: { live: false },
      },
      /** @type {any} */ (this.data),
      this.place,
    );
  }

  #resize() {
    this.plot?.setSize({ width: Math.max(240, this.place.clientWidth), height: HEIGHT });
  }
}
