// @ts-check
/**
 * Tier 3: the reducer under Pyodide, which is CPython. calls.js has the messages; with "boot" come `runtime`, the URL
 * of the folder with Pyodide's files, and `bundle`, that of the zip with shared_state and widget/python/bridge.py.
 */

import { answerCalls } from "./calls.js";

answerCalls(async ({ runtime, bundle }) => {
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
  return pyodide.pyimport("widget.python.bridge").handle;
});
