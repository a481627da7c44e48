// @ts-check
/**
 * The worker that runs the reducer: one for a page, whatever it shows.
 *
 * Messages in
 *   { type: "boot", runtime, bundle }   once, first: the URL of the folder with Pyodide's files, and of the
 *                                       zip with shared_state and widget/python/bridge.py
 *   { type: "call", n, request }        after "ready": a request as widget/python/bridge.py describes it, as JSON
 * Messages out
 *   { type: "ready", bootMs }           boot has ended; calls may come
 *   { type: "failed", reason }          boot has failed; nothing more will be said
 *   { type: "reply", n, reply }         the answer to call n, as JSON; calls are answered in their order
 *   { type: "broken", n, reason }       call n raised what the bridge does not expect: a bug, or memory has
 *                                       run out. The page goes on without this worker.
 *
 * The worker never fetches scores and never touches what the page shows: it folds what it is given.
 */

/** @type {((request: string) => string) | null} */
let handle = null;

self.addEventListener("message", (event) => {
  const { data } = event;
  if (data.type === "boot") void boot(data.runtime, data.bundle);
  else if (data.type === "call") call(data.n, data.request);
});

/**
 * @param {string} runtime
 * @param {string} bundle
 */
async function boot(runtime, bundle) {
  const start = performance.now();
  try {
    // All at once: a round trip after another is what a phone pays most for.
    const [{ loadPyodide }, { default: createPyodideModule }, archive] = await Promise.all([
      import(runtime + "pyodide.mjs"),
      import(runtime + "pyodide.asm.mjs"),
      fetch(bundle, { credentials: "same-origin" }).then((response) => {
        if (!response.ok) throw new Error(`${bundle}: ${response.status}`);
        return response.arrayBuffer();
      }),
    ]);
    const pyodide = await loadPyodide({
      indexURL: runtime,
      createPyodideModule,
      lockFileContents: LOCK,
      packageBaseUrl: runtime, // never anybody else's server
      // Python reads modules out of the zip as they are; nothing is unpacked.
      env: { PYTHONPATH: "/touchline.zip", PYTHONDONTWRITEBYTECODE: "1" },
      fsInit: async (/** @type {any} */ FS) => FS.writeFile("/touchline.zip", new Uint8Array(archive)),
    });
    handle = pyodide.pyimport("widget.python.bridge").handle;
    self.postMessage({ type: "ready", bootMs: performance.now() - start });
  } catch (error) {
    self.postMessage({ type: "failed", reason: String(error) });
  }
}

/**
 * @param {number} n
 * @param {string} request
 */
function call(n, request) {
  try {
    if (!handle) throw new Error("called before ready");
    self.postMessage({ type: "reply", n, reply: handle(request) });
  } catch (error) {
    self.postMessage({ type: "broken", n, reason: String(error) });
  }
}
