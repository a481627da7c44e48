// @ts-check
/**
 * "Notify me of goals" on a match page of our own, where the origin sends Web Push (docs/push.md).
 *
 * The browser asks for permission only after a click. It has one subscription for this origin; the origin remembers
 * which matches it is for, and this browser does, too, so that a page can show it without a request.
 */

/** The matches that this browser is notified of, newest last, each with the delay and the language of its notifications. */
const KEY = "touchline-push";
/** The origin has the same bound. */
const MATCHES_MAX = 50;

const control = /** @type {HTMLElement | null} */ (document.querySelector("[data-tl-push]"));
const element = document.querySelector("main > live-score");
const can = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
/** The origin may be below a path. The folder of this file is directly below it. */
const BASE = new URL("..", import.meta.url);

if (control && element && can) enhance(control, element);

/** @returns {Map<string, string>} */
function remembered() {
  try {
    return new Map(JSON.parse(localStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}

/** @param {Map<string, string>} matches */
function remember(matches) {
  try {
    localStorage.setItem(KEY, JSON.stringify([...matches].slice(-MATCHES_MAX)));
  } catch {
    // The origin knows it all the same.
  }
}

/** @param {string} text base64url @returns {Uint8Array<ArrayBuffer>} */
function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

/** The service worker's registration; keep.js makes the same one. @returns {Promise<ServiceWorkerRegistration>} */
async function registration() {
  await navigator.serviceWorker.register(new URL("widget/sw.js", BASE), { scope: BASE.pathname });
  return navigator.serviceWorker.ready;
}

/**
 * @param {"POST" | "DELETE"} method
 * @param {object} body
 */
async function ask(method, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(new URL("push", BASE), { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${response.status}`);
}

/**
 * @param {HTMLElement} control
 * @param {Element} element
 */
function enhance(control, element) {
  const match = element.getAttribute("match") ?? "";
  const delay = Number(element.getAttribute("delay")) || 0;
  const { lang } = document.documentElement;
  const button = /** @type {HTMLButtonElement} */ (control.querySelector("button"));
  const status = /** @type {HTMLElement} */ (control.querySelector("[role=status]"));
  const { tlPush: key = "", tlOn: on = "", tlOff: off = "", tlState: state = "", tlBlocked: blocked = "", tlFailed: failed = "" } =
    control.dataset;
  let isOn = false;

  /** @param {boolean} subscribed @param {string} [text] */
  const show = (subscribed, text) => {
    isOn = subscribed;
    button.textContent = subscribed ? off : on;
    status.textContent = text ?? (subscribed ? state : "");
  };

  const subscribe = async () => {
    if ((await Notification.requestPermission()) !== "granted") {
      // Closed without an answer, it can be asked again.
      show(false, Notification.permission === "denied" ? blocked : "");
      return;
    }
    const { pushManager } = await registration();
    const options = { userVisibleOnly: true, applicationServerKey: bytes(key) };
    const known = await pushManager.getSubscription();
    // A subscription to another key is worth nothing: the origin has a new one.
    const old = known?.options.applicationServerKey;
    if (old && String(new Uint8Array(old)) !== String(options.applicationServerKey)) await known.unsubscribe();
    const subscription = await pushManager.subscribe(options);
    const { endpoint, keys } = subscription.toJSON();
    await ask("POST", { endpoint, keys, match, delay, lang });
    const matches = remembered();
    matches.delete(match); // so that it comes last
    remember(matches.set(match, `${delay} ${lang}`));
    show(true);
  };

  const unsubscribe = async () => {
    const { pushManager } = await registration();
    const subscription = await pushManager.getSubscription();
    const others = remembered();
    others.delete(match);
    if (subscription) {
      await ask("DELETE", { endpoint: subscription.endpoint, match });
      if (!others.size) await subscription.unsubscribe();
    }
    remember(others);
    show(false);
  };

  let isBusy = false;
  /** @param {() => Promise<void>} change */
  const run = async (change) => {
    if (isBusy) return;
    isBusy = true;
    button.setAttribute("aria-busy", "true");
    try {
      await change();
    } catch {
      show(isOn, failed);
    }
    button.removeAttribute("aria-busy");
    isBusy = false;
  };

  button.addEventListener("click", () => run(isOn ? unsubscribe : subscribe));
  const known = Notification.permission === "granted" ? remembered().get(match) : undefined;
  show(known !== undefined, Notification.permission === "denied" ? blocked : undefined);
  // A reader who has chosen another delay must not be notified ahead of it.
  if (known !== undefined && known !== `${delay} ${lang}`) void run(subscribe);
  control.hidden = false;
}
