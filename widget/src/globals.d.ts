// Constants that widget/build/bundle.py puts in place of these names, and platform parts that lib.dom lacks.

/** Files beside the loader's of what is brought in later; empty where a bundler finds it by its import. */
declare const LIST: string;
declare const AFTERWARDS: string;
declare const HTML_READER: string;
/** The file of keep.js, which only pages of the origin's own site ask for. */
declare const KEEP: string;
/** Paths below /widget/ of what is brought in later. Each file has only those that it asks for itself. */
declare const ASSETS: {
  /** The tags of the languages but English. */
  languages: string[];
  catalogues: string;
  css: string;
  runtime: string;
  worker: string;
  /** Path and integrity. */
  wasm: [string, string];
  image: [string, string];
  pyodideWorker: string;
  pyodide: string;
  bundle: string;
};
/** The file of goal-screen.js, beside the one that names it. */
declare const GOAL_SCREEN: string;
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
