// @ts-check
/** The page's end of worker.js: boots it once for all elements, passes calls, and says when it is lost. */

export { takeOver } from "./local-reducer.js";

/** 4 MB at 0.5 Mbit/s; after that the reader has long been served by tier 1. */
const BOOT_MS = 90_000;
/** A call takes milliseconds. One that takes this long will not come back. */
const CALL_MS = 15_000;

/** @typedef {{ resolve(reply: any): void, reject(reason: Error): void }} Pending */

export class Runtime {
  /** @type {Map<string, Promise<Runtime>>} */
  static #booted = new Map();

  #n = 0;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;
  bootMs = 0;
  /** The languages that the reducer knows. */
  #languages = new Set(["en"]);

  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
  }

  /**
   * The runtime of an origin's files. It is booted by the first caller; if that fails, there is no
   * second attempt on this page: a missing browser feature or permission will not appear.
   *
   * @param {string} base the URL that /widget/ is below
   * @param {(url: URL | string) => string} scriptUrl makes an address one that the page trusts
   * @returns {Promise<Runtime>}
   */
  static of(base, scriptUrl) {
    let booted = Runtime.#booted.get(base);
    if (!booted) {
      booted = boot(base, scriptUrl);
      Runtime.#booted.set(base, booted);
    }
    return booted;
  }

  /** End every worker: no element is left to show anything. A later element boots anew. */
  static endAll() {
    for (const booted of Runtime.#booted.values()) booted.then((runtime) => runtime.end("ended"), () => {});
    Runtime.#booted.clear();
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
      this.end(data.reason);
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

  #watch() {
    clearTimeout(this.#watchdog);
    if (this.#pending.size) this.#watchdog = setTimeout(() => this.end("no reply"), CALL_MS);
  }
}

/**
 * @param {string} base
 * @param {(url: URL | string) => string} scriptUrl
 * @returns {Promise<Runtime>}
 */
async function boot(base, scriptUrl) {
  const worker = startWorker(new URL("widget/" + ASSETS.worker, base), scriptUrl);
  const runtime = new Runtime(worker);
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
        resolve(runtime);
      } else if (data.type === "failed") {
        fail(data.reason);
      } else {
        runtime.onMessage(event);
      }
    });
    worker.postMessage({
      type: "boot",
      runtime: new URL("widget/" + ASSETS.runtime, base).href,
      bundle: new URL("widget/" + ASSETS.bundle, base).href,
    });
  });
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
