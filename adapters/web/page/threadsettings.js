// The settings of one thread: instructions for the model and a temperature, as far as the rules of the
// place allow them. They apply from the next answer on.
import { asApiError } from "./api.js";
import { el, setText } from "./dom.js";
import { counted } from "./format.js";

const USUAL = 0.7; // where the slider stands before anything was chosen

class ThreadSettings {
  #thread = null;
  /** @type {any} */
  text;
  /** @type {any} */
  slider;
  /** @type {any} */
  problem;

  /** `onSaved(thread)` is called after a change. */
  constructor({ api, dialog, say, onSaved }) {
    this.api = api;
    this.dialog = dialog;
    this.say = say;
    this.onSaved = onSaved;
    this.content = dialog.querySelector(".content");
    dialog.querySelector("form").addEventListener("submit", (event) => {
      if (!event.submitter?.classList.contains("primary")) return;
      event.preventDefault();
      this.#save();
    });
  }

  async open(thread) {
    this.#thread = thread;
    this.content.replaceChildren(el("p", { class: "words" }, "Loading…"));
    this.dialog.showModal();
    try {
      const found = await this.api.get(`/app/threads/${thread}/settings`);
      if (this.#thread === thread) this.#show(found);
    } catch (error) {
      this.content.replaceChildren(el("p", { class: "error", role: "alert" }, asApiError(error).message));
    }
  }

  #show(found) {
    const { instructions, temperature, usual_temperature, allowed, most_characters } = found;
    const locked = !allowed && !instructions && temperature === null;
    if (locked) {
      return this.content.replaceChildren(el("p", {}, "The rules of this place allow no instructions or temperature of one’s own."));
    }
    this.text = el("textarea", { id: "thread-instructions", maxlength: most_characters, dir: "auto", placeholder: "For example: Answer in French. I am new to Python." });
    this.text.value = instructions;
    this.text.disabled = !allowed && !instructions;
    this.slider = temperatures(temperature, usual_temperature);
    this.problem = el("p", { class: "error", role: "alert", hidden: true });
    const save = el("button", { class: "primary" }, "Save");
    this.content.replaceChildren(
      ...(allowed ? [] : [el("p", { class: "words" }, "The rules of this place have forbidden this since: it has no effect, and can only be deleted.")]),
      written(this.text, most_characters),
      this.slider.node,
      ...note(found),
      this.problem,
      el("div", { class: "row bottom" }, save),
    );
    this.text.focus();
  }

  async #save() {
    const thread = this.#thread;
    this.problem.hidden = true;
    try {
      await this.api.patch(`/conversation/${thread}`, { instructions: this.text.value, temperature: this.slider.value });
      this.dialog.close();
      this.say("Saved. It applies from the next answer on.");
      this.onSaved(thread);
    } catch (error) {
      setText(this.problem, asApiError(error).message);
      this.problem.hidden = false;
    }
  }
}

function written(text, most) {
  const left = el("p", { class: "words", id: "thread-instructions-left" });
  const show = () => setText(left, `Added after this server’s own instructions. ${counted(most - text.value.length, "character", "characters")} left.`);
  text.addEventListener("input", show);
  text.setAttribute("aria-describedby", left.id);
  show();
  return el("div", { class: "field" }, el("label", { for: text.id }, "Instructions for this thread"), text, left);
}

/** A checkbox and a slider from 0 to 2; the value is null for the usual temperature. */
function temperatures(chosen, usual) {
  const own = el("input", { type: "checkbox", checked: chosen !== null });
  const slider = el("input", { type: "range", min: 0, max: 2, step: 0.1, "aria-label": "Temperature" });
  const shown = el("output", {});
  slider.value = String(chosen ?? usual ?? USUAL);
  const show = () => {
    slider.disabled = !own.checked;
    setText(shown, own.checked ? Number(slider.value).toFixed(1) : usual === null ? "the usual one" : `${usual}, as set here`);
  };
  own.addEventListener("change", show);
  slider.addEventListener("input", show);
  show();
  const label = el("label", { class: "check" }, own, el("span", {}, "Choose the temperature"), shown);
  const ends = el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, "the same each time"), el("span", {}, "surprising"));
  return {
    node: el("div", { class: "field" }, label, slider, ends),
    get value() {
      return own.checked ? Number(slider.value) : null;
    },
  };
}

function note({ model, takes_temperature }) {
  if (takes_temperature !== false) return [];
  return [el("p", { class: "words" }, el("bdi", {}, model), " takes no temperature: requests to it leave it out.")];
}

export function installThreadSettings(page) {
  const dialog = document.querySelector("#thread-settings");
  const settings = new ThreadSettings({
    api: page.api,
    dialog,
    say: (words) => page.say(words),
    onSaved: (thread) => thread === page.state.openId && page.context.changed(),
  });
  page.header.menu.add({ label: "Instructions, temperature", icon: "tune", order: 40, run: () => settings.open(page.state.openId) });
}
