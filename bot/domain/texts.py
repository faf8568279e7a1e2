"""Every sentence that people see. Short, plain, and never a provider's or a library's own text."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelLoading,
    NoCredit,
    Overloaded,
    RateLimited,
    TimedOut,
    UnknownModel,
    Unreachable,
    WrongAddress,
)

AGAIN = "Writing it again."
THINKING = "Thinking…"
THOUGHTS = "Thoughts of the model:"
LOADING = (
    "The model is loading, which can take a few minutes. I will answer as soon as it is ready."
)
QUEUED = "In the queue: many questions are being answered at the moment."
TOO_BUSY = "I have too many questions waiting right now. Please ask again in a few minutes."
TOO_MANY_OF_YOURS = (
    "Many of your questions are waiting already. Please ask this one again when some are answered."
)
STOPPED = "Stopped."
STOPPED_EARLY = "Stopped before an answer began."
RESET_MEANWHILE = "This conversation was started over."
SHORTENED = "What you wrote was too long for me, so I read only a part of it."
EMPTY_ANSWER = "The model gave an empty answer. Please ask again."
THOUGHT_TOO_LONG = (
    "The model used up its length limit while it was still thinking, before an answer began. "
    "Please ask for something smaller; those who run me can raise MAX_OUTPUT_TOKENS."
)
GAVE_UP = "I could not finish this answer after several tries. Please ask again."
NOT_SHOWN = "I have an answer, but could not show it here. Please ask for it again."
PLACE_UNKNOWN = "I could not find out where you asked this. Please try again in a moment."
REMOVED = "_This part was removed._"
INTERNAL = "Something went wrong on my side, and it has been logged. Please ask again."
MISSED = (
    "Sorry, I was not running when you wrote this, and it is a while ago. "
    "I have read it; please ask again if it still matters."
)
MISSED_EARLIER = "Sorry, I was not running when you wrote before."
NO_QUESTION = "Hello! Write your question after my name, and I will answer in a thread."
LENGTH_LIMIT = "The answer reached its length limit. Write “go on” for the rest."
SHOWN_PLAINLY = "_This answer could not be shown in its own form._"
NOT_STORED = (
    "I cannot save messages right now. I keep trying: if no answer comes within a few minutes, "
    "please ask again."
)
STORE_DOWN = "I cannot save messages right now, so I cannot answer. Please ask again later."

RESET_DONE = "Started over: I no longer look at what was said here before."
NOTHING_TO_RESET = "There is nothing to start over here yet."
NO_ACCESS = "You can no longer see that conversation, so nothing was changed."
NOT_SERVED = "This bot is not set up for this server."
WHICH_THREAD = "Which conversation should start over?"
NO_RECENT = "You have no recent conversation with me in this channel."
QUESTION_DELETED = "Stopped: the question was deleted."

UNDO = "Undo"
UNDO_DONE = "Undone: I look at what was said before again."
NOTHING_TO_UNDO = "There is nothing to bring back here."
STOP_DONE = "Stopped."
NOTHING_TO_STOP = "I am not writing anything here at the moment."
NOTHING_TO_RETRY = "There is no answer here that I could try again."
NOTHING_TO_CONTINUE = "There is no answer here that I could go on with."
STILL_WRITING = "I am still writing here: stop me first, or wait."
NOT_THE_NEWEST = "More was said since then: I can only do that with my newest answer."
GO_ON = "Go on exactly where your last answer ended."
NO_MODEL_CHOICES = "There is one model here, and it is set by those who run me."
MODEL_NEEDS_CONVERSATION = "Mention me first, then choose the model inside that conversation."

_HELP_CHAT = """\
Mention me in a channel and I answer in a thread; write in the thread and I go on. \
In a direct message just write.
"""
_HELP_PAGE = """\
Begin a message in the channel with `@threadline` and I answer in a thread; write in the thread \
and I go on.
"""
_HELP_TERMINAL = """\
Write a line and I answer. Ctrl-C stops the answer, Ctrl-D ends the program.
"""
_HELP_COMMANDS = """\
- `/reset`: start over
- `/undo`: take the last `/reset` back
- `/stop`: stop the answer that is being written
- `/retry`: write the newest answer again, in its place
- `/continue`: go on with an answer that was stopped or cut off
- `/model`: see or choose the model of a conversation
- `/help`: this text"""
HELP_PAGE = f"{_HELP_PAGE}\n{_HELP_COMMANDS}"
HELP_TERMINAL = f"{_HELP_TERMINAL}\n{_HELP_COMMANDS}"
HELP = f"""{_HELP_CHAT}
- `/reset`: start over (inside a thread you can also mention me with the word `reset`)
- `/model`: see or choose the model of a conversation
- `stop` after a mention, or the button: stop the answer that is being written
- `retry`, or the button “Try again”: write the newest answer anew, in its place
- `continue`, or the button “Go on”: go on with an answer that was stopped or cut off
- `undo`: take the last `reset` back
- Edit your last question and I answer it anew; delete it and I forget it.
- `/help`: this text"""

# The first that fits counts: a kind stands before the one that it is a kind of.
_MODEL_SENTENCES: tuple[tuple[type[ModelError], str], ...] = (
    (ModelLoading, "The model is still loading. Please ask again in a few minutes."),
    (
        NoCredit,
        "The model refused my key: its account has no credit left. Those who run me need to add "
        "some.",
    ),
    (KeyRefused, "The model refused my key. Those who run me need to check it."),
    (UnknownModel, "The model that I am set to use does not exist. Those who run me can fix it."),
    (
        WrongAddress,
        "At the address that I am set to use there is no model. Those who run me need to check it: "
        "mostly it ends in `/v1`.",
    ),
    (ContextTooLong, "This conversation is too long for the model. `/reset` starts over."),
    (ContentRefused, "The model's content filter refused this. Please put it another way."),
    (CutOff, "The connection to the model broke off before the answer was whole."),
)


def model_failure(error: ModelError) -> str:
    """The sentence for a failed model call."""
    if isinstance(error, RateLimited):
        return f"The model is taking too many requests right now. {_again(error, 'in a minute')}"
    if isinstance(error, TimedOut):
        if error.started:
            return "The model stopped in the middle of its answer. Please ask again."
        return "The model took too long to begin. Please ask again."
    if isinstance(error, Unreachable):
        at = f" at `{error.address}`" if error.address else ""
        return f"The model cannot be reached{at}: is it running? Please ask again soon."
    for kind, sentence in _MODEL_SENTENCES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, Overloaded):
        return f"The model is overloaded right now. {_again(error, 'soon')}"
    return "The model failed. Please ask again."


def unusable(kinds: Sequence[str]) -> str:
    """One sentence that names attached things which cannot be used yet.

    `kinds` are nouns in the singular ("image", "voice message"); repeated ones become plural.
    """
    counted = [_plural(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    return f"I cannot use {_listed(counted)} yet, only text."


def model_chosen(name: str) -> str:
    """The answer to a model that was chosen."""
    return f"From the next answer on, this conversation uses `{name}`."


def models_offered(current: str, choices: Sequence[str]) -> str:
    """The answer to /model without a name."""
    offered = "\n".join(f"- `{name}`" for name in choices)
    return f"This conversation uses `{current}`. You can choose:\n{offered}"


def model_refused(name: str, choices: Sequence[str]) -> str:
    """The answer to a model that may not be chosen."""
    return f"`{name}` is not offered here. Choose one of: " + ", ".join(f"`{c}`" for c in choices)


def code_goes_on(lines: int) -> str:
    """Below the beginning of a long code block that is still being written."""
    return f"This is getting long: {_lines(lines)} so far. All of it will be in a file below."


def code_in_file(lines: int) -> str:
    """Below the beginning of a long code block that is whole."""
    return f"That is how it begins: all of it, {_lines(lines)}, is in the file below."


def file_caption(name: str, lines: int) -> str:
    """Beside a file that holds a code block of a reply."""
    return f"`{name}`, {_lines(lines)}"


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def note(sentence: str) -> str:
    """A sentence of ours inside a reply, told apart from what the model wrote."""
    return f"_{sentence}_"


def last_sentence(display: str) -> str:
    """The sentence of ours at the end of a whole reply, without its emphasis; "" when none is."""
    last = display.rstrip().rpartition("\n\n")[2]
    return last[1:-1] if len(last) > 2 and last[0] == last[-1] == "_" else ""


# Each with its seconds, and up to how many of them it is used.
_UNITS = (("second", 1, 90), ("minute", 60, 5_400), ("hour", 3_600, 1 << 40))


def _again(error: ModelError, otherwise: str) -> str:
    """When to ask again, as the provider says it."""
    if error.retry_after is None:
        return f"Please ask again {otherwise}."
    seconds = max(1, round(error.retry_after))
    unit, size = next(each for each in _UNITS if seconds < each[2])[:2]
    count = max(1, round(seconds / size))
    wait = f"{'an' if unit == 'hour' else 'a'} {unit}" if count == 1 else f"{count} {unit}s"
    return f"Please ask again in {wait}."


def _plural(kind: str, count: int) -> str:
    if count > 1:
        return f"{kind}s"
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


# ── /healthz ──────────────────────────────────────────────────────────────────────────────────
def part_failed(what: str, seconds: float) -> str:
    """A part of the process failed; `what` is the kind of the error, if there was one."""
    kind = f" ({what})" if what else ""
    return f"It failed in an unforeseen way{kind} and starts again in {seconds:g} s; see the log."


def part_refused(sentence: str, seconds: float) -> str:
    """A part of the process may not start, which `sentence` explains."""
    return f"{sentence.rstrip('.')}. It tries again in {seconds / 60:g} min."
