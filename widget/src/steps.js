// @ts-check
/**
 * What a server that cannot carry its pages as they are asks of them, step by step (docs/protocol.md, "The ladder").
 * Heartbeats and answers say the step; what is not understood is no step.
 */

/** From this step on pages leave their streams. */
const STEP_LONG_POLL = 2;
/** From this step on no request is held. */
export const STEP_POLL = 3;
/** From this step on polls come rarely, too. */
export const STEP_STALE = 4;

/** Over this time those who heard of it together leave, or come back: each at a time drawn for itself. */
const MOVE_MS = 10_000;
/** From the first step on, who lost a stream comes back over this time. */
const RETRY_SPREAD_MS = 30_000;

export class Steps {
  step = 0;
  /** Whether no stream is wanted: this page has left it, or is leaving it. */
  isBlocked = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} onConnection `isBlocked` may have changed */
  constructor(onConnection) {
    this.onConnection = onConnection;
  }

  /**
   * A frame or an answer came. What a cache kept may say another step than the server, for a moment: what was heard
   * last counts when the time has come.
   *
   * @param {any} step what it says; nothing is the first step, 0
   */
  hear(step) {
    this.step = step | 0;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.isBlocked = this.step >= STEP_LONG_POLL;
      this.onConnection();
    }, Math.random() * MOVE_MS);
  }

  /** How long a lost stream waits at least, drawn anew each time. */
  get retryMs() {
    return this.step && Math.random() * RETRY_SPREAD_MS;
  }
}
