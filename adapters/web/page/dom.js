// Small DOM helpers. None of them accepts HTML as a string.

/** An element with attributes (`on…` are listeners) and children; null, undefined and false are skipped. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An icon; its button has the label. */
export function icon(name) {
  return el("span", { class: `icon icon-${name}`, "aria-hidden": "true" });
}

/** Set the text only if it changes, so that a selection in it survives. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Hide a node, or show it; to set what is set would make the browser style it again. */
export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/**
 * Text from elsewhere for a tooltip or an announcement, where no element can isolate it: invisible
 * isolates keep its directions inside.
 */
export const isolated = (text) => `\u2068${text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "")}\u2069`;

/** A random UUID; `crypto.randomUUID` is missing in insecure contexts. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Save bytes as a file: without a type, so that no browser opens it as a page of this site. */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Whether touch is the main pointing device. */
export const byTouch = () => matchMedia("(pointer: coarse)").matches;

/** Copy a text to the clipboard, also in insecure contexts and where a browser refuses the newer way. */
export async function copyText(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    copySelected(text);
  }
}

function copySelected(text) {
  const before = document.activeElement;
  const box = el("textarea", { class: "sr", "aria-hidden": "true" });
  box.value = text;
  (document.querySelector("dialog:modal") ?? document.body).append(box); // what is behind one is inert
  box.select();
  document.execCommand("copy");
  box.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
}

/** A tab's storage; what a browser does not store lasts until the tab closes. */
class Memory {
  #unstored = new Map();
  #isForgotten = false;

  constructor(storage) {
    this.storage = storage;
  }

  /** @param {string} key @param {any} [otherwise] */
  get(key, otherwise = null) {
    if (this.#unstored.has(key)) return this.#unstored.get(key) ?? otherwise;
    try {
      return JSON.parse(this.storage().getItem(`threadline.${key}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  set(key, value) {
    this.#unstored.set(key, value);
    if (this.#isForgotten) return;
    try {
      this.storage().removeItem(`threadline.${key}`); // first, so that no earlier value stays if there is no room
      if (value !== null && value !== "") this.storage().setItem(`threadline.${key}`, JSON.stringify(value));
      this.#unstored.delete(key);
    } catch {
      // Full or forbidden: memory has to suffice.
    }
  }

  /** Delete everything, and store nothing more: the page is left, and what still ends in it belongs to no one. */
  forget() {
    this.#isForgotten = true;
    this.#unstored.clear();
    try {
      this.storage().clear();
    } catch {
      // Forbidden, so nothing was stored.
    }
  }
}

/** A channel to the browser's other tabs; a browser that forbids storage may forbid it, too. @returns {BroadcastChannel} */
export function otherTabs(name) {
  try {
    return new BroadcastChannel(name);
  } catch {
    return /** @type {any} */ (Object.assign(new EventTarget(), { postMessage() {} }));
  }
}

/** A key of an input method: Safari sends the Enter that ends a composition with code 229. */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;

export const tab = new Memory(() => sessionStorage);
export const browser = new Memory(() => localStorage);
