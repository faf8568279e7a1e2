// Votes on a reply: two buttons in its footer, and a comment on a thumbs-down.
import { el, icon, setHidden } from "./dom.js";
import { asApiError } from "./api.js";

const MOST = 2000; // characters of a comment
const SAID = {
  up: "Noted as a good answer.",
  down: "Noted as a bad answer. You can add a comment.",
  none: "Your vote is taken back.",
};

/** The votes of one message; `show` hides them where there are none. */
export class VoteBar {
  #up = thumb("up", "Good answer");
  #down = thumb("down", "Bad answer");
  #text = el("input", { type: "text", maxlength: String(MOST), "aria-label": "What was wrong?", placeholder: "What was wrong? (optional)" });
  #stored = el("span", { class: "stored", hidden: true }, "Noted");

  constructor() {
    this.node = el("span", { class: "votes", role: "group", "aria-label": "Rate this answer", hidden: true }, this.#up, this.#down);
    this.form = el("form", { class: "comment", hidden: true }, this.#text, el("button", { class: "quiet" }, "Send"), this.#stored);
    this.#text.addEventListener("input", () => {
      this.#stored.hidden = true;
    });
  }

  /** @param {{vote: string | null, comment: string} | undefined} feedback */
  show(feedback) {
    setHidden(this.node, !feedback);
    const { vote = null, comment = "" } = feedback ?? {};
    this.#up.setAttribute("aria-pressed", String(vote === "up"));
    this.#down.setAttribute("aria-pressed", String(vote === "down"));
    setHidden(this.form, vote !== "down");
    if (document.activeElement !== this.#text || this.form.hidden) this.#text.value = comment;
    setHidden(this.#stored, !comment || this.#text.value !== comment);
  }
}

function thumb(vote, words) {
  return el("button", { type: "button", class: "quiet", title: words, "aria-label": words, "aria-pressed": "false", "data-vote": vote }, icon(`thumb-${vote}`));
}

/** Send the votes and comments of the open thread's replies. */
export function installFeedback(page, root) {
  root.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-vote]");
    if (!button) return;
    const again = button.getAttribute("aria-pressed") === "true";
    rate(page, button, { vote: again ? null : button.dataset.vote, comment: "" });
  });
  root.addEventListener("submit", (event) => {
    const form = event.target.closest("form.comment");
    if (!form) return;
    event.preventDefault();
    rate(page, form, { vote: "down", comment: form.querySelector("input").value.trim() });
  });
}

async function rate(page, node, feedback) {
  const thread = page.state.openId;
  const { id } = node.closest("article").dataset;
  const { before, stored, isNewest } = page.state.takeVote(thread, id, feedback);
  page.draw();
  page.say(feedback.comment ? "Your comment is noted." : SAID[feedback.vote ?? "none"]);
  try {
    await page.api.put(`/app/threads/${thread}/feedback/${id.replace("turn-", "")}`, feedback);
    stored();
  } catch (error) {
    if (isNewest()) page.state.takeVote(thread, id, before).stored();
    if (thread === page.state.openId) page.sync.readThread(thread); // perhaps only the response was lost
    page.thread.box.fail(asApiError(error).message);
    page.draw();
  }
}
