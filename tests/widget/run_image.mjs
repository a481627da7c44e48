// Calls ``handle`` of an image's program under MicroPython, as often as there are requests.
//
//     node run_image.mjs NODE_MODULES IMAGE < requests.json > replies.json
//
// A call that raises gives {"raised": "…"} instead of its text.

import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [packages, image] = process.argv.slice(2);
const script = path.join(packages, "@micropython/micropython-webassembly-pyscript/micropython.mjs");
const { loadMicroPython } = await import(pathToFileURL(script).href);
const python = await loadMicroPython({ heapsize: 1 << 20, pystack: 8_192, romfs: new Uint8Array(readFileSync(image)) });
const { handle } = python.pyimport("touchline");
const replies = JSON.parse(readFileSync(0, "utf-8")).map((request) => {
  try {
    return handle(request);
  } catch (error) {
    return { raised: String(error) };
  }
});
process.stdout.write(JSON.stringify(replies));
