// @ts-check
/**
 * Tier 2: the reducer under MicroPython. calls.js has the messages; with "boot" come the bytes of `wasm`, and of
 * `image`, which widget/build/micropython made of shared_state and widget/python/bridge.py.
 */

import { loadMicroPython } from "micropython";
import { answerCalls } from "./calls.js";

/** Where it begins; it grows as needed. A larger one is slower, since each call collects garbage over all of it. */
const HEAP_BYTES = 1 << 20;
/** In words; a fold and the view take less than a thousand, and what is nested deepest a few thousand. */
const STACK_WORDS = 8_192;

answerCalls(async ({ wasm, image }) => {
  const module = await WebAssembly.compile(wasm);
  const python = await loadMicroPython({
    heapsize: HEAP_BYTES,
    pystack: STACK_WORDS,
    romfs: new Uint8Array(image),
    stdout: () => {},
    stderr: () => {},
    instantiateWasm: (/** @type {WebAssembly.Imports} */ imports, /** @type {(made: WebAssembly.Instance) => void} */ done) => {
      void WebAssembly.instantiate(module, imports).then(done);
    },
  });
  return python.pyimport("touchline").handle;
});
