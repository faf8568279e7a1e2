"""Every sentence that Threadline says to people: in chats, on the page and in HTTP error bodies.

This module has replies, command replies, notices, command descriptions, and the errors of the HTTP
API.

Sentences for operators (log lines, `doctor`'s findings, wrong settings, command-line errors) stand
where the problem is detected. Descriptions in the API's schema stand at their fields. Texts for the
model are not here either.

Sentences are short and plain, and never contain a provider's or a library's own words.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    CutOff,
    ImageRefused,
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

# ── replies ───────────────────────────────────────────────────────────────────────────────────
AGAIN = "Writing it again."
THINKING = "Thinking…"
THOUGHTS = "Thoughts of the model:"
LOADING = (
    "The model is loading, which can take a few minutes. I will answer as soon as it is ready."
)
QUEUED = "In the queue: many questions are being answered at the moment."
WAITS_ITS_TURN = (
    "In the queue: as many answers as the rules of this channel allow are being written. "
    "This one follows."
)
TOO_BUSY = "I have too many questions waiting right now. Please ask again in a few minutes."
TOO_MANY_OF_YOURS = (
    "Many of your questions are waiting already. Please ask this one again when I have answered "
    "some of them."
)
STOPPED = "Stopped."
STOPPED_EARLY = "Stopped before an answer began."
RESET_MEANWHILE = "This conversation was started over."
SHORTENED = "Your message was too long for me, so I read only a part of it."
OLDER_SUMMARIZED = "Older messages are summarized."
EMPTY_ANSWER = "The model gave an empty answer. Please ask again."
THOUGHT_TOO_LONG = (
    "The model used up its length limit while it was still thinking, before it began to answer. "
    "Please ask for something smaller. The people who run this bot can raise MAX_OUTPUT_TOKENS."
)
GAVE_UP = "I could not finish this answer after several tries. Please ask again."
NOT_SHOWN = "I have an answer, but could not show it here. Please ask for it again."
NOT_ACCEPTED = (
    "I have an answer, but it is not accepted here, perhaps because of a link or a word in it. "
    "Please ask for it in another way."
)
PLACE_UNKNOWN = "I could not find out where you asked this. Please try again in a moment."
REMOVED = "_This part was removed._"
INTERNAL = "Something went wrong on my side, and it has been logged. Please ask again."
MISSED = (
    "Sorry, I was offline when you wrote this, and that was a while ago. "
    "I have read it now; please ask again if it still matters."
)
MISSED_EARLIER = "Sorry, I was offline when you wrote before."
NO_QUESTION = "Hello! Write your question after my name, and I will answer in a thread."
LENGTH_LIMIT = "The answer reached its length limit. Write “go on” for the rest."
SHOWN_PLAINLY = "_This answer could not be shown with its formatting._"
NOT_STORED = (
    "I cannot save messages right now. I keep trying: if no answer comes within a few minutes, "
    "please ask again."
)
STORE_DOWN = "I cannot save messages right now, so I cannot answer. Please ask again later."


def note(sentence: str) -> str:
    """Put `sentence` in italics, to tell it apart from the model's words in the same reply."""
    return f"_{sentence}_"


def code_goes_on(lines: int) -> str:
    """The note below the beginning of a long code block that is still growing."""
    return f"This is getting long: {_lines(lines)} so far. All of it will be in a file below."


def code_in_file(lines: int) -> str:
    """The note below the beginning of a long code block that is complete."""
    return f"That is how it begins: all of it, {_lines(lines)}, is in the file below."


def file_caption(name: str, lines: int) -> str:
    """The caption of a file that holds a code block of the reply."""
    return f"`{name}`, {_lines(lines)}"


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


# ── failures of the model ─────────────────────────────────────────────────────────────────────
# The first match counts, so a subclass stands before its base class.
_MODEL_SENTENCES: tuple[tuple[type[ModelError], str], ...] = (
    (ModelLoading, "The model is still loading. Please ask again in a few minutes."),
    (
        NoCredit,
        "The model refused my key: its account has no credit left. The people who run this bot "
        "need to add some.",
    ),
    (KeyRefused, "The model refused my key. The people who run this bot need to check it."),
    (
        UnknownModel,
        "The model that I am set to use does not exist. The people who run this bot can fix that.",
    ),
    (
        WrongAddress,
        "At the address that I am set to use there is no model. The people who run this bot need "
        "to check it: it usually ends in `/v1`.",
    ),
    (ContextTooLong, "This conversation is too long for the model. `/reset` starts over."),
    (ContentRefused, "The model's content filter refused this. Please put it another way."),
    (CannotSee, "The model cannot look at images. Please describe what they show."),
    (ImageRefused, "The model could not use an image here. Please ask again without it."),
    (CutOff, "The connection to the model broke off before the answer was complete."),
)


def model_failure(error: ModelError) -> str:
    """The sentence that explains a failed model call."""
    if isinstance(error, RateLimited):
        return f"The model is taking too many requests right now. {_ask(error, 'in a minute')}"
    if isinstance(error, TimedOut):
        if error.started:
            return "The model stopped in the middle of its answer. Please ask again."
        return "The model took too long to begin. Please ask again."
    if isinstance(error, Unreachable):
        at = f" at `{error.address}`" if error.address else ""
        if error.certificate:
            return (
                f"The certificate of the model's server{at} is not trusted. The people who run "
                "this bot need to check it."
            )
        return f"The model cannot be reached{at}: is it running? Please ask again soon."
    for kind, sentence in _MODEL_SENTENCES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, Overloaded):
        return f"The model is overloaded right now. {_ask(error, 'soon')}"
    return "The model failed. Please ask again."


# A unit's name, its seconds, and the wait in seconds from which the next unit is used.
_UNITS = (("second", 1, 90), ("minute", 60, 5_400), ("hour", 3_600, 1 << 40))


def _ask(error: ModelError, when: str) -> str:
    """Say when to ask again: after the provider's Retry-After, otherwise `when`."""
    if error.retry_after is None:
        return f"Please ask again {when}."
    seconds = max(1, round(error.retry_after))
    unit, size = next(each for each in _UNITS if seconds < each[2])[:2]
    count = max(1, round(seconds / size))
    wait = f"{'an' if unit == 'hour' else 'a'} {unit}" if count == 1 else f"{count} {unit}s"
    return f"Please ask again in {wait}."


# ── commands ──────────────────────────────────────────────────────────────────────────────────
RESET_DONE = "Started over: I no longer look at earlier messages here."
NOTHING_TO_RESET = "There is nothing to start over here yet."
NO_ACCESS = "You can no longer see that conversation, so nothing was changed."
NOT_SERVED = "This bot is not set up for this server."
WHICH_THREAD = "Which conversation should start over?"
NO_RECENT = "You have no recent conversation with me in this channel."
QUESTION_DELETED = "Stopped: the question was deleted."
UNDO = "Undo"
UNDO_DONE = "Undone: I look at the earlier messages again."
NOTHING_TO_UNDO = "There is nothing to bring back here."
STOP_DONE = "Stopped."
NOTHING_TO_STOP = "I am not writing anything here at the moment."
NOTHING_TO_RETRY = "There is no answer here that I could try again."
NOTHING_TO_CONTINUE = "There is no answer here that I could continue."
STILL_WRITING = "I am still writing here: stop me first, or wait."
NO_SUCH_VERSION = "This version is not in the conversation as it is shown now."
STARTED_OVER = "The conversation was started over after this message: undo that first."
TOO_MANY_VERSIONS = "There are 50 versions of this already: ask in a new message."
NOT_THE_NEWEST = "There are newer messages: I can only do that with my newest answer."
GO_ON = "Go on exactly where your last answer ended."
NO_SUCH_COMMAND = "I do not know this command. `/help` lists those I know."

SLASH_COMMANDS: Mapping[str, str] = {
    "reset": "Start over: forget what was said here before",
    "model": "See or choose the model of this conversation",
    "effort": "See or choose how long the model thinks before it answers",
    "context": "See what the model gets with the next question",
    "why": "See which model and rules apply here, and why",
    "whoami": "See who I think you are, and what you may do here",
    "channel": "For administrators: set this channel's model, prompt or mode",
    "usage": "See what you have used, and what is left",
    "forget": "Have everything deleted that I know of you",
    "export": "Get everything that I know of you",
    "help": "What I can do",
}
"""Descriptions in Discord's menu; Slack's are in the app manifests."""
MODEL_OPTION = "The model from the next answer on"
EFFORT_OPTION = "The effort from the next answer on"
SETTING_OPTION = "What to set; without it, you see what is set"
VALUE_OPTION = "The new value; default returns to threadline.toml"
USAGE_OPTION = "Yours, or for administrators this channel's"
FORGET_OPTION = "Whose messages and data: only your own"
EXPORT_OPTION = "Whose messages and data: only your own"

PAGE_COMMANDS: Mapping[str, str] = {
    "reset": "start over in this thread",
    "undo": "take the last reset back",
    "stop": "stop the answer that is being written",
    "retry": "write the newest answer again",
    "continue": "continue an answer that was stopped or cut off",
    "model": "see or choose the model of this thread",
    "effort": "see or choose how long the model thinks",
    "context": "see what the model gets with the next question",
    "why": "see which model and rules apply here, and why",
    "whoami": "see who I think you are, and what you may do here",
    "channel": "for administrators: set this channel's model, prompt or mode",
    "usage": "see what you have used, and what is left",
    "forget": "have everything deleted that I know of you",
    "export": "get everything that I know of you",
    "help": "what I can do",
}
"""Descriptions in the page's menu."""

GREETING = "Ask me anything. I answer in a thread, and your next message there continues it."
PROMPTS = (
    {"title": "What can you do?", "message": "What can you help me with?"},
    {"title": "Draft a message", "message": "Help me write a short message to my team."},
)
"""Suggestions in Slack's agent pane; the app manifests repeat them."""

_COMMAND_LIST = """\
- `/reset`: start over
- `/undo`: take the last `/reset` back
- `/stop`: stop the answer that is being written
- `/retry`: write the newest answer again, in its place
- `/continue`: continue an answer that was stopped or cut off
- `/model`: see or choose the model of a conversation
- `/effort`: see or choose how long the model thinks
- `/context`: see what the model gets with the next question
- `/why`: see which model and rules apply here, and why; `/whoami`: how the rules see you
- `/usage`: see what you have used, and what is left
- `/forget me`: have everything deleted that I know of you; `/export me`: get it as a file
- `/channel`: for administrators, set this channel's model, prompt or mode
- `/help`: this text"""
HELP_PAGE = f"""\
Begin a message in the channel with `@threadline` and I answer in a thread; write in the thread to \
continue.

{_COMMAND_LIST}"""
HELP_TERMINAL = f"""\
Write a line and I answer. Ctrl-C stops the answer, `/quit` or Ctrl-D ends the program.

{_COMMAND_LIST}
- `/attach PATH`: send files with the next message; alone it lists them, `/detach` removes them"""
HELP = """\
Mention me in a channel and I answer in a thread; write in the thread to continue. \
In a direct message just write.

- `/reset`: start over (inside a thread you can also mention me with the word `reset`)
- `/model`: see or choose the model of a conversation
- `/effort`: see or choose how long the model thinks: low, medium or high
- `/context`: see what the model gets with the next question
- `/why`: see which model and rules apply here, and why; `/whoami`: how the rules see you
- `/usage`: see what you have used, and what is left
- `/forget me`: have everything deleted that I know of you; `/export me`: get it as a file
- `/channel`: for administrators, set this channel's model, prompt or mode
- `stop` after a mention, or the button: stop the answer that is being written
- `retry`, or the button “Try again”: write the newest answer again, in its place
- `continue`, or the button “Go on”: continue an answer that was stopped or cut off
- `undo`: take the last `reset` back
- Edit your last question and I answer it again; delete it and I forget it.
- `/help`: this text"""
