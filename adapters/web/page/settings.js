// The settings of the page: one dialog; everything is kept in this browser and applies at once. A
// different language of dates and numbers reloads the page when the dialog closes.
import { browser, el, setText } from "./dom.js";
import { language, languages, prefer, preference } from "./preferences.js";

const NAMES = {
  theme: ["Theme", { system: "As the system", light: "Light", dark: "Dark" }],
  density: ["Density", { comfortable: "Comfortable", compact: "Compact" }],
  text: ["Text size", { small: "Small", normal: "Normal", large: "Large", larger: "Largest" }],
  enter: ["Enter key", { send: "Sends", line: "New line; Ctrl Enter sends" }],
};

class SettingsDialog {
  /** `button` opens `dialog`; `more` are rows of other modules, made anew each time. */
  constructor({ button, dialog }) {
    this.dialog = dialog;
    this.content = dialog.querySelector(".content");
    /** @type {(() => Node)[]} */
    this.more = [];
    button.addEventListener("click", () => this.open());
    dialog.addEventListener("close", () => this.#closed());
  }

  open() {
    this.spoken = language();
    const groups = Object.keys(NAMES).map((name) => group(name));
    const keys = check("Single keys on the messages: C / ?", browser.get("keys", true), (on) => browser.set("keys", on));
    const wrap = check("Wrap long lines of code", preference("wrap") === "on", (on) => prefer("wrap", on ? "on" : "off"));
    this.content.replaceChildren(...groups, keys, wrap, spoken(), ...this.more.map((make) => make()));
    this.dialog.showModal();
  }

  #closed() {
    if (language() !== this.spoken) location.reload();
  }
}

export function installSettings(page) {
  const button = document.querySelector("#settings");
  page.settings = new SettingsDialog({ button, dialog: document.querySelector("#settings-dialog") });
}

/** A choice as radio buttons in a row. */
function group(name) {
  const [legend, words] = NAMES[name];
  const order = Object.keys(words);
  const radios = order.map((value) =>
    el(
      "label",
      {},
      el("input", { type: "radio", name: `settings-${name}`, value, checked: value === preference(name), onchange: () => prefer(name, value) }),
      el("span", {}, words[value]),
    ),
  );
  return el("fieldset", { class: "choice" }, el("legend", {}, legend), el("div", { class: "segments" }, ...radios));
}

function check(words, checked, choose) {
  const box = el("input", { type: "checkbox", checked, onchange: ({ target }) => choose(target.checked) });
  return el("label", { class: "check" }, box, el("span", {}, words));
}

/** The language of dates and numbers, with an example. */
function spoken() {
  const example = el("p", { class: "words", role: "status" });
  const show = () => setText(example, sample(language()));
  const names = nameOf(navigator.language);
  const choose = ({ target }) => {
    browser.set("language", target.value || null);
    show();
  };
  const options = languages().map((code) => el("option", { value: code, selected: code === language(), lang: code }, nameOf(code, code)));
  const select = el(
    "select",
    { id: "settings-language", onchange: choose },
    el("option", { value: "", selected: language() === undefined }, `As the browser (${names})`),
    ...options,
  );
  show();
  return el("div", { class: "field" }, el("label", { for: "settings-language" }, "Dates and numbers"), select, example);
}

/**
 * A language's name in `shown`, by default the browser's.
 * @param {string} code @param {string} [shown]
 */
function nameOf(code, shown) {
  try {
    return new Intl.DisplayNames(shown, { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

function sample(code) {
  const date = new Intl.DateTimeFormat(code, { dateStyle: "long", timeStyle: "short" }).format(new Date());
  return `${date} · ${new Intl.NumberFormat(code).format(12_345.6)}`;
}
