// Constants that widget/build/bundle.py puts in place of these names, and platform parts that lib.dom lacks.

/** The file of live-list.js, beside the loader's; empty where a bundler finds it. */
declare const LIST: string;
/** Paths below /widget/ of what the loader brings in later. */
declare const ASSETS: {
  languages: string[];
  catalogues: string;
  css: string;
  keep: string;
  htmlReader: string;
  spoilerDelay: string;
  runtime: string;
  worker: string;
  /** Path and integrity. */
  wasm: [string, string];
  image: [string, string];
  pyodideWorker: string;
  pyodide: string;
  bundle: string;
};
/** shared_state.PROTOCOL_VERSION. */
declare const PROTOCOL: number;
/** What Pyodide is told of packages that could be installed: none. */
declare const LOCK: object;
/** Paths below /widget/: what a page needs at once, what tier 2 needs, and tier 3. */
declare const SHELL: string[];
declare const RUNTIME: string[];
/** The same of the languages, of which a page needs one at the most. */
declare const CATALOGUES: string[];
declare const PYODIDE: string[];

/** widget/build/bundle.py says where it is. */
declare module "micropython" {
  export function loadMicroPython(options: object): Promise<{ pyimport(name: string): { handle(request: string): string } }>;
}

interface Navigator {
  /** https://wicg.github.io/netinfo/, Chromium only. */
  readonly connection?: { readonly saveData?: boolean; readonly effectiveType?: string; readonly downlink?: number };
  /** https://w3c.github.io/device-memory/, Chromium only. */
  readonly deviceMemory?: number;
}

interface TrustedTypePolicy {
  createHTML(text: string): string;
  createScriptURL(url: string): string;
}

interface Window {
  /** https://w3c.github.io/trusted-types/ */
  readonly trustedTypes?: { createPolicy(name: string, rules: TrustedTypePolicy): TrustedTypePolicy };
}

/** The file of lab-chart.js, beside that of lab.js. */
declare const CHART: string;

/** widget/build/bundle.py says where it is; what of it lab-chart.js uses. */
declare module "uplot" {
  export default class uPlot {
    constructor(options: object, data: (number | null)[][], place: HTMLElement);
    setData(data: (number | null)[][]): void;
    setSize(size: { width: number; height: number }): void;
    destroy(): void;
  }
}
