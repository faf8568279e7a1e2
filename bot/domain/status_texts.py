"""Sentences and table cells of `threadline status` and `threadline conversations`."""

from __future__ import annotations

NOT_RUNNING = (
    "No bot runs here: nothing answers on its control socket. This is what the database says:"
)
OTHER_USER = "The bot runs as another user: run this command as that user."
NO_ANSWER = "The bot does not answer: its log says what it does."
UNREADABLE = "The bot answers in a form that this version does not know: update this command."
NOTHING_UNFINISHED = "no turn is waiting or running"
AMBIGUOUS = "Several conversations begin with this id; write more of it."
NO_SUCH_CONVERSATION = "There is no such conversation: `threadline conversations` lists them."
NOT_AN_ID = (
    "write the beginning of an id as `threadline conversations` shows it, or "
    "PLATFORM/WORKSPACE/CHANNEL/THREAD"
)
NOTHING_FOUND = "no conversation matches"


def unknown_request(known: tuple[str, ...]) -> str:
    """The bot's answer to an unknown request on its control socket."""
    return f"This bot knows {', '.join(known)}, and nothing else."


def older_not_shown(shown: int) -> str:
    """The line below a list that was cut at its limit."""
    return f"only the latest {shown:,} are shown: --limit shows more"


def seconds(value: float) -> str:
    """A duration in its two largest units, such as `3 min 5 s`."""
    left = max(0, round(value))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count and len(parts) < 2:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts) or "0 s"


def ago(now: float, at: float | None) -> str:
    """How long ago something happened."""
    return "never" if at is None else f"{seconds(now - at)} ago"


def megabytes(size: float) -> str:
    """Format the size of the database."""
    return f"{size / 1e6:,.1f} MB"
