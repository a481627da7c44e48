// @ts-check
/** Every text that the console's scripts show. */

/** By type of event; a goal's and a penalty's kinds have names of their own. @type {Record<string, string>} */
export const EVENT_NAMES = {
  GOAL: "Goal",
  OWN_GOAL: "Own goal",
  PENALTY: "Penalty scored",
  PENALTY_MISSED: "Penalty missed",
  SHOOTOUT_SCORED: "Shoot-out: scored",
  SHOOTOUT_MISSED: "Shoot-out: missed",
  YELLOW_CARD: "Yellow card",
  SECOND_YELLOW: "Second yellow",
  RED_CARD: "Red card",
  SUBSTITUTION: "Substitution",
  VAR: "VAR review",
  STOPPAGE_ANNOUNCED: "Added time",
  STATUS_CHANGE: "Status",
  SCORE_OVERRIDE: "Official result",
  MATCH_INFO: "Match details",
  NOTE: "Note",
  LINE_UP: "Line-up",
  STAT: "Statistic",
};

/** @type {Record<string, string>} */
export const PERIODS = {
  PRE: "Before kick-off",
  H1: "First half",
  HT: "Half-time",
  H2: "Second half",
  BREAK_ET: "Before extra time",
  ET1: "Extra time, first half",
  ET_HT: "Half-time of extra time",
  ET2: "Extra time, second half",
  BREAK_PENS: "Before the shoot-out",
  PENS: "Shoot-out",
  POST: "Over",
};

/** @type {Record<string, string>} */
export const STATUSES = {
  SCHEDULED: "Scheduled",
  DELAYED: "Delayed",
  LIVE: "In play",
  HALF_TIME: "Half-time",
  EXTRA_TIME: "Extra time",
  PENALTIES: "Shoot-out",
  INTERRUPTED: "Interrupted",
  SUSPENDED: "Suspended",
  FT: "Full time",
  AET: "After extra time",
  FT_PENS: "After the shoot-out",
  POSTPONED: "Postponed",
  CANCELLED: "Cancelled",
  ABANDONED: "Abandoned",
  AWARDED: "Awarded",
};

/** @type {Record<string, string>} */
export const STEPS = {
  kickOff: "Kick-off",
  halfTime: "Half-time",
  secondHalf: "Second half",
  fullTime: "Full time",
  beforeExtra: "To extra time",
  extraFirst: "Extra time, 1st half",
  extraBreak: "Break",
  extraSecond: "Extra time, 2nd half",
  afterExtra: "Full time (a.e.t.)",
  shootOut: "Shoot-out",
  afterShootOut: "End of shoot-out",
  interrupt: "Interrupt",
  resume: "Resume",
  abandon: "Abandon",
  postpone: "Postpone",
  reopen: "Back in play",
};

/** How far an entry has come. @type {Record<string, string>} */
export const STATES = {
  queued: "Queued",
  sent: "Sent",
  logged: "In the log",
  seen: "Seen by viewers",
};

/** The state of the connection. @type {Record<string, string>} */
export const LINKS = {
  connecting: "Connecting",
  open: "Connected",
  offline: "Offline: entries are queued",
  "signed-out": "Signed out",
};

/** Words of a change in the history. @type {Record<string, string>} */
export const OPS = { ADD: "entered", AMEND: "amended", RETRACT: "took back", UNDO: "undid", CLOCK: "moved the start of" };

/** What a review of each kind can come to: the button, what the log says, and why the event goes. */
export const OUTCOMES = {
  goal: [
    { label: "Goal stands", outcome: "Goal stands", reason: "" },
    { label: "No goal: offside", outcome: "No goal: offside", reason: "VAR: offside" },
    { label: "No goal: handball", outcome: "No goal: handball", reason: "VAR: handball" },
    { label: "No goal: foul", outcome: "No goal: foul", reason: "VAR: foul" },
  ],
  card: [
    { label: "Card stands", outcome: "Red card confirmed", reason: "" },
    { label: "No card", outcome: "Red card cancelled", reason: "VAR: no card" },
  ],
  other: [
    { label: "Decision stands", outcome: "Decision stands", reason: "" },
    { label: "Penalty", outcome: "Penalty awarded", reason: "" },
    { label: "No penalty", outcome: "No penalty", reason: "" },
    { label: "Red card", outcome: "Red card given", reason: "" },
    { label: "Overturned", outcome: "Decision overturned", reason: "" },
  ],
};
export const UNDER_REVIEW = { goal: "Goal under review", card: "Red card under review", other: "Under review" };

/** The keys, as the help shows them. @type {[string, string][]} */
export const KEYS = [
  ["g", "Goal"],
  ["p", "Penalty scored (a kick, in a shoot-out)"],
  ["m", "Penalty missed"],
  ["o", "Own goal"],
  ["y", "Yellow card"],
  ["d", "Second yellow"],
  ["r", "Red card"],
  ["s", "Substitution"],
  ["v", "Under review: the last goal or red card"],
  ["1 – 5", "While under review: the outcome"],
  ["t", "Added time"],
  ["n", "Note"],
  ["k", "Next: kick-off, half-time, second half, full time"],
  ["u", "Undo your last entry"],
  ["e", "Amend the last event"],
  ["x", "Take back the last event"],
  ["+  −", "Clock one minute on or back"],
  ["h  a", "In a form: home, away"],
  ["Enter  Esc", "In a form: save, close"],
  ["?", "This help"],
];

export const TEXT = {
  home: "Home",
  away: "Away",
  you: "You",
  team: "Team",
  credited: "Goal counts for",
  minute: "Minute",
  stoppage: "Added",
  player: "Player",
  scorer: "Scorer",
  assist: "Assist",
  playerOn: "On",
  playerOff: "Off",
  note: "Note",
  addedMinutes: "Minutes added",
  type: "What",
  reason: "Reason",
  reasonHint: "shown to viewers",
  save: "Save",
  cancel: "Cancel",
  close: "Close",
  amend: "Amend",
  retract: "Take back",
  undo: "Undo",
  help: "Keys",
  chooseTeam: "Choose a team.",
  nothingToUndo: "There is nothing of yours to undo.",
  cannotUndo: "This entry can no longer be undone. Amend the event instead.",
  nothingYet: "Nothing has been entered yet.",
  noEvent: "There is no event to change.",
  noHistory: "The log has nothing of this match yet.",
  unknown: "The log does not know this match. Your first entry begins it.",
  leftOut: (/** @type {number} */ count) => `${count} earlier events are not shown.`,
  inQueue: (/** @type {number} */ count) =>
    count === 1 ? "1 entry is queued and goes out when the connection is back." : `${count} entries are queued and go out when the connection is back.`,
  queueFull: "The queue is full. Entries are taken again once the connection is back.",
  noStorage: "This browser keeps nothing over a reload: stay on this page while entries are queued.",
  refused: "Refused",
  conflict: "Somebody else changed this first",
  yours: "Yours",
  theirs: "Now in the log",
  takenBack: "Taken back",
  keepTheirs: "Keep theirs",
  putMine: "Put mine on top",
  dismiss: "Dismiss",
  undoReason: "Entered by mistake",
  signIn: "Sign in",
  editing: (/** @type {string} */ what) => `is changing ${what}`,
  underReview: "Under review",
  done: (/** @type {string} */ what, /** @type {string} */ state) => `${what}: ${state}`,
  newer: (/** @type {string} */ what, /** @type {string} */ by) => `${what}, by ${by}`,
  noMatches: "There are no matches yet. Create the first one.",
  noneFound: "No match has this in its name.",
  open: "Open",
  row: "Row",
  problem: "Problem",
  goodRows: (/** @type {number} */ count) => (count === 1 ? "1 match can be created." : `${count} matches can be created.`),
  badRows: (/** @type {number} */ count) => (count === 1 ? "1 row cannot be used:" : `${count} rows cannot be used:`),
  createAll: (/** @type {number} */ count) => (count === 1 ? "Create 1 match" : `Create ${count} matches`),
  createGood: (/** @type {number} */ count) =>
    count === 1 ? "Create the good one, leave the rest out" : `Create the ${count} good ones, leave the rest out`,
  created: (/** @type {number} */ count) => (count === 1 ? "1 match was created." : `${count} matches were created.`),
  failed: "The server did not answer. Try again.",
  fileTooLarge: "This file is too large for a list of fixtures.",
};
