// @ts-check
/**
 * Tiers 2 and 3 of a page: which runtime its matches have, and the page's end of the workers.
 *
 * Rules
 * -----
 * 1. MicroPython (tier 2) comes first. Pyodide (tier 3) takes over where the element asks for it; without being asked
 *    only on our own pages, once a reader has stayed, on a device with memory and a fast connection.
 * 2. One worker for each runtime, whatever the page shows. A match goes from one to the other while it stays live; the
 *    one that nobody uses any more is ended.
 * 3. A runtime that breaks gives way to the one below it: Pyodide to MicroPython, MicroPython to tier 1. One that has
 *    failed is not started again on this page: a missing browser feature or permission will not appear.
 */

import { takeOver, uses } from "./local-reducer.js";

/** 4 MB at 0.5 Mbit/s; after that the reader has long been served by the tiers below. */
const BOOT_MS = 90_000;
/** A call takes milliseconds. One that takes this long will not come back. */
const CALL_MS = 15_000;
/** So long a reader has stayed who is likely to stay on. */
const STAY_MS = 10_000;
/** GiB, as browsers round it; Pyodide takes 130 MB. */
const MEMORY_LEAST = 4;
/** Mbit/s: 4 MB in seven seconds. */
const DOWNLINK_LEAST = 5;

/**
 * @typedef {import("./live-match.js").LiveMatch} LiveMatch
 * @typedef {import("./tiers.js").Files} Files
 * @typedef {{ resolve(reply: any): void, reject(reason: Error): void }} Pending
 */

export class Tiers {
  /** The matches with what their elements ask for. @type {Map<LiveMatch, string>} */
  #matches = new Map();
  /** @type {Promise<Runtime> | null} */
  #light = null;
  /** @type {Promise<Runtime> | null} */
  #full = null;
  #fullFailed = false;
  #hasEnded = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} base
   * @param {Files} files
   * @param {(url: URL | string) => string} scriptUrl makes an address one that the page trusts
   */
  constructor(base, files, scriptUrl) {
    this.base = base;
    this.files = files;
    this.scriptUrl = scriptUrl;
  }

  /**
   * Resolves once a runtime has taken over, and rejects if none can.
   *
   * @param {LiveMatch} live
   * @param {string} wanted "pyodide", "micropython", or "" for what suits the page
   */
  async join(live, wanted) {
    for (const [other] of [...this.#matches]) if (!other.elements.size) this.#matches.delete(other);
    this.#matches.set(live, wanted);
    try {
      await takeOver(live, await this.#bootLight());
    } finally {
      this.#rise();
    }
  }

  end() {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const runtime of [this.#light, this.#full]) runtime?.then((of) => of.end("ended"), () => {});
  }

  #bootLight() {
    this.#light ??= this.#boot(2, ASSETS.worker, async () => {
      const [wasm, image] = await this.files;
      return { wasm, image };
    });
    return this.#light;
  }

  #bootFull() {
    this.#full ??= this.#boot(3, ASSETS.pyodideWorker, async () => ({
      runtime: new URL("widget/" + ASSETS.pyodide, this.base).href,
      bundle: new URL("widget/" + ASSETS.bundle, this.base).href,
    }));
    return this.#full;
  }

  /** Pyodide for the matches that may have it, now or once their reader has stayed. */
  #rise() {
    clearTimeout(this.#timer);
    if (this.#fullFailed || this.#hasEnded) return;
    const asked = [...this.#matches].filter(([live, wanted]) => live.elements.size && wanted === "pyodide");
    if (asked.length) void this.#moveUp((wanted) => wanted === "pyodide");
    if (!isOwnPage(this.base) || !isCapable()) return;
    this.#timer = setTimeout(() => {
      if (document.hidden) this.#rise();
      else void this.#moveUp((wanted) => wanted !== "micropython");
    }, STAY_MS);
  }

  /** @param {(wanted: string) => boolean} may */
  async #moveUp(may) {
    const moving = () => [...this.#matches].filter(([live, wanted]) => live.elements.size && may(wanted));
    if (!moving().length) return;
    try {
      const full = await this.#bootFull();
      for (const [live] of moving()) await takeOver(live, full);
    } catch {
      this.#fullFailed = true;
      return;
    }
    const light = await this.#light?.catch(() => null);
    if (light && ![...this.#matches.keys()].some((live) => live.elements.size && uses(live, light))) {
      light.end("not needed any more");
      this.#light = null;
    }
  }

  /** A runtime that had been ready ended by itself. @param {Runtime} runtime */
  #onBroken(runtime) {
    if (this.#hasEnded || runtime.tier < 3) return;
    this.#fullFailed = true;
    for (const live of this.#matches.keys()) {
      // Its calls are rejected in this task, and with them it goes to tier 1; then tier 2 takes over.
      if (live.elements.size) void this.#bootLight().then((light) => takeOver(live, light)).catch(() => {});
    }
  }

  /**
   * @param {2 | 3} tier
   * @param {string} script
   * @param {() => Promise<object>} parts what the worker's boot message has
   * @returns {Promise<Runtime>}
   */
  #boot(tier, script, parts) {
    const worker = startWorker(new URL("widget/" + script, this.base), this.scriptUrl);
    const runtime = new Runtime(worker, tier);
    return new Promise((resolve, reject) => {
      /** @param {string} reason */
      const fail = (reason) => {
        clearTimeout(timer);
        runtime.end(reason);
        reject(new Error(reason));
      };
      const timer = setTimeout(() => fail("boot took too long"), BOOT_MS);
      // A page's Content-Security-Policy that forbids the worker, or a browser without module workers.
      worker.addEventListener("error", (event) => fail(event.message || "the worker could not be loaded"));
      worker.addEventListener("messageerror", () => fail("a message could not be read"));
      worker.addEventListener("message", (event) => {
        const { data } = event;
        if (data.type === "ready") {
          clearTimeout(timer);
          runtime.bootMs = data.bootMs;
          runtime.onBroken = () => this.#onBroken(runtime);
          resolve(runtime);
        } else if (data.type === "failed") {
          fail(data.reason);
        } else {
          runtime.onMessage(event);
        }
      });
      parts().then((more) => worker.postMessage({ type: "boot", ...more }), (error) => fail(String(error)));
    });
  }
}

export class Runtime {
  #n = 0;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;
  bootMs = 0;
  onBroken = () => {};
  /** The languages that the reducer knows. */
  #languages = new Set(["en"]);

  /**
   * @param {Worker} worker
   * @param {2 | 3} tier
   */
  constructor(worker, tier) {
    this.worker = worker;
    this.tier = tier;
  }

  /**
   * @param {object} request as widget/python/bridge.py describes it
   * @returns {Promise<any>} the reply
   */
  call(request) {
    const n = ++this.#n;
    return new Promise((resolve, reject) => {
      this.#pending.set(n, { resolve, reject });
      this.worker.postMessage({ type: "call", n, request: JSON.stringify(request) });
      this.#watch();
    });
  }

  /**
   * Have the reducer know a language. Calls are answered in their order, so the next one may use it.
   *
   * @param {import("./words.js").Words} words
   */
  learn({ tag, dir, texts }) {
    if (this.#languages.has(tag)) return;
    this.#languages.add(tag);
    // If it fails, so does the call that uses it.
    this.call({ op: "language", slot: "", match: "", tag, dir, texts }).catch(() => {});
  }

  /** @param {MessageEvent} event */
  onMessage({ data }) {
    if (data.type === "reply") {
      this.#pending.get(data.n)?.resolve(JSON.parse(data.reply));
      this.#pending.delete(data.n);
      this.#watch();
    } else if (data.type === "broken") {
      this.#break(data.reason);
    }
  }

  /** @param {string} reason */
  end(reason) {
    clearTimeout(this.#watchdog);
    this.worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new Error(reason));
    this.#pending.clear();
    this.call = () => Promise.reject(new Error(reason));
  }

  /** @param {string} reason */
  #break(reason) {
    this.end(reason);
    this.onBroken();
  }

  #watch() {
    clearTimeout(this.#watchdog);
    if (this.#pending.size) this.#watchdog = setTimeout(() => this.#break("no reply"), CALL_MS);
  }
}

/** Whether the page is ours and no frame on somebody else's. @param {string} base */
function isOwnPage(base) {
  return new URL(base).origin === location.origin && window.top === window;
}

/** Whether the device has the memory for Pyodide, and the connection; a browser that does not say has neither. */
function isCapable() {
  const { connection, deviceMemory = 0 } = navigator;
  const isFast = connection?.effectiveType === "4g" && (connection.downlink ?? 0) >= DOWNLINK_LEAST;
  return deviceMemory >= MEMORY_LEAST && isFast && !connection.saveData;
}

/**
 * A worker's own URL must be of the page's origin, but what it imports need not be: on somebody else's
 * page the worker is one line of ours that imports the rest.
 *
 * @param {URL} url
 * @param {(url: URL | string) => string} scriptUrl
 */
function startWorker(url, scriptUrl) {
  if (url.origin === location.origin) return new Worker(scriptUrl(url), { type: "module", name: "live-score" });
  const shim = URL.createObjectURL(new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" }));
  const worker = new Worker(scriptUrl(shim), { type: "module", name: "live-score" });
  // The URL must live until the import has begun; a message from inside proves that it has.
  const revoke = () => URL.revokeObjectURL(shim);
  worker.addEventListener("message", revoke, { once: true });
  worker.addEventListener("error", revoke, { once: true });
  return worker;
}
