"""Stores the answers of a replay as JSON lines, so that an interrupted replay can continue.

Invariant: a line is written as soon as its answer arrives. Only answers of the same run count: the
same model, prompt and options.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.domain.evaluation import Answer, Case
from bot.domain.money import NANO
from bot.evaluation.case_lines import Json, dollars, read_usage, usage_json


class ResultFile:
    """The file with the answers of the run `run`."""

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run

    def read(self) -> Mapping[str, Answer]:
        """The answers so far, by `case_id`, except failed ones, which are tried again."""
        found: dict[str, Answer] = {}
        if not self._path.exists():
            return found
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
                if value["run"] == self._run and not value["error"]:
                    found[value["case"]] = _answer(value)
            except (ValueError, KeyError, TypeError):  # the last line of a killed run
                continue
        return found

    def prepare(self) -> None:
        """Create the file for this user only, or end a line left unfinished by a killed run."""
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        text = self._path.read_bytes()
        if text and not text.endswith(b"\n"):
            self._path.write_bytes(text + b"\n")

    def add(self, case: Case, answer: Answer) -> None:
        """Append an answer."""
        line = {"run": self._run, "case": case_id(case), **answer_json(answer)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def run_id(*parts: object) -> str:
    """A digest that identifies a run by its model, prompt and options."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def case_id(case: Case) -> str:
    """An id that distinguishes cases, even after a question was edited."""
    asked = [(each.role.value, each.content) for each in case.messages]
    digest = hashlib.blake2b(repr(asked).encode(), digest_size=8).hexdigest()
    return f"{case.conversation}/{case.turn}/{digest}"


def answer_json(answer: Answer) -> Json:
    """Encode an answer for files."""
    return {
        "text": answer.text,
        "model": answer.model,
        "tokens": None if answer.usage is None else usage_json(answer.usage),
        "dollars": dollars(answer.cost),
        "seconds": {"first_token": answer.first_token_seconds, "total": answer.seconds},
        "error": answer.error,
    }


def _answer(value: Mapping[str, Any]) -> Answer:
    tokens, cost, seconds = value["tokens"], value["dollars"], value["seconds"]
    return Answer(
        text=value["text"],
        model=value["model"],
        usage=None if tokens is None else read_usage(tokens),
        cost=None if cost is None else round(cost * NANO),
        first_token_seconds=seconds["first_token"],
        seconds=seconds["total"],
        error=value["error"],
    )
