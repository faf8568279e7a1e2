// The files of one message: thumbnails of pictures, chips with the state of everything else.
import { el, icon, setHidden } from "./dom.js";
import { fileSize } from "./files.js";

export class FileList {
  #shown = "";
  #progress = el("progress", { max: "1", "aria-label": "Upload" });

  constructor(pictures) {
    this.pictures = pictures;
    this.list = el("ul", { class: "files", "aria-label": "Attached" });
    this.node = el("div", { class: "attachments", hidden: true }, this.list, this.#progress);
  }

  /** Show the files of `item`: `attachments` from the server, or `files` that are not sent yet. */
  show({ attachments = [], files = [], progress = null }) {
    const sent = JSON.stringify(attachments);
    const shown = attachments.length ? sent : files.map(({ name }) => name).join("\n");
    setHidden(this.node, !shown || sent + files.length === "[]0");
    setHidden(this.#progress, progress === null);
    if (progress !== null) this.#progress.value = progress;
    if (shown === this.#shown) return;
    this.#shown = shown;
    const made = attachments.length ? attachments.map((each) => this.#sent(each)) : files.map(unsent);
    this.list.replaceChildren(...made);
  }

  #sent(attachment) {
    const { name, preview, is_link, problem } = attachment;
    if (preview && !problem) return this.#thumbnail(attachment);
    const label = labels(name, note(attachment));
    const opens = !is_link && this.pictures.opens(attachment);
    return el(
      "li",
      { class: "file", "data-state": attachment.state },
      icon(is_link ? "thread" : "file"),
      opens
        ? el("button", { type: "button", class: "label", title: "Open", onclick: () => this.pictures.open(attachment) }, ...label)
        : el("span", { class: "label" }, ...label),
      is_link ? null : this.#download(attachment),
    );
  }

  #thumbnail(attachment) {
    const { id, name } = attachment;
    const sign = icon("file"); // stays, with the name, if the picture does not arrive
    const image = el("img", { class: "picture", alt: name, hidden: true, src: this.pictures.preview(id) });
    image.addEventListener("load", () => {
      image.hidden = false;
      sign.hidden = true;
    });
    const open = () => this.pictures.open(attachment);
    return el(
      "li",
      { class: "file pictured", "data-state": attachment.state },
      el("button", { type: "button", class: "show", "aria-label": `Open ${name}`, onclick: open }, image, sign),
      el("span", { class: "label" }, ...labels(name, note(attachment))),
      this.#download(attachment),
    );
  }

  #download(attachment) {
    const words = `Download ${attachment.name}`;
    return el(
      "button",
      { type: "button", class: "download", "aria-label": words, title: "Download", onclick: () => this.pictures.download(attachment) },
      icon("down"),
    );
  }
}

/** The size, and the state unless the file was read. */
function note({ size, state, problem, is_link }) {
  const known = is_link ? "" : fileSize(size);
  if (problem) return [known, `could not be read: ${problem}`].filter(Boolean).join(" · ");
  return [known, state === "pending" ? "not read yet" : ""].filter(Boolean).join(" · ");
}

function labels(name, words) {
  return [el("span", { class: "name" }, name), words ? el("span", { class: "size" }, words) : null];
}

function unsent({ name, size }) {
  return el("li", { class: "file" }, icon("file"), el("span", { class: "label" }, ...labels(name, fileSize(size))));
}
