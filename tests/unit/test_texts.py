"""Sentences for people: correct, without internals, and all of them in one place."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bot.common import logs
from bot.domain import texts
from bot.domain.errors import ModelError, RateLimited
from bot.inbox import commands

ROOT = Path(__file__).parents[2]
# Where sentences for operators are: the command line, `doctor`, settings, the database, the log.
FOR_OPERATORS = re.compile(
    r"bot/(__main__|app|cli/.*|config/.*|operation/(definitions|reference)|store/.*|common/(logs|proxies)|doctor|llm/(check|registry)|tracing/setup)\.py"
    r"|adapters/(console/remote|\w+/(doctor|handshake|scopes|server))\.py"
)
# Where other texts are: for the model, the echo model's answers, the API's description.
FOR_OTHERS = re.compile(
    r"bot/(context/\w+|llm/(echo|demo\w*))\.py|adapters/web/(openapi|site|schemas)\.py"
)
_TEXTS = re.compile(r"bot/domain/(\w+_)?(texts|labels)\.py")
# Calls whose strings people do not see. Operators see why an adapter cannot start.
_UNSEEN = {"CannotStart", "HTTPBearer", "Field", "Query"}
_SENTENCE = re.compile(r"[“@`]?[A-Z].*\s.*\s.*[.!?…]", re.DOTALL)


def _strings(tree: ast.AST, call: str = "") -> Iterator[tuple[int, str]]:
    """The string literals below `tree` with their lines, except docstrings and unseen calls."""
    if isinstance(tree, ast.Call):
        call = ast.unparse(tree.func)
    if call in _UNSEEN or call.startswith("log."):
        return
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.JoinedStr):
        values = (v.value if isinstance(v, ast.Constant) else "x" for v in tree.values)
        yield tree.lineno, "".join(map(str, values))
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    for child in ast.iter_child_nodes(tree):
        yield from _strings(child, "" if isinstance(child, ast.stmt) else call)


def test_every_sentence_for_people_is_in_the_texts() -> None:
    """Finds literals that look like sentences, in all code but the operators' and the model's."""
    found = []
    for path in sorted([*(ROOT / "bot").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if any(place.fullmatch(name) for place in (FOR_OPERATORS, FOR_OTHERS, _TEXTS)):
            continue
        strings = _strings(ast.parse(path.read_text()))
        found += [f"{name}:{line} {text}" for line, text in strings if _SENTENCE.fullmatch(text)]
    assert not found, "\n".join(found)


def test_a_sentence_that_stands_elsewhere_is_found() -> None:
    code = 'def f():\n    "It does this."\n    log.info("It did this.")\n    say(f"I see {x} now.")'
    strings = [text for _, text in _strings(ast.parse(code)) if _SENTENCE.fullmatch(text)]
    assert strings == ["I see x now."]


def test_every_command_has_a_description_in_the_page() -> None:
    assert set(texts.PAGE_COMMANDS) == set(commands.NAMES)
    assert set(texts.SLASH_COMMANDS) <= set(commands.NAMES)


def _all(kind: type[ModelError]) -> Iterator[type[ModelError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _all(sub)


@pytest.mark.parametrize("kind", sorted(_all(ModelError), key=lambda kind: kind.__name__))
def test_every_failure_has_a_sentence_without_the_providers_words(kind: type[ModelError]) -> None:
    sentence = texts.model_failure(kind("Traceback: sk-123 at 10.0.0.1"))
    assert sentence.endswith(".")
    assert "sk-123" not in sentence
    assert kind.__name__ not in sentence


@pytest.mark.parametrize(
    ("wait", "said"),
    [(0.2, "in a second"), (30, "in 30 seconds"), (89, "in 89 seconds"), (120, "in 2 minutes")],
)
def test_the_wait_is_written_in_words(wait: float, said: str) -> None:
    assert said in texts.model_failure(RateLimited(retry_after=wait))


# ── the log ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(level="DEBUG", form="json", secrets=["xoxb-secret-token", "abc"], stream=stream)
    yield stream
    root.handlers[:], level = before[0], before[1]
    root.setLevel(level)
    structlog.reset_defaults()


def test_secrets_never_get_into_the_log(stream: io.StringIO) -> None:
    """Tries a value, a nested value, a traceback, and a library's log line."""
    log = structlog.stdlib.get_logger("bot.test")
    try:
        raise RuntimeError("refused xoxb-secret-token")
    except RuntimeError:
        log.exception("failed", token="xoxb-secret-token", nested={"a": ["xoxb-secret-token"]})
    logging.getLogger("slack_sdk").warning("sent %s", "xoxb-secret-token")
    assert "xoxb-secret-token" not in stream.getvalue()
    assert stream.getvalue().count("…") >= 4


def test_a_log_line_is_json_with_its_turn(stream: io.StringIO) -> None:
    log = structlog.stdlib.get_logger("bot.test")
    with structlog.contextvars.bound_contextvars(turn=7, conversation="sim/w/c/t"):
        log.info("turn ended", outcome="answered", tokens=12)
    line = json.loads(stream.getvalue())
    assert line["turn"] == 7
    assert line["tokens"] == 12
    assert line["level"] == "info"
    assert line["event"] == "turn ended"
