// A pane: a list of messages with a message box below it. The page has two, the channel and the thread.
import { installDrop } from "./attach.js";
import { Composer } from "./composer.js";
import { Feed } from "./feed.js";
import { isPicture } from "./files.js";

/**
 * @typedef {object} Pane
 * @property {any} root
 * @property {Composer} box
 * @property {Feed} feed
 */

/**
 * Connect the parts of `root`. `View` draws a message, `thread()` is where the box's messages go
 * (null: the channel), `begins()` whether its next one starts a conversation.
 * @returns {Pane}
 */
export function createPane(page, { root, View, thread, begins = () => false }) {
  const part = (selector) => root.querySelector(selector);
  const box = new Composer({
    form: part("form.composer"),
    onSend: (text, files) => page.sender.send(thread(), text, files, begins()),
    offers: (begun) => page.commands.offers(begun, thread()),
    isCommand: (text) => page.commands.isCommand(text),
    say: (words) => page.say(words),
    limits: () => page.state.session?.files ?? { most: 0, bytes: 0, total: 0 },
    onView: ({ file, pasted }, putBack) => view(page.viewer, file, pasted, putBack),
  });
  installDrop({
    root,
    zone: part(".drop"),
    allowed: () => box.files.allowed,
    onDrop: (data) => box.files.drop(data),
  });
  const feed = new Feed({
    scroller: part(".scroll"),
    list: part(".feed"),
    pill: part(".pill"),
    create: (item) => new View(item, page.pictures),
    onPastEnd: () => box.box.focus(),
  });
  return { root, box, feed };
}

/** Open a file that is not sent yet. */
async function view(viewer, file, pasted, putBack) {
  if (isPicture(file)) return viewer.showPicture(file.name, file);
  viewer.showText(pasted ? "Pasted text" : file.name, await file.text(), putBack);
}
