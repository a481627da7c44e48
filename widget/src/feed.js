// @ts-check
/**
 * Everything that this page follows at one origin, and who brings it: this tab, or the tab that leads.
 *
 * It knows the id that each match has reached, so a connection resumes from there, and drops what comes twice.
 */

import { ServerClock, elapsedMs, mark } from "./clock.js";
import { isNewer, knownUntilMs, parts } from "./ids.js";
import { afterwards, whenIdle } from "./later.js";
import { Ladder } from "./ladder.js";
import { Tabs } from "./tabs.js";
import { EVENT_END, EVENT_GAP, EVENT_HEARTBEAT, EVENT_SCORE } from "./wire.js";

/** A reader who comes back within this time finds the page as it was. */
const HIDDEN_MS = 300_000;
/** A tab that says nothing for so long is gone. Hidden ones may speak once a minute. */
const TAB_MS = 150_000;
const SAY_MS = 4_000;
/** What the leader says of its connection holds for so long. */
const LED_MS = 11_000;
/** A leader that gets nothing for so long lets another tab try: its page's policy may forbid it. Later, twice as long. */
const YIELD_MS = 15_000;
/** Deltas are kept for so long, for an element or a tab that joins at an older id: the longest delay, and what a join takes. */
const RECENT_MS = 130_000;
/** Elements of one page join one after another. */
const JOIN_MS = 5;

/** @typedef {import("./polls.js").MatchFrame} MatchFrame */
/** @typedef {{ onFrame(frame: MatchFrame): void, onConnection(): void }} Reader */
/** @typedef {{ readers: Set<Reader>, cursor: string, heartbeat: MatchFrame | null }} Followed a list */

export class Feed {
  /** @type {Map<string, Feed>} */
  static #all = new Map();

  clock = new ServerClock();
  /** @type {Map<string, Set<Reader>>} */
  #readers = new Map();
  /** The id that each match has reached; "" for none. @type {Map<string, string>} */
  #at = new Map();
  /** @type {Map<string, MatchFrame>} */
  #heartbeats = new Map();
  /** Of each match the deltas of late, in order. @type {Map<string, { frame: MatchFrame, came: import("./clock.js").Mark }[]>} */
  #recent = new Map();
  /** The other tabs, if this one leads. @type {Map<string, { matches: [string, string][], lists: [string, string][], seen: import("./clock.js").Mark }>} */
  #tabs = new Map();
  /** The lists of this page and, if it leads, of the others. @type {Map<string, Followed>} */
  #lists = new Map();
  /** What the connection asks for: one list, or that of all matches if there are several. */
  #list = { list: /** @type {string | null} */ (null), listId: "" };
  /** @type {Ladder | null} */
  #ladder = null;
  #me = Math.random().toString(36).slice(2);
  #said = mark();
  #led = { connection: "connecting", since: mark() };
  /** Since when this tab's own connection brings nothing, and how long it may. */
  #idle = mark();
  #patienceMs = YIELD_MS;
  #isOpen = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hiddenTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #joining;

  /** @param {string} base the URL of the origin */
  constructor(base) {
    this.base = base;
    this.#shared = new Tabs(
      `live-score-v${PROTOCOL} ${base}`,
      () => this.#onRole(),
      (message) => this.#onMessage(message),
      () => elapsedMs(this.#said) > SAY_MS && this.#lead(),
    );
    this.#listen();
    // A network that fails later finds on the page what goes on without a stream.
    whenIdle(afterwards);
  }

  /** @param {string} base @returns {Feed} */
  static of(base) {
    let feed = Feed.#all.get(base);
    if (!feed) Feed.#all.set(base, (feed = new Feed(base)));
    return feed;
  }

  /** @returns {"connecting" | "open" | "polling" | "waiting" | "closed"} */
  get connection() {
    if (!this.#isOpen) return "closed";
    if (this.#ladder) return this.#ladder.connection;
    return elapsedMs(this.#led.since) < LED_MS ? /** @type {any} */ (this.#led.connection) : "waiting";
  }

  /**
   * @param {string} match
   * @param {Reader} reader
   * @param {string} id what it shows; "" for nothing
   */
  follow(match, reader, id) {
    const readers = this.#readers.get(match);
    if (readers) readers.add(reader);
    else this.#readers.set(match, new Set([reader]));
    if (!this.#at.has(match)) this.#at.set(match, id);
    else for (const frame of this.#since(match, id)) reader.onFrame(frame);
    this.#join();
  }

  /**
   * @param {string} match
   * @param {Reader} reader
   */
  leave(match, reader) {
    const readers = this.#readers.get(match);
    readers?.delete(reader);
    if (readers?.size) return;
    this.#readers.delete(match);
    // An element whose delay or language is changed is back before this page has let go of the match.
    this.#join();
  }

  /**
   * Follow the rows of a list. Its frames have the match "".
   *
   * @param {string} list
   * @param {string} cursor of what is shown; "" for none
   * @param {Reader} reader
   */
  followList(list, cursor, reader) {
    const followed = this.#lists.get(list);
    if (followed) {
      followed.readers.add(reader);
      for (const frame of listSince(followed, list, cursor)) reader.onFrame(frame);
    } else this.#lists.set(list, { readers: new Set([reader]), cursor, heartbeat: null });
    this.#join();
  }

  /**
   * @param {string} list
   * @param {Reader} reader
   */
  leaveList(list, reader) {
    this.#lists.get(list)?.readers.delete(reader);
    this.#join();
  }

  /** Something at the origin answered, so a stream may, too. */
  answered() {
    this.#ladder?.answered();
  }

  /** An answer beside the stream says the step of the server's ladder. @param {unknown} step */
  hearStep(step) {
    this.#ladder?.steps.hear(step);
  }

  get #isUsed() {
    return this.#readers.size > 0 || [...this.#lists.values()].some(({ readers }) => readers.size);
  }

  // ---- connections -----------------------------------------------------------------------------------

  /** @type {Tabs} */
  #shared;

  #join() {
    clearTimeout(this.#joining);
    this.#joining = setTimeout(() => {
      for (const match of this.#at.keys()) if (!this.#ladder || !this.#isUsed) this.#forgetUnread(match);
      if (!this.#isUsed) return this.#suspend();
      if (!this.#isOpen) {
        this.#isOpen = true;
        this.#shared.open();
      }
      this.#want();
    }, JOIN_MS);
  }

  #suspend() {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#shared.post({ gone: this.#me });
    this.#shared.close();
    this.#ladder?.close();
    this.#ladder = null;
    this.#tabs.clear();
    this.#changed();
  }

  #onRole() {
    if (!this.#isOpen) return;
    this.#ladder?.close();
    this.#ladder = null;
    this.#idle = mark();
    if (this.#shared.role === "follower") {
      this.#led = { connection: "connecting", since: mark() };
    } else {
      this.#ladder = new Ladder(
        this.base,
        this.#at,
        this.#list,
        this.clock,
        (frame) => this.#onFrame(frame),
        () => {
          this.#lead();
          this.#changed();
        },
      );
      this.#shared.post({ ask: this.#me });
      this.#lead();
    }
    this.#want();
    this.#changed();
  }

  /** Say what this page follows: to the leader, or to our own connection. */
  #want() {
    if (!this.#ladder) {
      const matches = [...this.#at].filter(([match]) => this.#readers.has(match));
      const lists = [...this.#lists].filter(([, { readers }]) => readers.size);
      this.#shared.post({ tab: this.#me, matches, lists: lists.map(([list, { cursor }]) => [list, cursor]) });
      return;
    }
    const wanted = new Set(this.#readers.keys());
    const wantedLists = new Set([...this.#lists].filter(([, { readers }]) => readers.size).map(([name]) => name));
    for (const [tab, { matches, lists, seen }] of this.#tabs) {
      if (elapsedMs(seen) > TAB_MS) this.#tabs.delete(tab);
      else {
        for (const [match] of matches) wanted.add(match);
        for (const [name] of lists) wantedLists.add(name);
      }
    }
    for (const list of this.#lists.keys()) if (!wantedLists.has(list)) this.#lists.delete(list);
    this.#list.list = wantedLists.size > 1 ? "" : ([...wantedLists][0] ?? null);
    this.#list.listId = this.#oldestCursor();
    for (const match of this.#at.keys()) if (!wanted.has(match)) this.#forgetUnread(match);
    Object.assign(this.#ladder.list, this.#list);
    this.#ladder.update();
  }

  /** @param {string} match */
  #forgetUnread(match) {
    if (this.#readers.has(match)) return;
    for (const kept of [this.#at, this.#heartbeats, this.#recent]) kept.delete(match);
  }

  /** From where a connection goes on so that no list misses a row. */
  #oldestCursor() {
    const cursors = [...this.#lists.values()].map(({ cursor }) => cursor);
    // A list without a cursor is the oldest of all.
    return cursors.sort((one, other) => knownUntilMs(one) - knownUntilMs(other))[0] ?? "";
  }

  /** Say that this tab leads, and how it is connected. */
  #lead() {
    this.#said = mark();
    if (!this.#ladder) return;
    const { connection } = this.#ladder;
    this.#tell({ lead: this.#me, connection });
    if (connection === "open" || connection === "polling") this.#patienceMs = YIELD_MS;
    else if (this.#tabs.size && elapsedMs(this.#idle) > this.#patienceMs) {
      this.#patienceMs *= 2;
      this.#shared.yield();
    } else return;
    this.#idle = mark();
  }

  /**
   * Say something to the other tabs, and what the server's clock says: a frame alone does not show how late it comes.
   *
   * @param {object} message
   */
  #tell(message) {
    const { known, latestMs } = this.clock;
    this.#shared.post({ ...message, offset: known ? latestMs - Date.now() : undefined });
  }

  /** @param {any} message */
  #onMessage({ lead, ask, tab, matches, lists = [], gone, frame, to, connection, offset }) {
    if (this.#ladder) {
      if (tab) {
        this.#tabs.set(tab, { matches, lists, seen: mark() });
        for (const [list, cursor] of lists) {
          const followed = this.#lists.get(list);
          if (!followed) this.#lists.set(list, { readers: new Set(), cursor, heartbeat: null });
          else for (const since of listSince(followed, list, cursor)) this.#tell({ frame: since, to: tab });
        }
        for (const [match, id] of matches) {
          if (!this.#at.has(match)) this.#at.set(match, id);
          else for (const since of this.#since(match, id)) this.#tell({ frame: since, to: tab });
        }
        this.#lead();
        this.#want();
      } else if (gone && this.#tabs.delete(gone)) this.#want();
      return;
    }
    if (offset !== undefined) this.clock.adopt(offset);
    if (lead) {
      const before = this.connection;
      this.#led = { connection, since: mark() };
      if (before !== this.connection) this.#changed();
      if (elapsedMs(this.#said) > TAB_MS / 3) {
        this.#said = mark();
        this.#want();
      }
    } else if (ask) this.#want();
    else if (frame && (!to || to === this.#me)) {
      this.#onFrame(frame);
    }
  }

  /** @param {MatchFrame} frame */
  #onFrame(frame) {
    const { match, event, id } = frame;
    if (match === "") {
      if (this.#ladder) this.#tell({ frame });
      for (const [list, followed] of this.#lists) {
        if (frame.list !== "" && frame.list !== list) continue;
        // Rows of one time may come in pieces: only a heartbeat says that all before it were there.
        if (event === EVENT_HEARTBEAT) Object.assign(followed, { cursor: id, heartbeat: { ...frame, list } });
        for (const reader of followed.readers) reader.onFrame(frame);
      }
      this.#list.listId = this.#oldestCursor();
      if (this.#ladder) this.#ladder.list.listId = this.#list.listId;
      return;
    } else if (event === EVENT_SCORE) {
      const at = this.#at.get(match) ?? "";
      if (!isNewer(id, at)) return; // it came twice
      // The tab that leads was ahead of this one: it has to say what lies between.
      if (!this.#ladder && at && !isNext(id, at)) return this.#want();
      this.#at.set(match, id);
      const recent = (this.#recent.get(match) ?? []).filter(({ came }) => elapsedMs(came) < RECENT_MS);
      this.#recent.set(match, [...recent, { frame, came: mark() }]);
    } else if (event === EVENT_GAP) {
      this.#at.set(match, id);
    } else if (event === EVENT_HEARTBEAT) {
      this.#heartbeats.set(match, { ...frame, snapshot: undefined });
      // A poll has no deltas to wait for: the state is where to go on from.
      if (frame.snapshot) this.#at.set(match, id);
    } else if (event === EVENT_END) {
      this.#at.delete(match);
      if (this.#ladder) setTimeout(() => this.#ladder && this.#want());
    }
    if (this.#ladder) this.#tell({ frame });
    for (const reader of this.#readers.get(match) ?? []) reader.onFrame(frame);
  }

  /**
   * What somebody who shows `id` has to hear to be where this tab is.
   *
   * @param {string} match
   * @param {string} id
   * @returns {MatchFrame[]}
   */
  #since(match, id) {
    const at = this.#at.get(match) ?? "";
    const isBehind = at && (!id || isNewer(at, id) || parts(at)[0] !== parts(id)[0]);
    const recent = (this.#recent.get(match) ?? []).map(({ frame }) => frame).filter((frame) => id && isNewer(frame.id, id));
    let last = id;
    const isWhole = recent.every((frame) => isNext(frame.id, last) && (last = frame.id)) && last === at;
    /** @type {MatchFrame[]} */
    const gap = [{ match, event: EVENT_GAP, id: at, data: "" }];
    const frames = !isBehind ? [] : isWhole ? recent : gap;
    const heartbeat = this.#heartbeats.get(match);
    return heartbeat ? [...frames, heartbeat] : frames;
  }

  #changed() {
    for (const readers of this.#readers.values()) for (const reader of readers) reader.onConnection();
    for (const { readers } of this.#lists.values()) for (const reader of readers) reader.onConnection();
  }

  // ---- the page --------------------------------------------------------------------------------------

  #listen() {
    const resume = () => {
      if (this.#isUsed && !this.#isOpen) this.#join();
      this.#ladder?.wake();
      this.#changed();
    };
    addEventListener("online", resume);
    // The connection may be dead, or local and quite alive: a new one finds out.
    addEventListener("offline", () => {
      this.#ladder?.restart();
      this.#changed();
    });
    // An open connection keeps a page out of the back/forward cache, and a frozen one serves no other tab.
    addEventListener("pagehide", () => this.#suspend());
    document.addEventListener("freeze", () => this.#suspend());
    addEventListener("pageshow", resume);
    document.addEventListener("resume", resume);
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#hiddenTimer);
      if (!document.hidden) return resume();
      if (this.#tabs.size) this.#shared.yield();
      this.#hiddenTimer = setTimeout(() => this.#suspend(), HIDDEN_MS);
    });
  }
}

/** Whether an id follows another at once. @param {string} id @param {string} before */
function isNext(id, before) {
  const [[epoch, seq], [epochBefore, seqBefore]] = [parts(id), parts(before)];
  return epoch === epochBefore && seq === seqBefore + 1;
}

/**
 * What a page whose rows are of `cursor` has to hear to be where a list is.
 *
 * @param {Followed} followed
 * @param {string} list
 * @param {string} cursor
 * @returns {MatchFrame[]}
 */
function listSince({ cursor: at, heartbeat }, list, cursor) {
  const isBehind = knownUntilMs(cursor) < knownUntilMs(at);
  /** @type {MatchFrame[]} */
  const frames = isBehind ? [{ match: "", list, event: EVENT_GAP, id: "", data: "" }] : [];
  return heartbeat ? [...frames, heartbeat] : frames;
}
