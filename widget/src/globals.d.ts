// Constants that widget/build/bundle.py puts in place of these names, and platform parts that lib.dom lacks.

/** The file of live-list.js, beside the loader's; empty where a bundler finds it. */
declare const LIST: string;
/** Paths below /widget/ of what the loader brings in later. */
declare const ASSETS: {
  catalogues: Record<string, string>;
  css: string;
  worker: string;
  bundle: string;
  runtime: string;
  runtimeModule: string;
  keep: string;
  htmlReader: string;
  afterwards: string;
};
/** The tags of the languages but English. */
declare const LANGUAGES: string[];
/** shared_state.PROTOCOL_VERSION. */
declare const PROTOCOL: number;
/** What Pyodide is told of packages that could be installed: none. */
declare const LOCK: object;
/** Paths below /widget/: what a page needs at once, and what tier 2 needs. */
declare const SHELL: string[];
declare const RUNTIME: string[];
/** The same of the languages, of which a page needs one at the most. */
declare const CATALOGUES: string[];

interface Navigator {
  /** https://wicg.github.io/netinfo/, Chromium only. */
  readonly connection?: { readonly saveData?: boolean };
}

interface TrustedTypePolicy {
  createHTML(text: string): string;
  createScriptURL(url: string): string;
}

interface Window {
  /** https://w3c.github.io/trusted-types/ */
  readonly trustedTypes?: { createPolicy(name: string, rules: TrustedTypePolicy): TrustedTypePolicy };
}
