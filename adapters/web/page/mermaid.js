// Diagrams of Mermaid code, drawn on request. Mermaid runs in a sandboxed frame that can load and
// reach nothing; what comes back is shown as an image, in which no script runs either.
import { browser, el } from "./dom.js";

const FRAME = "/static/diagram";
const LOADING_MS = 45_000; // Mermaid has 0.7 MB compressed
const DRAWING_MS = 15_000;
const IDLE_MS = 60_000; // after which the frame goes
const LARGEST = 3_000_000; // characters of an image
const LONGEST = 10_000; // pixels of its sides

/** @type {HTMLIFrameElement | null} */
let frame = null;
let idle = 0;
/** @type {Promise<any>} */
let before = Promise.resolve(); // one drawing at a time

/** Whether to draw diagrams without a request, as the reader last chose with the button. */
export const drawsDiagrams = () => browser.get("diagrams", false) === true;

/** The button: the diagram, or its source again. */
export function toggleDiagram(figure, say) {
  const shown = figure.querySelector(".diagram");
  browser.set("diagrams", !shown);
  if (shown) return clearDiagram(figure);
  showDiagram(figure, say);
}

export function clearDiagram(figure) {
  figure.querySelector(".diagram")?.remove();
  figure.classList.remove("drawn");
  figure.querySelector("[data-code=diagram]")?.setAttribute("aria-pressed", "false");
}

/** Show the diagram in place of its source, or an error below it. */
export async function showDiagram(figure, say = (_words) => {}) {
  clearDiagram(figure);
  figure.querySelector("[data-code=diagram]").setAttribute("aria-pressed", "true");
  const place = el("div", { class: "diagram" }, el("p", {}, "Drawing…"));
  figure.querySelector("pre").after(place);
  const source = figure.querySelector("pre").textContent;
  try {
    const image = await imageOf(await drawn(source, isDark(figure)), source);
    place.replaceChildren(image);
    place.setAttribute("tabindex", "0"); // scrolls by keyboard
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", "Diagram");
    figure.classList.add("drawn");
    say("The diagram is shown.");
  } catch (error) {
    const words = `This diagram cannot be drawn. ${error instanceof Error ? error.message : ""}`;
    place.replaceChildren(el("p", { dir: "auto" }, words));
    say(words);
  }
}

const isDark = (node) => getComputedStyle(node).colorScheme === "dark" || (getComputedStyle(node).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

function imageOf({ svg, width, height }, source) {
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  const alt = `Diagram: ${source.trim().split(/\s/, 1)[0]}`;
  const image = el("img", { src: address, alt, width: String(Math.ceil(width)), height: String(Math.ceil(height)) });
  return image
    .decode()
    .catch(() => {
      throw new Error("The image is damaged.");
    })
    .then(() => image)
    .finally(() => URL.revokeObjectURL(address));
}

// ── the sandbox ───────────────────────────────────────────────────────────────────────────────
/** An image of the diagram, one after the other. */
function drawn(source, dark) {
  const next = before.then(() => ask(source, dark));
  before = next.catch(() => {});
  return next;
}

async function ask(source, dark) {
  clearTimeout(idle);
  const { port1, port2 } = new MessageChannel();
  try {
    const window = await within(LOADING_MS, open());
    const answer = new Promise((resolve) => {
      port1.onmessage = ({ data }) => resolve(data);
    });
    window.postMessage({ source, dark }, "*", [port2]); // the frame has no origin to name
    return checked(await within(DRAWING_MS, answer));
  } finally {
    port1.close();
    idle = setTimeout(close, IDLE_MS);
  }
}

async function within(milliseconds, work) {
  let timer = 0;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("It took too long.")), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    close(); // what it is busy with must not delay the next one
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function open() {
  if (frame?.contentWindow) return frame.contentWindow;
  const made = el("iframe", { sandbox: "allow-scripts", src: FRAME, class: "sandbox", title: "Diagrams", "aria-hidden": "true", tabindex: "-1" });
  return new Promise((resolve) => {
    made.addEventListener("load", () => {
      frame = made;
      resolve(made.contentWindow);
    });
    document.querySelector(".sandbox")?.remove();
    document.body.append(made);
  });
}

function close() {
  frame = null;
  document.querySelector(".sandbox")?.remove();
}

/** The frame's answer, which is untrusted: anything that runs there may have written it. */
function checked({ svg, width, height, error }) {
  if (typeof error === "string") throw new Error(error.slice(0, 200));
  const isSize = (side) => typeof side === "number" && side > 0 && side <= LONGEST;
  if (typeof svg !== "string" || svg.length > LARGEST || !isSize(width) || !isSize(height)) {
    throw new Error("It is too large.");
  }
  return { svg, width, height };
}

/** Draw the shown diagrams again when the theme changes. */
export function installDiagrams() {
  const again = () => {
    for (const figure of document.querySelectorAll("figure.code.drawn")) showDiagram(figure);
  };
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}
