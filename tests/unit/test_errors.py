"""Errors carry the data on which callers decide; no caller parses a message or a class name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.domain.errors import Gone, ModelError
from bot.domain.failures import FailureReason


def _subclasses(kind: type[ModelError]) -> Iterator[type[ModelError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


@pytest.mark.parametrize(
    "kind", sorted(set(_subclasses(ModelError)), key=lambda kind: kind.__name__)
)
def test_each_model_error_has_a_reason_spelled_as_older_databases_store_it(
    kind: type[ModelError],
) -> None:
    assert kind.reason is FailureReason(kind.__name__)


def test_a_platform_error_without_a_message_shows_its_code() -> None:
    error = Gone(code="channel_not_found")
    assert (error.code, str(error)) == ("channel_not_found", "channel_not_found")
    assert Gone("the thread was deleted").code == ""
