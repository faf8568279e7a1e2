// Prints a whole thread, also the messages that are not loaded: they are read and drawn on a sheet of
// their own, which only paper shows.
import { asApiError } from "./api.js";
import { el } from "./dom.js";
import { counted, fullTime } from "./format.js";
import { MessageView } from "./message.js";

const PICTURES_MS = 8_000; // a picture that takes longer is left out
let busy = false;

/**
 * @param {object} sheet
 * @param {string} sheet.title
 * @param {string} sheet.about
 * @param {(after: number | null) => Promise<{messages: any[], next: number | null}>} sheet.read a page
 * @param {any} sheet.pictures
 * @param {(words: string) => void} sheet.say
 */
export async function printMessages({ title, about, read, pictures, say }) {
  if (busy) return;
  busy = true;
  say("Preparing the pages…");
  try {
    const messages = await readAll(read);
    const sheet = drawn(title, `${about} · ${counted(messages.length, "message", "messages")}`, messages, pictures);
    document.body.append(sheet);
    document.body.classList.add("printing");
    await loaded(sheet, performance.now() + PICTURES_MS);
    addEventListener("afterprint", () => clear(sheet), { once: true });
    print();
  } catch (error) {
    say(asApiError(error).message);
    busy = false;
  }
}

function clear(sheet) {
  sheet.remove();
  document.body.classList.remove("printing");
  busy = false;
}

async function readAll(read) {
  const messages = [];
  for (let next = null, first = true; first || next !== null; first = false) {
    const page = await read(next);
    messages.push(...page.messages);
    next = page.next;
  }
  return messages;
}

function drawn(title, about, messages, pictures) {
  const head = el("header", {}, el("h1", { dir: "auto" }, title), el("p", { dir: "auto" }, about));
  let before;
  const nodes = messages.map((message) => {
    const view = new MessageView({ ...message, id: `print-${message.id}` }, pictures);
    view.update({ ...message, id: `print-${message.id}` }, before);
    before = message;
    return view.node;
  });
  const sheet = el("div", { id: "sheet" }, head, ...nodes);
  // The address of a link is printed behind it, unless it is the link's text.
  for (const link of sheet.querySelectorAll(".text a[href]")) link.classList.toggle("bare", link.textContent === link.getAttribute("href"));
  return sheet;
}

/** Wait until all pictures have arrived, or for the time `until`: a thumbnail stays hidden before that. */
async function loaded(sheet, until) {
  const waits = () => [...sheet.querySelectorAll(".picture")].some((image) => !image.complete || image.hidden);
  while (waits() && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 100));
}

export function installPrinting(page) {
  const printThread = () => {
    const id = page.state.openId;
    return printMessages({
      title: page.state.summary(id)?.name ?? page.state.open?.name ?? "Thread",
      about: fullTime(new Date()),
      read: (after) => page.api.get(`/app/threads/${id}/messages${after === null ? "" : `?after=${after}`}`),
      pictures: page.pictures,
      say: (words) => page.say(words),
    });
  };
  page.header.menu.add({ label: "Print", icon: "print", order: 65, run: printThread });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "p" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    if (!page.state.openId && !page.shared?.isOpen) return;
    event.preventDefault();
    if (page.shared?.isOpen) page.shared.print();
    else printThread();
  });
}
