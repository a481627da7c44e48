// @ts-check
// Boots the stock Pyodide under Node and lets trim_stdlib.py pack what the widget needs.
//
//     node trim_runtime.mjs PYODIDE_DIR ROOT OUT_DIR NAME…
//
// PYODIDE_DIR is the npm package, ROOT the repository, NAME… the project's modules to bundle. Writes
// python_stdlib.zip, touchline.zip and lock.json to OUT_DIR.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [pyodideDir, root, outDir, ...names] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.join(pyodideDir, "pyodide.mjs")).href);

// The hash seed decides in which order a compiled set constant is written.
const pyodide = await loadPyodide({ indexURL: pyodideDir + "/", env: { PYTHONHASHSEED: "0" } });
const { FS } = pyodide;
for (const name of [...names, "widget/build/__init__.py", "widget/build/trim_stdlib.py"]) {
  FS.mkdirTree(path.posix.dirname("/src/" + name));
  FS.writeFile("/src/" + name, readFileSync(path.join(root, name)));
}
const files = pyodide.toPy(names);
pyodide.globals.set("names", files);
pyodide.runPython(`
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "/src")
from widget.build import trim_stdlib

LIBRARY = "/lib/python%d%d.zip" % sys.version_info[:2]
trim_stdlib.exercise()
with open("/python_stdlib.zip", "wb") as out:
    out.write(trim_stdlib.library_zip(LIBRARY, trim_stdlib.library_modules(LIBRARY)))
with open("/touchline.zip", "wb") as out:
    out.write(trim_stdlib.bundle_zip("/src", names))
`);

mkdirSync(outDir, { recursive: true });
for (const name of ["python_stdlib.zip", "touchline.zip"]) {
  writeFileSync(path.join(outDir, name), FS.readFile("/" + name));
}
// Pyodide insists on a list of packages that can be installed later; ours is empty.
const lock = JSON.parse(readFileSync(path.join(pyodideDir, "pyodide-lock.json"), "utf-8"));
writeFileSync(path.join(outDir, "lock.json"), JSON.stringify({ info: lock.info, packages: {} }));
