// One's own question: copy it, or edit it in place and run the conversation again from there.
import { asApiError } from "./api.js";
import { el, icon, isComposing, setHidden, uuid } from "./dom.js";

/** "Edit" and "Copy" in the head of a person's own question. */
export class OwnTools {
  #edit = tool("edit", "Edit", { "data-edit": "" });
  #copy = tool("copy", "Copy", { "data-copy": "message" });

  constructor() {
    this.node = el("span", { class: "own", hidden: true }, this.#edit, this.#copy);
  }

  /** Channel lines have no tools: they open their thread. */
  show({ role, state, text, thread, editable = false }) {
    const sent = state !== "sending" && state !== "waiting";
    setHidden(this.node, role !== "user" || !sent || thread !== undefined);
    setHidden(this.#edit, !editable);
    setHidden(this.#copy, this.node.hidden || !text);
  }
}

function tool(sign, words, data) {
  return el("button", { type: "button", class: "quiet", title: words, "aria-label": words, ...data }, icon(sign));
}

/** Open questions of the thread as text boxes. */
export function installEditing(page) {
  const drafts = new Map(); // by message: what was written and not run
  page.thread.root.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-edit]");
    if (button) open(page, button.closest("article"), drafts);
  });
}

function open(page, article, drafts) {
  const known = article.querySelector("form.edit textarea");
  if (known) return known.focus();
  const { id } = article.dataset;
  const item = page.state.open?.messages.find((message) => message.id === id);
  if (!item) return;
  const box = el("textarea", { rows: "1", "aria-label": "Your question", spellcheck: "true", dir: "auto" });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const run = el("button", { class: "run" }, "Run again");
  const cancel = el("button", { type: "button", class: "cancel" }, "Cancel");
  const note = el("p", { class: "note" }, item.attachments?.some(({ is_link }) => !is_link) ? "Its files stay with it. The earlier version is kept." : "The earlier version is kept.");
  const form = el("form", { class: "edit", novalidate: true }, box, problem, el("div", { class: "row" }, note, cancel, run));
  // The same `client` for another try with the same text, so that nothing is asked twice.
  const draft = { id, form, box, problem, run, article, drafts, client: uuid() };
  box.value = drafts.get(id) ?? item.text;
  article.classList.add("editing");
  article.querySelector(":scope > .text").after(form);
  const fit = () => {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + 2}px`;
    run.disabled = !box.value.trim() && !item.attachments?.length;
  };
  box.addEventListener("input", () => {
    draft.client = uuid();
    drafts.set(id, box.value);
    fit();
  });
  cancel.addEventListener("click", () => close(draft, article.querySelector("[data-edit]")));
  form.addEventListener("keydown", (event) => pressed(event, draft));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!run.disabled) send(page, draft);
  });
  fit();
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
}

function pressed(event, draft) {
  if (isComposing(event)) return;
  if (event.key === "Escape") close(draft, draft.article.querySelector("[data-edit]"));
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) draft.form.requestSubmit();
  else return;
  event.preventDefault(); // Esc would close the thread
}

function close({ id, form, article, drafts }, then) {
  drafts.delete(id);
  form.remove();
  article.classList.remove("editing");
  (then?.checkVisibility() ? then : article).focus();
}

async function send(page, draft) {
  const { id, form, box, problem, run } = draft;
  const thread = page.state.openId;
  run.disabled = box.readOnly = true;
  problem.hidden = true;
  try {
    await page.api.post(`/app/threads/${thread}/edits`, { message: id, text: box.value, client_id: draft.client });
    const held = form.contains(document.activeElement) || document.activeElement === document.body;
    close(draft, null);
    if (held) page.thread.box.box.focus();
    page.say("Your edited question is running.");
    page.onEdited(thread);
  } catch (error) {
    problem.textContent = asApiError(error).message;
    problem.hidden = false;
    run.disabled = box.readOnly = false;
    box.focus();
  }
}
