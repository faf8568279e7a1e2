"""Asks the person at the terminal, or reads the answers from a pipe, one per line."""

from __future__ import annotations

import getpass
import sys

from bot.domain.errors import ThreadlineError


class NoAnswer(ThreadlineError):
    """The input ended before an answer, or a person at a terminal pressed Ctrl-D."""

    def __init__(self, question: str) -> None:
        how = "write the answers into the input, one a line, or use the options that --help lists."
        if sys.stdin.isatty():
            how = "nothing more is written to .env."
        super().__init__(f"No answer to “{question}”: {how}")


def say(text: str) -> None:
    """Print a line immediately, because the next step may take a while."""
    print(text, flush=True)


def ask(question: str, default: str = "") -> str:
    """Ask a question; an empty answer means `default`. Raises NoAnswer at the end of input."""
    prompt = f"{question} [{default}]: " if default else f"{question}: "
    return _read(question, prompt) or default


def ask_hidden(question: str) -> str:
    """Ask without showing the answer on the terminal. Raises NoAnswer at the end of input."""
    if not sys.stdin.isatty():
        return _read(question, f"{question}: ")
    try:
        return getpass.getpass(f"{question}: ").strip()
    except EOFError:
        print()
        raise NoAnswer(question) from None
    except KeyboardInterrupt:  # the next prompt of the shell begins a line
        print()
        raise


def _read(question: str, prompt: str) -> str:
    if sys.stdin.isatty():
        try:
            return input(prompt).strip()
        except EOFError:
            print()
            raise NoAnswer(question) from None
        except KeyboardInterrupt:
            print()
            raise
    print(prompt, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise NoAnswer(question)
    return line.strip()
