"""Model names: a provider and its model, such as `ollama/llama3.1:8b` or `openai:gpt-5`."""

from __future__ import annotations

import re
from collections.abc import Iterable

ECHO = "echo"
"""The only name without a provider."""

EVERY_MODEL = "*"
"""Stands for all models of a provider: `ollama/*`."""


def split_name(name: str) -> tuple[str, str]:
    """The provider and its model; the model keeps later separators (`org/model:tag`)."""
    provider, *model = re.split("[/:]", name, maxsplit=1)
    return provider, model[0] if model else ""


def is_pattern(name: str) -> bool:
    """Whether a choice stands for all models of a provider."""
    return split_name(name)[1] == EVERY_MODEL


def expand(pattern: str, models: Iterable[str]) -> list[str]:
    """The names of a provider's `models`, with the separator of the pattern."""
    return [pattern.removesuffix(EVERY_MODEL) + model for model in models]
