// The content of attachments that the server has: previews, texts and downloads. Requests need the
// token, so an address cannot stand in the page; the bytes arrive here and get an address of their own.
import { asApiError } from "./api.js";
import { saveFile } from "./dom.js";

const MOST_PREVIEWS = 200;
const READABLE = /^text\/|[/+](json|xml|yaml|x-yaml|javascript)$/;
const MOST_READ = 1_000_000; // bytes of a text that is opened instead of downloaded

export class Pictures {
  /** @type {Map<string, Promise<string>>} */
  #previews = new Map(); // by id, the most recently used last

  /** `onProblem(sentence)`; `viewer` shows pictures and texts; `base` is where they are. */
  constructor({ api, viewer, onProblem, base = "/attachments" }) {
    this.base = base;
    this.api = api;
    this.viewer = viewer;
    this.onProblem = onProblem;
  }

  /** The address of a small picture of an attachment. */
  preview(id) {
    const found = this.#previews.get(id) ?? this.#load(id);
    this.#previews.delete(id);
    this.#previews.set(id, found);
    return found;
  }

  async #load(id) {
    if (this.#previews.size >= MOST_PREVIEWS) {
      const [oldest, address] = this.#previews.entries().next().value ?? [];
      this.#previews.delete(oldest ?? "");
      address?.then(URL.revokeObjectURL, () => {});
    }
    try {
      return URL.createObjectURL(await this.api.blob(`${this.base}/${id}?preview=true`));
    } catch (error) {
      this.#previews.delete(id); // asked again when it is shown again
      throw error;
    }
  }

  /** Whether a click shows the attachment here. */
  opens({ preview, media_type, size }) {
    return preview || (READABLE.test(media_type) && size !== null && size <= MOST_READ);
  }

  async open(attachment) {
    const { id, name, preview } = attachment;
    await this.#attempt(async () => {
      const blob = await this.api.blob(`${this.base}/${id}`);
      if (preview && blob.type.startsWith("image/")) this.viewer.showPicture(name, blob);
      else if (preview) this.viewer.showPicture(name, await this.api.blob(`${this.base}/${id}?preview=true`));
      else this.viewer.showText(name, await blob.text());
    });
  }

  async download({ id, name }) {
    await this.#attempt(async () => {
      saveFile(await this.api.blob(`${this.base}/${id}`), name);
    });
  }

  async #attempt(task) {
    try {
      await task();
    } catch (error) {
      this.onProblem(asApiError(error).message);
    }
  }
}
