// Saves a whole thread as a file: Markdown for people, JSON for programs.
import { asApiError } from "./api.js";
import { saveFile } from "./dom.js";

const EXPORT_MS = 300_000; // a thread may have ten thousand messages

export function installExport(page) {
  const save = async (format) => {
    const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
    page.say("Reading the thread…");
    try {
      const { blob, name } = await page.api.file(`/conversation/${page.state.openId}/export?format=${format}&zone=${zone}`, EXPORT_MS);
      saveFile(blob, name);
      page.say(`Saved as ${name}.`);
    } catch (error) {
      page.thread.box.fail(asApiError(error).message);
    }
  };
  page.header.menu.add({ label: "Save as Markdown", icon: "down", order: 60, run: () => save("markdown") });
  page.header.menu.add({ label: "Save as JSON", icon: "down", order: 61, run: () => save("json") });
}
