// The choice whether to be notified of answers. Permission is asked for only when it is switched on.
import { browser, setText } from "./dom.js";

const BLOCKED = "This browser blocks notifications of this page: its settings for this site allow them.";
const INSECURE = "Browsers show notifications only of pages that come by https.";

/** `choice` has the checkboxes `.on` and `.text`, and `.words` for problems. */
export function installChoice(choice) {
  const [on, text] = [".on", ".text"].map((name) => choice.querySelector(name));
  const say = (words) => setText(choice.querySelector(".words"), words);
  const show = () => {
    const chosen = isPossible() && Notification.permission === "granted" ? browser.get("notify") : null;
    on.checked = chosen !== null;
    text.checked = chosen === "text";
    text.disabled = !on.checked;
    on.disabled = !isPossible();
    say(isPossible() ? "" : INSECURE);
  };
  on.addEventListener("change", async () => {
    const allowed = on.checked && (await Notification.requestPermission()) === "granted";
    const refused = on.checked && !allowed;
    browser.set("notify", allowed ? "name" : null);
    show();
    if (refused) say(BLOCKED);
  });
  text.addEventListener("change", () => browser.set("notify", text.checked ? "text" : "name"));
  addEventListener("storage", show); // another tab
  show();
}

const isPossible = () => Boolean(globalThis.Notification) && isSecureContext;
