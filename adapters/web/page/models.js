// The models that may be chosen: loaded when their menu opens, because they change while the server runs.

const FRESH_MS = 30_000; // a menu that is opened again asks no sooner
const LIMIT_MS = 6_000; // the server itself waits two seconds for other servers

export class ModelList {
  /** @type {string[]} */
  names = [];
  asked = false; // whether the server has answered
  #loading = false;
  #due = 0;

  /** `onChange(failed)` is called after every answer, or failure, of the server. */
  constructor({ api, onChange }) {
    this.api = api;
    this.onChange = onChange;
  }

  /** Start with the names that the server knows without asking other servers. */
  reset(names) {
    this.names = names;
    this.asked = false;
    this.#due = 0;
  }

  /** Load the list unless that was just done; the known names stay meanwhile. */
  async load() {
    if (this.#loading || Date.now() < this.#due) return;
    this.#loading = true;
    try {
      const { models } = await this.api.get("/models", LIMIT_MS);
      if (Array.isArray(models)) this.names = models.map(String);
      this.asked = true;
      this.#due = Date.now() + FRESH_MS;
      this.onChange(false);
    } catch {
      this.onChange(true);
    } finally {
      this.#loading = false;
    }
  }
}
