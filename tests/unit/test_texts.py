"""Sentences for people: right grammar, and nothing of ours or a provider's inside showing."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from bot.common import logs
from bot.domain import texts
from bot.domain.errors import ModelError, RateLimited


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        (["image"], "I cannot use an image yet, only text."),
        (["file", "file"], "I cannot use files yet, only text."),
        (["voice message", "image"], "I cannot use a voice message or an image yet, only text."),
        (
            ["file", "image", "sticker", "image"],
            "I cannot use a file, images or a sticker yet, only text.",
        ),
    ],
)
def test_unusable_things_are_named_in_one_sentence(kinds: list[str], sentence: str) -> None:
    assert texts.unusable(kinds) == sentence


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
def test_wait_is_told_in_words(wait: float, said: str) -> None:
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


def test_secrets_do_not_get_into_the_log_wherever_they_stand(stream: io.StringIO) -> None:
    """In a value, in a nested one, in a traceback, in a library's own line."""
    log = structlog.stdlib.get_logger("bot.test")
    try:
        raise RuntimeError("refused xoxb-secret-token")
    except RuntimeError:
        log.exception("failed", token="xoxb-secret-token", nested={"a": ["xoxb-secret-token"]})
    logging.getLogger("slack_sdk").warning("sent %s", "xoxb-secret-token")
    assert "xoxb-secret-token" not in stream.getvalue()
    assert stream.getvalue().count("…") >= 4


def test_a_line_is_json_with_the_turn_that_it_belongs_to(stream: io.StringIO) -> None:
    log = structlog.stdlib.get_logger("bot.test")
    with structlog.contextvars.bound_contextvars(turn=7, conversation="sim/w/c/t"):
        log.info("turn ended", outcome="answered", tokens=12)
    line = json.loads(stream.getvalue())
    assert line["turn"] == 7
    assert line["tokens"] == 12
    assert line["level"] == "info"
    assert line["event"] == "turn ended"
