// @ts-check
/**
 * "Embed this match" on a match's page: a dialog that makes the snippet to measure, beside a preview. Without this
 * script the page has the snippets in <details>.
 */

import { KEY_LANGUAGE } from "./wire.js";

const details = /** @type {HTMLElement | null} */ (document.querySelector("details.embed"));
const template = /** @type {HTMLTemplateElement | null} */ (document.getElementById("embed-dialog"));

if (details && template && "showModal" in HTMLDialogElement.prototype) enhance(details, template);

/**
 * @param {HTMLElement} details
 * @param {HTMLTemplateElement} template
 */
function enhance(details, template) {
  const { match = "", site = "", title = "", script = "", integrity = "" } = details.dataset;
  const base = site || location.origin;
  details.after(template.content.cloneNode(true));
  details.hidden = true;
  const open = /** @type {HTMLButtonElement} */ (document.querySelector(".embed-open"));
  const dialog = /** @type {HTMLDialogElement} */ (document.querySelector(".embed-dialog"));
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  const frame = /** @type {HTMLIFrameElement} */ (dialog.querySelector("iframe"));
  const code = /** @type {HTMLElement} */ (dialog.querySelector("code"));
  const copy = /** @type {HTMLButtonElement} */ (dialog.querySelector(".embed-copy"));
  const note = /** @type {HTMLElement} */ (dialog.querySelector(".embed-note"));
  const pin = /** @type {HTMLElement} */ (dialog.querySelector(".embed-pin"));
  const status = /** @type {HTMLElement} */ (dialog.querySelector("[role=status]"));

  const write = () => {
    const chosen = new FormData(form);
    const [kind, size, theme, lang] = ["kind", "size", "theme", KEY_LANGUAGE].map((name) => String(chosen.get(name) ?? ""));
    const pinned = chosen.has("pinned") && Boolean(integrity);
    const query = new URLSearchParams();
    if (theme) query.set("theme", theme);
    if (size) query.set("size", size);
    if (lang !== "en") query.set(KEY_LANGUAGE, lang);
    const suffix = query.size ? `?${query}` : "";
    const path = `/embed/${match}${suffix}`;
    if (frame.getAttribute("src") !== path) frame.src = path;
    pin.hidden = kind !== "script" || !integrity;
    note.hidden = pin.hidden || !pinned;
    if (kind === "script") {
      const own = [["match", match], ["size", size], ["theme", theme], [KEY_LANGUAGE, lang === "en" ? "" : lang]];
      const attributes = own.filter(([, value]) => value).map(([name, value]) => ` ${name}="${escaped(value)}"`);
      const proof = pinned ? `\n        integrity="${integrity}" crossorigin="anonymous"` : "";
      code.textContent =
        `<script type="module" src="${base}${pinned ? script : "/widget/live-score.js"}"${proof}></${"script"}>\n` +
        `<live-score${attributes.join("")}></live-score>`;
    } else if (kind === "iframe") {
      const height = { ticker: "6rem", card: "16rem" }[size] ?? "32rem";
      code.textContent =
        `<iframe src="${escaped(base + path)}" title="${escaped(title)}" loading="lazy"\n` +
        `        style="border:0;width:100%;height:${height}"></iframe>\n` +
        `<script type="module" src="${base}/widget/frame.js" async></${"script"}>`;
    } else {
      const page = `${base}/match/${match}${lang === "en" ? "" : `?${KEY_LANGUAGE}=${lang}`}`;
      code.textContent = `${base}/oembed?url=${encodeURIComponent(page)}`;
    }
  };

  open.addEventListener("click", () => {
    write();
    dialog.showModal();
  });
  form.addEventListener("change", write);
  // A click beside it closes it, as Escape does.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    frame.removeAttribute("src"); // its stream ends
    open.focus();
  });
  const label = copy.textContent;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent ?? "");
    } catch {
      // Forbidden, or plain HTTP: select it, so that one key copies it.
      getSelection()?.selectAllChildren(code);
      code.parentElement?.focus();
      return;
    }
    copy.textContent = status.textContent = copy.dataset.done ?? "";
    setTimeout(() => {
      copy.textContent = label;
      status.textContent = "";
    }, 2_000);
  });
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&"<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}
