// @ts-check
// Bundles one of widget/examples as an application of a publisher would be: `node bundle_example.mjs SOURCE`.
// The module comes on standard output. Run it in the folder that has node_modules.

import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import path from "node:path";

const [source, esbuildFolder] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), "package.json"));
const { build } = createRequire(path.join(esbuildFolder, "package.json"))("esbuild");

const svelte = {
  name: "svelte",
  setup(/** @type {any} */ bundler) {
    bundler.onLoad({ filter: /\.svelte$/ }, async (/** @type {{ path: string }} */ file) => {
      const { compile } = require("svelte/compiler");
      const { js } = compile(await readFile(file.path, "utf-8"), { filename: file.path, generate: "client" });
      return { contents: js.code, loader: "js" };
    });
  },
};

const { outputFiles } = await build({
  entryPoints: [source],
  bundle: true,
  write: false,
  format: "esm",
  jsx: "automatic",
  conditions: ["browser", "production"],
  define: {
    "process.env.NODE_ENV": '"production"',
    __VUE_OPTIONS_API__: "true",
    __VUE_PROD_DEVTOOLS__: "false",
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
  nodePaths: [path.join(process.cwd(), "node_modules")],
  plugins: [svelte],
});
process.stdout.write(outputFiles[0].contents);
