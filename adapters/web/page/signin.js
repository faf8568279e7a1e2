// Signing in and out, in all tabs together. The server gives the browser a cookie that no script can
// read; the token is sent once and kept nowhere.
import { asApiError } from "./api.js";
import { browser, otherTabs, tab } from "./dom.js";

const UNKNOWN = "This server does not know that token. Those who run it can give you one.";
const OLD = "token"; // where earlier versions kept the token

export class SignIn {
  #tabs = otherTabs("threadline.session");
  #asking = false;

  /** `onIn()` starts the page, `onOut()` stops it; `say(sentence)` reports a problem of signing out. */
  constructor({ api, dialog, button, onIn, onOut, onProblem }) {
    this.api = api;
    this.dialog = dialog;
    this.token = dialog.querySelector("#token");
    this.error = dialog.querySelector(".error");
    this.onIn = onIn;
    this.onOut = onOut;
    this.onProblem = onProblem;
    button.addEventListener("click", () => this.#leave());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#unlock();
    });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    this.#tabs.addEventListener("message", ({ data }) => this.#signedElsewhere(data));
  }

  /** Exchange the token that an earlier version of the page left in this browser, once. */
  async exchangeOldToken() {
    const token = browser.get(OLD);
    if (token === null) return;
    try {
      await this.api.signIn(String(token));
    } catch (error) {
      if (asApiError(error).passing) return; // the next start tries again
    }
    browser.set(OLD, null);
  }

  /** The server refuses this tab: another person is signed in by now, or no one. */
  async lock() {
    if (this.#asking || this.dialog.open) return;
    this.#asking = true;
    try {
      this.onOut();
      if (await this.#isOther()) return location.reload();
      if (!this.dialog.open) this.dialog.showModal();
    } finally {
      this.#asking = false;
    }
  }

  /** Whether the browser has another person's session than this tab. */
  async #isOther() {
    if (this.api.user === null) return false;
    try {
      const { user } = await this.api.whoAmI(() => {});
      return user !== this.api.user;
    } catch {
      return false;
    }
  }

  async #unlock() {
    this.error.hidden = true;
    try {
      await this.api.signIn(this.token.value.trim());
    } catch (refused) {
      const { status, message } = asApiError(refused);
      this.error.textContent = status === 401 ? UNKNOWN : message;
      this.error.hidden = false;
      return this.token.select();
    }
    this.token.value = "";
    this.#tabs.postMessage("in");
    this.dialog.close();
    await this.onIn();
  }

  async #leave() {
    try {
      await this.api.signOut();
    } catch (error) {
      const { status, message } = asApiError(error);
      if (status !== 401) return this.onProblem(`You are still signed in. ${message}`);
    }
    this.#tabs.postMessage("out");
    tab.forget();
    location.assign("/");
  }

  /** Another tab signed in or out, perhaps as another user. */
  #signedElsewhere(way) {
    if (way === "in" || !this.dialog.open) location.reload();
  }
}
