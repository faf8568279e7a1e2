"""The sentences of the HTTP API, of the page's server and of /healthz: see `bot.domain.texts`."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.model_names import plain

# ── access ────────────────────────────────────────────────────────────────────────────────────
UNKNOWN_TOKEN = "Send a token that this server knows: “Authorization: Bearer …”."  # noqa: S105
ANOTHER_USER = "Another person is signed in in this browser now: load the page again."
TOO_MANY_WRONG_TOKENS = "Too many wrong tokens came from your address: wait a little."
FOREIGN_HOST = "This server does not answer under that name: add it to HTTP_ALLOWED_HOSTS."
FOREIGN_ORIGIN = "Pages of other sites may not use this server."
THROUGH_PROXY = (
    "Without HTTP_TOKENS this server answers only programs on its own machine, not through a proxy."
)
API_CLOSED = "The page and the API are closed here: set HTTP_TOKENS to open them."
ADMINS_ONLY = "Only administrators may read these: those named web:NAME in ADMINS."
MAY_NOT_ASK = "You may not ask here."
SEARCH_LANGUAGE = (
    "Words, all of which a text must have; from three letters on also as beginnings of words."
    ' "Words in this order", -not, in:title, before:2026-11-01, after:2026-11, model:gpt-5.'
)

# ── limits ────────────────────────────────────────────────────────────────────────────────────
TOO_MANY_STREAMS = "You have too many answers and pages open: close some, or ask again soon."
TOO_MANY_SEARCHES = "You search faster than this server can answer: try again in a moment."
TWO_LENGTHS = "A request has either a Content-Length or a Transfer-Encoding."
RECEIVING_TOO_MUCH = "The server is receiving too much data: ask again soon."
NOT_READY = "Threadline is starting or stopping: ask again in a moment."
STOPPING = "Threadline is stopping: ask again in a moment."
CONFIGURATION_KEPT = (
    "A configuration file is wrong, and the log says why: the configuration from before stays."
)


NOT_JSON = "The body is not JSON."
BROKE_OFF = "The request broke off."


def text_too_long(most: int) -> str:
    """The texts of a message have more than `most` characters in total."""
    return f"A message may have {most:,} characters at most."


def body_too_long(limit: int) -> str:
    """A request's body has more than `limit` bytes."""
    return f"A request may have {limit:,} bytes at most."


# ── files ─────────────────────────────────────────────────────────────────────────────────────
NO_FILES = "This server takes no files."
NOTHING_SAID = "Write a message, or attach a file."
FAILED_UNEXPECTEDLY = "Something went wrong in Threadline, and it has been logged."
COMMAND_WITH_FILES = "A command takes no files: remove them, or send them with a message."
NO_SUCH_FILE = "There is no such file."
FILE_NOT_STORED = "The content of this file is not stored here."
NOT_A_FILE = "Send a file here, with a file name."
NOT_A_FORM = "This is not multipart/form-data."
NOT_A_DATA_URL = "Write a data URL, such as data:image/png;base64,…, or the bytes in base64."
NOT_BASE64 = "This is not base64."
NOT_AN_ADDRESS = "Write a data URL, or an address that begins with https:// or http://."


def too_many_files(most: int) -> str:
    """A message has more than `most` files."""
    return f"A message may have {most} {'file' if most == 1 else 'files'} at most."


def file_too_large(name: str, most: int) -> str:
    """A file has more than `most` bytes."""
    return f"“{name}” is too large: a file may have {most / 1_000_000:g} MB at most."


# ── conversations ─────────────────────────────────────────────────────────────────────────────
CONVERSATION_DELETED = "This conversation has been deleted."
BEGAN_BY_ANOTHER = "Only the person who began it may change it."
SHARED_RECORDS = "Messages of a shared channel cannot be changed."
NO_SUCH_CONVERSATION = "You have no such conversation."
NO_SUCH_MESSAGE = "There is no such message in this conversation."
NO_SUCH_CHANNEL = "There is no such channel."
NO_SUCH_THREAD = "There is no such thread."
TOO_LATE_TO_UNDO = "It is too late to undo this: the thread has been erased."
NAME_WITHOUT_WORDS = "name: write at least one word"
NO_SUCH_PLACE = "write the `next` of the page before, unchanged"
NEEDS_MENTION = "Begin with @threadline: I answer in a thread when I am mentioned."
MESSAGE_IN_USE = "This message is being answered right now: wait for the answer, or stop it."
NOT_SHOWN = "This question is not in the conversation as it is shown now."
ANSWER_HAS_NO_CONTENT = "Another answer is the model's: leave out the content."
QUESTION_HAS_NO_MODEL = "Choose the model of an answer, or of the whole conversation."
NOT_A_QUESTION = "Only a question that you asked has other versions."
ROLE_FIXED = "The role of a question or an answer cannot be changed, only its content."


NO_INSTRUCTIONS = "The rules of this place allow no instructions or temperature of one's own."
NO_SHARING = "The rules of this place do not allow sharing."
NOTHING_TO_SHARE = "There is nothing to share yet: wait for the first answer."
NO_SUCH_LINK = "This link does not exist, or not any more."
TOO_MANY_REQUESTS = "You ask for this too often: wait a moment."
NO_SUCH_ZONE = "write a time zone's name, such as Europe/Berlin"

NAMED_MODELS = 20
"""The most models that a sentence names; a server may offer hundreds."""


def model_not_offered(choices: Sequence[str]) -> str:
    """The request names a model that is not offered."""
    named = [plain(each) for each in choices[:NAMED_MODELS]]
    offered = ", ".join(named) or "none: leave it out, or null"
    more = len(choices) - NAMED_MODELS
    rest = f", and {more:,} more that GET /models lists" if more > 0 else ""
    return f"this model is not offered here; choose one of: {offered}{rest}"


# ── /healthz ──────────────────────────────────────────────────────────────────────────────────
def part_failed(what: str, seconds: float) -> str:
    """A component of the process failed; `what` is the type of the error, if there was one."""
    kind = f" ({what})" if what else ""
    return f"It failed unexpectedly{kind} and restarts in {seconds:g} s; see the log."


def part_refused(sentence: str, seconds: float) -> str:
    """A component of the process refuses to start, for the reason given in `sentence`."""
    return f"{sentence.rstrip('.')}. It tries again in {seconds / 60:g} min."


# ── /readyz ───────────────────────────────────────────────────────────────────────────────────
DRAINING = "The bot finishes running answers and starts no new ones."
DATABASE_FAILS = "The database does not answer; see the log."


def is_starting(part: str) -> str:
    """A platform has not connected yet."""
    return f"{part} has not connected yet."


def not_connected(part: str) -> str:
    """No platform is connected; `part` is one of them."""
    return f"{part} is not connected; see /healthz."


SAMPLE_QUESTION = "What can you do?"
"""Opens the sample thread of a new installation; the demo model answers it."""
