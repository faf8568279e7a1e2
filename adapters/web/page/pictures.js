// The content of attachments that the server has: previews, texts and downloads. What is opened or
// downloaded is fetched here, so that a failure has words.
import { asApiError } from "./api.js";
import { saveFile } from "./dom.js";

const READABLE = /^text\/|[/+](json|xml|yaml|x-yaml|javascript)$/;
const MOST_READ = 1_000_000; // bytes of a text that is opened instead of downloaded

export class Pictures {
  /** `onProblem(sentence)`; `viewer` shows pictures and texts; `base` is where they are. */
  constructor({ api, viewer, onProblem, base = "/attachments" }) {
    this.base = base;
    this.api = api;
    this.viewer = viewer;
    this.onProblem = onProblem;
  }

  /** The address of a small picture of an attachment. */
  preview(id) {
    return `${this.base}/${id}?preview=true`;
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
      else if (preview) this.viewer.showPicture(name, await this.api.blob(this.preview(id)));
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
