/** What the console's server and its scripts say to each other. */

export type Team = "home" | "away";
export type Link = "connecting" | "open" | "offline" | "signed-out";
export type EntryState = "queued" | "sent";

export interface EventBody {
  event_id: string;
  rev: number;
  op?: string;
  type: string;
  period: string;
  minute: number | null;
  stoppage: number;
  team: Team | null;
  player: string | null;
  player2: string | null;
  detail: Record<string, any>;
  status: string;
  reason: string | null;
  source_ts?: number | null;
}

/** An event of the match as the server sends it, with who brought its revision in force. */
export interface MatchEvent extends EventBody {
  by: string;
  by_ms: number;
}

export interface Change {
  op: "ADD" | "AMEND" | "RETRACT";
  event_id: string;
  base_rev: number;
  at_ms?: number | null;
  type?: string;
  period?: string;
  minute?: number | null;
  stoppage?: number;
  team?: Team | null;
  player?: string | null;
  player2?: string | null;
  detail?: Record<string, any>;
  status?: string;
  reason?: string | null;
}

export interface Entry {
  id: string;
  pressedMs: number;
  /** Of two that were made in one millisecond. */
  place: number;
  label: string;
  changes: Change[];
  state: EntryState;
}

export interface LogRecord {
  offset: number;
  appended_ms: number;
  key: string;
  webhook_id: string;
  event: EventBody;
}

export interface MatchView {
  match_id: string;
  known: boolean;
  info: any;
  status: string;
  period: string;
  score: { home: number; away: number };
  shootout: { home: number; away: number } | null;
  clock: { period: string; minute: number | null; stoppage: number };
  running: { start_ms: number; base: number; limit: number } | null;
  events: MatchEvent[];
  retracted: MatchEvent[];
  left_out: number;
  records: LogRecord[];
}

export interface Operator {
  connection: string;
  operator: string;
  editing: string;
}

export interface Conflict {
  event_id: string;
  seen_rev: number;
  rev: number;
  retracted: boolean;
  theirs: EventBody | null;
  reason: string | null;
  by: string;
  by_ms: number;
}

export interface ConnectionEvents {
  welcome(connection: string): void;
  match(match: MatchView): void;
  operators(operators: Operator[]): void;
  logged(entry: Entry, message: any): void;
  refused(entry: Entry, message: any): void;
  changed(): void;
}

/** An event as it is shown: what the log has, with what of this browser's is on its way. */
export interface Row extends MatchEvent {
  state: "queued" | "sent" | "logged" | "seen";
  isRetracted: boolean;
}

export interface Moment {
  period: string;
  minute: number | null;
  stoppage: number;
}
