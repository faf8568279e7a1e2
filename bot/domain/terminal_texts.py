"""Sentences that only the terminal shows: see `bot.domain.texts`."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.attachment_labels import file_size

FORGET = ("/forget", "me", "yes")
"""The words of a line that deletes everything about the person."""

QUIT = ("/quit", "/exit")
"""Lines that end the program, as Ctrl-D does."""

NOTHING_ATTACHED = "Nothing is attached. `/attach PATH` attaches a file."
NO_FILES = "Files are switched off here: ATTACHMENT_MAX_MB is 0."
ALL_DETACHED = "Nothing is attached any more."


def greeting(model: str, conversation: str, *, running: bool) -> str:
    """The first lines of an interactive chat. `running`: it talks to a bot that already runs."""
    where = " of the running bot" if running else ""
    return (
        f"Threadline{where} · {model} · conversation “{conversation}”\n"
        "Ctrl-C stops an answer, /help lists the commands, /quit ends."
    )


def attached(files: Sequence[tuple[str, int]]) -> str:
    """List the names and sizes of the files that the next message will include."""
    names = ", ".join(f"{name} ({file_size(size)})" for name, size in files)
    return f"With your next message: {names}"


def not_attached(name: str) -> str:
    """No attached file has this name."""
    return f"“{name}” is not attached."


def no_such_file(path: str) -> str:
    """There is nothing at this path."""
    return f"There is no file “{path}”."


def not_a_file(path: str) -> str:
    """The path leads to a folder or a device."""
    return f"“{path}” is not a file."


def not_readable(path: str) -> str:
    """The file cannot be opened, or reading it failed."""
    return f"“{path}” cannot be read."


def answer_unwritten(reason: str | None) -> str:
    """Writing the answer to a file or a pipe failed."""
    return f"The answer cannot be written: {reason}."


def too_large(name: str, most: int) -> str:
    """The file has more than `most` bytes."""
    return f"“{name}” is too large: a file may have {most / 1_000_000:g} MB at most."


def too_many(most: int) -> str:
    """There are more than `most` files."""
    return f"A message may have {most} {'file' if most == 1 else 'files'} at most."


def input_too_large(most: int) -> str:
    """Standard input has more than `most` bytes."""
    return f"The input is too large: it may have {most / 1_000_000:g} MB at most."
