"""Model names: `PROVIDER/MODEL`, such as `ollama/llama3.1:8b`; the older form `PROVIDER:MODEL`; and
the built-in models, which need no server."""

from __future__ import annotations

import re

from bot.config.problems import quote
from bot.domain.model import BUILT_IN

EVERY_MODEL = "*"
"""Stands for all models of a provider: `ollama/*`."""

NO_SUMMARIES = "none"
"""Used instead of the name of a summary model: no summaries are written."""

WITH_COLON = ("openai", "huggingface")
"""The providers whose models may also be written with a colon, for compatibility."""

PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
_MODEL = re.compile(r"[^\s,*]{1,200}")
_EXAMPLE = "write PROVIDER/MODEL, such as openai/gpt-5-mini, demo or echo"


def split_name(name: str) -> tuple[str, str]:
    """Split a name into provider and model; the model keeps later separators (`org/model:tag`)."""
    provider, *model = re.split("[/:]", name, maxsplit=1)
    return provider, model[0] if model else ""


def other_spelling(name: str) -> str | None:
    """The name with a colon instead of the slash, or vice versa; None if there is no other
    spelling."""
    provider, model = split_name(name)
    if provider not in WITH_COLON:
        return None
    return f"{provider}{':' if name[len(provider)] == '/' else '/'}{model}"


def check_name(name: str) -> str:
    """Check the name of one model. Raises ValueError with a sentence that says what to write."""
    provider, model = split_name(name)
    if name in BUILT_IN:
        return name
    if model == EVERY_MODEL:
        raise ValueError(f"{quote(name)} stands for several models: write the name of one")
    if provider in BUILT_IN or not PROVIDER_NAME.fullmatch(provider) or not _MODEL.fullmatch(model):
        raise ValueError(f"{quote(name)} is not a model: {_EXAMPLE}")
    if name[len(provider)] == ":" and provider not in WITH_COLON:
        raise ValueError(
            f"{quote(name)} is not a model: write a slash after the provider, {_EXAMPLE}"
        )
    return name


def check_summarizer(name: str) -> str:
    """Like `check_name`, but also allows `none`."""
    return name if name == NO_SUMMARIES else check_name(name)


def check_choice(name: str) -> str:
    """Like `check_name`, but also allows PROVIDER/*."""
    provider, model = split_name(name)
    if model != EVERY_MODEL:
        return check_name(name)
    if provider in BUILT_IN or not PROVIDER_NAME.fullmatch(provider) or "/" not in name:
        raise ValueError(
            f"{quote(name)} is not a choice: write PROVIDER/* for all models of a server"
        )
    return name


def is_pattern(name: str) -> bool:
    """Whether a choice stands for all models of a provider."""
    return split_name(name)[1] == EVERY_MODEL
