// What a person chose for this browser: how the page looks, its keys, its language of numbers and dates.
import { browser } from "./dom.js";

/** The choices by name, the default first. Those of LOOKS are attributes of the root element. */
export const CHOICES = {
  theme: ["system", "light", "dark"],
  density: ["comfortable", "compact"],
  text: ["normal", "small", "large", "larger"],
  wrap: ["off", "on"],
  enter: ["send", "line"],
};
const LOOKS = ["theme", "density", "text", "wrap"];

/** Languages whose dates and numbers people ask for; a browser shows those that it knows. */
const LANGUAGES = [
  "ar", "bn", "cs", "da", "de", "de-AT", "de-CH", "el", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN",
  "en-US", "es", "es-MX", "fa", "fi", "fr", "fr-CA", "fr-CH", "he", "hi", "hu", "id", "it", "ja", "ko",
  "nb", "nl", "pl", "pt-BR", "pt-PT", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh-CN", "zh-TW",
];

/** @param {keyof typeof CHOICES} name */
export function preference(name) {
  const chosen = browser.get(name);
  return CHOICES[name].includes(chosen) ? chosen : CHOICES[name][0];
}

/** Choose, and show it; every listener of `preferences` hears of it. */
export function prefer(name, value) {
  browser.set(name, value === CHOICES[name]?.[0] ? null : value);
  applyPreferences();
}

/** Show what was chosen, also by another tab. */
export function applyPreferences() {
  const root = document.documentElement;
  for (const name of LOOKS) {
    const chosen = preference(/** @type {any} */ (name));
    if (chosen === CHOICES[name][0]) delete root.dataset[name];
    else root.dataset[name] = chosen;
  }
  dispatchEvent(new CustomEvent("preferences"));
}

/** The language that was chosen for dates and numbers; undefined is the browser's. */
export function language() {
  const chosen = browser.get("language");
  return languages().includes(chosen) ? chosen : undefined;
}

/** The languages that can be chosen. */
export function languages() {
  return LANGUAGES.filter((each) => Intl.DateTimeFormat.supportedLocalesOf([each]).length > 0);
}

/** Whether Enter alone sends; otherwise it begins a line, and Ctrl Enter sends. */
export const entersSend = () => preference("enter") === "send";
