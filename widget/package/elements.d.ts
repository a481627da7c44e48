// What the elements add to the types of the platform; the rest is generated from the sources.

import type { LiveScoreElement, LiveScoresElement } from "./types/package/index.js";
import type { CorrectionEvent, GoalEvent, StateEvent, StatusEvent } from "./types/src/events.js";

declare global {
  interface HTMLElementTagNameMap {
    "live-score": LiveScoreElement;
    "live-scores": LiveScoresElement;
  }

  // They bubble and are composed, so any element above may listen.
  interface HTMLElementEventMap {
    "touchline:goal": GoalEvent;
    "touchline:correction": CorrectionEvent;
    "touchline:status": StatusEvent;
    "touchline:state": StateEvent;
  }

  interface DocumentEventMap {
    "touchline:goal": GoalEvent;
    "touchline:correction": CorrectionEvent;
    "touchline:status": StatusEvent;
    "touchline:state": StateEvent;
  }
}

export {};
