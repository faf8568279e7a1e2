"""Asks the person at the terminal, or reads the answers from a pipe, one a line."""

from __future__ import annotations

import getpass
import sys

from bot.domain.errors import ThreadlineError


class NoAnswer(ThreadlineError):
    """The input ended before an answer."""

    def __init__(self, question: str) -> None:
        super().__init__(
            f"No answer to “{question}”: write the answers into the input, one a line, or use the "
            "options that --help lists."
        )


def say(text: str) -> None:
    """Print a line immediately: what follows may take a while."""
    print(text, flush=True)


def ask(question: str, default: str = "") -> str:
    """The answer; an empty one is `default`. Raises NoAnswer at the end of input."""
    prompt = f"{question} [{default}]: " if default else f"{question}: "
    return _read(question, prompt) or default


def ask_hidden(question: str) -> str:
    """The answer, which a terminal does not show. Raises NoAnswer at the end of input."""
    if not sys.stdin.isatty():
        return _read(question, f"{question}: ")
    try:
        return getpass.getpass(f"{question}: ").strip()
    except EOFError:
        raise NoAnswer(question) from None


def _read(question: str, prompt: str) -> str:
    if sys.stdin.isatty():
        try:
            return input(prompt).strip()
        except EOFError:
            print()
            raise NoAnswer(question) from None
    print(prompt, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise NoAnswer(question)
    return line.strip()
