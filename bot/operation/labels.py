"""Bounds the values of labels: a value that is not known in advance becomes `other`."""

from __future__ import annotations

from collections.abc import Collection

from bot.domain.model_names import provider_of
from bot.domain.operation import OTHER


def known_or_other(name: str, known: Collection[str]) -> str:
    """`name` if it is known, otherwise `other`."""
    return name if name in known else OTHER


def model_label(name: str, configured: Collection[str]) -> str:
    """The model's name if it is configured, otherwise its provider's if that is configured.

    A server that offers thousands of models (`ollama/*`) is one value.
    """
    if name in configured:
        return name
    provider = provider_of(name)
    known = provider and any(provider_of(each) == provider for each in configured)
    return f"{provider}/{OTHER}" if known else OTHER
