// Types of the elements in JSX, for React 19: import "@touchline/live-score/react" once.

import type { LiveScoreElement, LiveScoresElement } from "./types/package/index.js";
import type { CorrectionEvent, GoalEvent, StateEvent, StatusEvent } from "./types/src/events.js";

interface Common<E> {
  src?: string;
  theme?: "light" | "dark";
  size?: "ticker" | "card" | "full";
  lang?: string;
  class?: string;
  className?: string;
  id?: string;
  style?: object;
  hidden?: boolean;
  key?: string | number | null;
  ref?: ((element: E | null) => void) | { current: E | null } | null;
  children?: unknown;
}

export interface LiveScoreProps extends Common<LiveScoreElement> {
  match: string;
  delay?: number | string;
  runtime?: "micropython" | "pyodide" | "none";
  "max-tier"?: "1" | 1;
  "ontouchline:goal"?: (event: GoalEvent) => void;
  "ontouchline:correction"?: (event: CorrectionEvent) => void;
  "ontouchline:status"?: (event: StatusEvent) => void;
  "ontouchline:state"?: (event: StateEvent) => void;
}

export interface LiveScoresProps extends Common<LiveScoresElement> {
  day?: string;
  competition?: string;
  page?: number | string;
}

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "live-score": LiveScoreProps;
      "live-scores": LiveScoresProps;
    }
  }
}
