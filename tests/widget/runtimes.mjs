// Runs a corpus on one runtime under Node, from the files that the build left, and counts the equal replies.
//
//     node runtimes.mjs micropython|pyodide DIST NODE_MODULES < corpus.json
//
// corpus.json is {"part": [[[request, reply], …], …]}. Writes {"part": {"replies", "equal", "worded", "first"}}, where
// "worded" differ in nothing but the text of a reason, and "first" is the first reply that differs in more.

import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [engine, dist, packages] = process.argv.slice(2);
const { files } = JSON.parse(readFileSync(path.join(dist, "manifest.json"), "utf-8"));
const bytes = (name) => readFileSync(path.join(dist, files[name].path));
const load = (...parts) => import(pathToFileURL(path.join(...parts)).href);

async function micropython() {
  const { loadMicroPython } = await load(packages, "@micropython/micropython-webassembly-pyscript/micropython.mjs");
  const python = await loadMicroPython({
    heapsize: 1 << 20,
    pystack: 8_192,
    romfs: new Uint8Array(bytes("touchline.romfs")),
    url: path.join(dist, files["micropython.wasm"].path),
  });
  return python.pyimport("touchline").handle;
}

async function pyodide() {
  const folder = path.dirname(path.join(dist, files["runtime/pyodide.mjs"].path)) + "/";
  const { loadPyodide } = await load(folder, "pyodide.mjs");
  const { default: createPyodideModule } = await load(folder, "pyodide.asm.mjs");
  const lock = JSON.parse(readFileSync(path.join(packages, "pyodide", "pyodide-lock.json"), "utf-8"));
  const python = await loadPyodide({
    indexURL: folder,
    createPyodideModule,
    lockFileContents: { info: lock.info, packages: {} },
    env: { PYTHONPATH: "/touchline.zip", PYTHONDONTWRITEBYTECODE: "1" },
    fsInit: async (FS) => FS.writeFile("/touchline.zip", new Uint8Array(bytes("touchline.zip"))),
  });
  return python.pyimport("widget.python.bridge").handle;
}

// Before Pyodide makes standard input its own.
const corpus = JSON.parse(readFileSync(0, "utf-8"));
const handle = await { micropython, pyodide }[engine]();
const { compare } = await load(import.meta.dirname, "compare.mjs");
process.stdout.write(JSON.stringify(await compare(corpus, async (request) => handle(request))));
