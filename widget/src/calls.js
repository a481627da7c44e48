// @ts-check
/**
 * What both workers of the reducer have in common: one boot, then calls in their order.
 *
 * Messages in
 *   { type: "boot", … }                 once, first; the worker's own file says what else is in it
 *   { type: "call", n, request }        after "ready": a request as widget/python/bridge.py describes it, as JSON
 * Messages out
 *   { type: "ready", bootMs }           boot has ended; calls may come
 *   { type: "failed", reason }          boot has failed; nothing more will be said
 *   { type: "reply", n, reply }         the answer to call n, as JSON; calls are answered in their order
 *   { type: "broken", n, reason }       call n raised what the bridge does not expect: a bug, or memory has
 *                                       run out. The page goes on without this worker.
 *
 * A worker never fetches scores and never touches what the page shows: it folds what it is given.
 */

/** The smallest module there is: a policy without 'wasm-unsafe-eval' refuses it at once. */
const EMPTY_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

/** @typedef {(request: string) => string} Handle */

/** @param {(message: any) => Promise<Handle>} start boots Python and gives the bridge's ``handle`` */
export function answerCalls(start) {
  /** @type {Handle | null} */
  let handle = null;

  /** @param {any} message */
  const boot = async (message) => {
    const since = performance.now();
    try {
      // Pyodide says nothing for minutes where WebAssembly is not permitted.
      new WebAssembly.Module(EMPTY_MODULE);
      handle = await start(message);
      self.postMessage({ type: "ready", bootMs: performance.now() - since });
    } catch (error) {
      self.postMessage({ type: "failed", reason: String(error) });
    }
  };

  self.addEventListener("message", ({ data }) => {
    if (data.type === "boot") {
      void boot(data);
    } else if (data.type === "call") {
      try {
        if (!handle) throw new Error("called before ready");
        self.postMessage({ type: "reply", n: data.n, reply: handle(data.request) });
      } catch (error) {
        self.postMessage({ type: "broken", n: data.n, reason: String(error) });
      }
    }
  });
}
