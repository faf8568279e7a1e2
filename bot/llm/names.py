"""Model names: a provider and its model, such as `ollama/llama3.1:8b` or `openai:gpt-5`."""

from __future__ import annotations

import re

ECHO = "echo"
"""The only name without a provider."""

EVERY_MODEL = "*"
"""Stands for all models of a provider: `ollama/*`."""


def split_name(name: str) -> tuple[str, str]:
    """The provider and its model; the model keeps later separators (`org/model:tag`)."""
    provider, *model = re.split("[/:]", name, maxsplit=1)
    return provider, model[0] if model else ""
