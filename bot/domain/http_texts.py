"""The sentences of the HTTP API, the page's server and /healthz: see `bot.domain.texts`."""

from __future__ import annotations

from collections.abc import Sequence

# ── access ────────────────────────────────────────────────────────────────────────────────────
UNKNOWN_TOKEN = "Send a token that this server knows: “Authorization: Bearer …”."  # noqa: S105
TOO_MANY_GUESSES = "Too many wrong tokens came from your address: wait a little."
FOREIGN_HOST = "This server does not answer under that name: add it to HTTP_ALLOWED_HOSTS."
FOREIGN_ORIGIN = "Pages of other sites may not use this server."
THROUGH_PROXY = (
    "Without HTTP_TOKENS this server answers only programs on its own machine, not through a proxy."
)
API_CLOSED = "The page and the API are closed here: set HTTP_TOKENS to open them."
ADMINS_ONLY = "Only administrators may read these: those named web:NAME in ADMINS."

# ── limits ────────────────────────────────────────────────────────────────────────────────────
TOO_MANY_STREAMS = (
    "You have too many answers and pages open at once: close some, or ask again soon."
)
TWO_LENGTHS = "A request has either a Content-Length or a Transfer-Encoding."
RECEIVING_TOO_MUCH = "Too much is being received at once: ask again soon."
NOT_READY = "Threadline is starting or stopping: ask again in a moment."
STOPPING = "Threadline is stopping: ask again in a moment."


def body_too_long(limit: int) -> str:
    """A request's body has more than `limit` bytes."""
    return f"A request may have {limit:,} bytes at most."


# ── conversations ─────────────────────────────────────────────────────────────────────────────
CONVERSATION_DELETED = "This conversation has been deleted."
NO_SUCH_CONVERSATION = "You have no such conversation."
NO_SUCH_MESSAGE = "There is no such message in this conversation."
NO_SUCH_THREAD = "There is no such thread."
NEEDS_MENTION = "Begin with @threadline: I answer in a thread when I am mentioned."
MESSAGE_IN_USE = "This message is being answered right now: wait for the answer, or stop it."
ROLE_FIXED = "The role of a question or an answer cannot be changed, only its content."


def model_not_offered(choices: Sequence[str]) -> str:
    """A request chooses a model that the settings do not offer."""
    offered = ", ".join(choices) or "none: leave it out, or null"
    return f"this model is not offered here; choose one of: {offered}"


# ── /healthz ──────────────────────────────────────────────────────────────────────────────────
def part_failed(what: str, seconds: float) -> str:
    """A part of the process failed; `what` is the error's type, if there was an error."""
    kind = f" ({what})" if what else ""
    return f"It failed in an unforeseen way{kind} and starts again in {seconds:g} s; see the log."


def part_refused(sentence: str, seconds: float) -> str:
    """A part of the process may not start, for the reason that `sentence` gives."""
    return f"{sentence.rstrip('.')}. It tries again in {seconds / 60:g} min."
