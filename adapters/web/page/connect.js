// The panel that connects a model: it offers servers and services, and has one tried and used.
// The key leaves this page in one request, and its field is emptied before the request is sent.
import { asApiError } from "./api.js";
import { el, setText } from "./dom.js";

const TRY_MS = 130_000; // the server gives a model two minutes, which a local one may need to load

export class ConnectDialog {
  /** @type {Map<string, any>} */
  #offers = new Map();

  /** `button` opens `dialog`. */
  constructor({ api, button, dialog }) {
    this.api = api;
    this.dialog = dialog;
    this.provider = dialog.querySelector("select");
    this.model = dialog.querySelector("input");
    this.key = dialog.querySelector(".keyed input");
    this.choices = dialog.querySelector("datalist");
    this.keyed = dialog.querySelector(".keyed");
    this.said = dialog.querySelector(".said");
    this.error = dialog.querySelector(".error");
    this.submit = dialog.querySelector(".primary");
    button.addEventListener("click", () => this.open());
    this.provider.addEventListener("change", () => this.#drawChoice());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      if (event.submitter !== this.submit) return;
      event.preventDefault();
      this.#try();
    });
    dialog.addEventListener("close", () => {
      this.key.value = "";
    });
  }

  async open() {
    this.#say("Looking for model servers on this machine…");
    this.#busy(true);
    this.dialog.showModal();
    try {
      const { local, services } = await this.api.get("/app/connect");
      this.#drawOffers(local, services);
      this.#say(local.length ? "" : "No model server answers on this machine (Ollama, LM Studio, llama.cpp, vLLM).");
    } catch (error) {
      this.#fail(asApiError(error).message);
    } finally {
      this.#busy(false);
    }
  }

  #drawOffers(local, services) {
    this.#offers = new Map([...local, ...services].map((offer) => [offer.name, offer]));
    const group = (label, offers) =>
      el("optgroup", { label }, ...offers.map(({ name, title }) => el("option", { value: name }, title)));
    this.provider.replaceChildren(
      ...(local.length ? [group("On this machine", local)] : []),
      group("Services", services),
    );
    this.#drawChoice();
  }

  #drawChoice() {
    const { models = [], key = "", key_is_set = false } = this.#offers.get(this.provider.value) ?? {};
    this.model.value = models[0] ?? "";
    this.choices.replaceChildren(...models.map((value) => el("option", { value })));
    this.keyed.hidden = !key;
    this.key.value = "";
    this.key.required = Boolean(key) && !key_is_set;
    this.key.placeholder = key_is_set ? `${key} is set; empty keeps it` : key;
  }

  async #try() {
    const choice = { provider: this.provider.value, model: this.model.value.trim(), key: this.key.value };
    this.key.value = "";
    this.#busy(true);
    this.#say("Asking the model…");
    try {
      const { answer, error, note } = await this.api.post("/app/connect", choice, TRY_MS);
      if (error) this.#fail(error);
      else this.#succeed(choice, answer, note);
    } catch (error) {
      this.#fail(asApiError(error).message);
    } finally {
      this.#busy(false);
    }
  }

  #succeed({ provider, model }, answer, note) {
    this.key.required = false;
    const words = `It answers: “${answer}”. ${provider}/${model} is used in a few seconds. ${note}`;
    this.#say(words.trim());
  }

  #say(words) {
    this.error.hidden = true;
    setText(this.said, words);
  }

  #fail(words) {
    setText(this.said, "");
    setText(this.error, words);
    this.error.hidden = false;
  }

  #busy(busy) {
    this.submit.disabled = busy;
    this.dialog.toggleAttribute("aria-busy", busy);
  }
}
