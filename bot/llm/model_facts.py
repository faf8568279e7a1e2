"""Facts about well-known model families, and the merging of facts from several sources.

The table is a fallback: the operator's and the server's own numbers come first, and a window from
here is used only up to 32,000 tokens (`bot.context.budgets`). Names that move to other models over
time (`deepseek-chat`, `mistral-large-latest`) have no row; their servers list windows. Prices are
in `bot.llm.prices`.

A wrong row costs little. If a window, an answer's length or an effort is too large, a refusal
corrects it. If it is too small, the context or the answer is shorter, or there is no `/effort`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from bot.domain.model import ModelFacts
from bot.llm.addresses import is_local

NO_FACTS = ModelFacts()
MILLION = 1_000_000

_CLAUDE = ModelFacts(window=200_000, sees=True, tools=True)
_CLAUDE_1M = ModelFacts(window=MILLION, max_output=128_000, sees=True, tools=True, effort=True)
_GPT_5 = ModelFacts(window=400_000, max_output=128_000, sees=True, tools=True, effort=True)
_GPT_5_LONG = replace(_GPT_5, window=1_050_000)
_CHAT = ModelFacts(window=128_000, max_output=16_384, sees=True, effort=False)
_O = ModelFacts(window=200_000, max_output=100_000, sees=True, tools=True, effort=True)
_GEMINI = ModelFacts(window=1_048_576, max_output=65_536, sees=True, tools=True, effort=True)
_TEXT_128K = ModelFacts(window=131_072, sees=False, tools=True, effort=False)

# Patterns in the style of file names, each with its facts. The pattern with the most characters
# wins. The comments name the makers' pages. Anthropic's and Google's newest models were read there
# on 2026-11-29, the other rows in public lists of models.
TABLE: dict[str, ModelFacts] = {
    # Anthropic, from platform.claude.com/docs/en/models/overview, and each model's page there
    "claude-*": _CLAUDE,
    "claude-haiku-4-5*": replace(_CLAUDE, max_output=64_000),
    "claude-opus-5": _CLAUDE_1M,
    "claude-opus-5-5*": _CLAUDE_1M,
    "claude-sonnet-5": _CLAUDE_1M,
    "claude-sonnet-5-5*": _CLAUDE_1M,
    "claude-haiku-5-5*": _CLAUDE_1M,
    "claude-fable-5-1*": _CLAUDE_1M,
    "claude-fable-5-2*": _CLAUDE_1M,
    # OpenAI, from developers.openai.com/api/docs/models, and each model's page there
    "gpt-3.5-turbo*": ModelFacts(window=16_385, max_output=4_096, sees=False, effort=False),
    "gpt-4": ModelFacts(window=8_192, max_output=8_192, sees=False, effort=False),
    "gpt-4-0613": ModelFacts(window=8_192, max_output=8_192, sees=False, effort=False),
    "gpt-4-turbo*": replace(_CHAT, max_output=4_096, tools=True),
    "gpt-4o*": replace(_CHAT, tools=True),
    "gpt-4o-mini*": replace(_CHAT, tools=True),
    "gpt-4.1*": ModelFacts(1_047_576, 32_768, True, True, False),
    "gpt-4.1-mini*": ModelFacts(1_047_576, 32_768, True, True, False),
    "gpt-4.1-nano*": ModelFacts(1_047_576, 32_768, True, True, False),
    "gpt-5": _GPT_5,
    "gpt-5-20*": _GPT_5,
    "gpt-5-mini*": _GPT_5,
    "gpt-5-nano*": _GPT_5,
    "gpt-5-codex*": _GPT_5,
    "gpt-5-chat*": _CHAT,
    "gpt-5.1*": _GPT_5,
    "gpt-5.1-chat*": _CHAT,
    "gpt-5.1-codex*": _GPT_5,
    "gpt-5.2*": _GPT_5,
    "gpt-5.2-pro*": _GPT_5,
    "gpt-5.2-chat*": _CHAT,
    "gpt-5.3-codex*": _GPT_5,
    "gpt-5.3-chat*": _CHAT,
    "gpt-5.4": _GPT_5_LONG,
    "gpt-5.4-20*": _GPT_5_LONG,
    "gpt-5.4-mini*": _GPT_5,
    "gpt-5.4-nano*": _GPT_5,
    "gpt-5.5*": _GPT_5_LONG,
    "gpt-5.6-*": _GPT_5_LONG,
    "o1": _O,
    "o1-20*": _O,
    "o3": _O,
    "o3-20*": _O,
    "o3-mini*": replace(_O, sees=False),
    "o4-mini*": _O,
    # OpenAI's open models, from the model cards on huggingface.co/openai
    "gpt-oss-20b*": replace(_TEXT_128K, effort=True),
    "gpt-oss-120b*": replace(_TEXT_128K, effort=True),
    # Google, from ai.google.dev/gemini-api/docs/models
    "gemini-2.0-flash*": replace(_GEMINI, max_output=8_192, effort=None),
    "gemini-2.5-pro*": _GEMINI,
    "gemini-2.5-flash*": _GEMINI,
    "gemini-3-pro-preview*": _GEMINI,
    "gemini-3-flash-preview*": _GEMINI,
    "gemini-3.5-flash*": _GEMINI,
    # DeepSeek, from api-docs.deepseek.com/quick_start/pricing
    "deepseek-v4-flash*": ModelFacts(window=MILLION, sees=False, tools=True),
    "deepseek-v4-pro*": ModelFacts(window=MILLION, sees=False, tools=True),
    # xAI, from docs.x.ai/docs/models
    "grok-3*": ModelFacts(window=131_072, sees=False, tools=True),
    "grok-4-0709": ModelFacts(window=256_000, sees=True, tools=True, effort=False),
    "grok-4-fast*": ModelFacts(window=2 * MILLION, sees=True, tools=True),
    "grok-4-1-fast*": ModelFacts(window=2 * MILLION, sees=True, tools=True),
    "grok-4.3*": ModelFacts(window=MILLION, sees=True, tools=True),
    "grok-4.5*": ModelFacts(window=500_000, sees=True, tools=True, effort=True),
    # Mistral's open models, from the model cards on huggingface.co/mistralai
    "mistral-nemo*": _TEXT_128K,
    "open-mistral-nemo*": _TEXT_128K,
    "mistral-medium-3.5*": ModelFacts(window=262_144, sees=True, tools=True),
    # Meta, from the model cards on huggingface.co/meta-llama
    "llama-3-*": replace(_TEXT_128K, window=8_192, tools=None),
    "llama3-*": replace(_TEXT_128K, window=8_192, tools=None),
    "llama-3.1*": _TEXT_128K,
    "llama3.1*": _TEXT_128K,
    "llama-3.2*": _TEXT_128K,
    "llama3.2*": _TEXT_128K,
    "llama-3.2-*vision*": replace(_TEXT_128K, sees=True, tools=None),
    "llama3.2-vision*": replace(_TEXT_128K, sees=True, tools=None),
    "llama-3.3*": _TEXT_128K,
    "llama3.3*": _TEXT_128K,
    # Alibaba, from the model cards on huggingface.co/Qwen (the windows without YaRN)
    "qwen2.5-*": ModelFacts(window=32_768, sees=False, tools=True, effort=False),
    "qwen2.5-*vl*": ModelFacts(window=32_768, sees=True, effort=False),
    "qwen2.5-*-1m*": ModelFacts(sees=False, tools=True, effort=False),
    # Google's open models, from the model cards on huggingface.co/google
    "gemma-2-*": ModelFacts(window=8_192, sees=False, effort=False),
    "gemma2-*": ModelFacts(window=8_192, sees=False, effort=False),
    "gemma-3-*": ModelFacts(window=131_072, sees=True, effort=False),
    "gemma3-*": ModelFacts(window=131_072, sees=True, effort=False),
    "gemma-3-1b*": ModelFacts(window=32_768, sees=False, effort=False),
    "gemma3-1b*": ModelFacts(window=32_768, sees=False, effort=False),
}

# What a local server decides when it loads a model, regardless of the model's abilities.
_DECIDED_BY_SERVER: dict[str, Any] = {
    "window": None,
    "max_output": None,
    "sees": None,
}

# Before the model's own name: fine-tuned models of OpenAI, Bedrock's regions and vendors, and
# Meta's spelling.
_PREFIXES = re.compile(r"^(ft:|([a-z]{2,6}\.)?(anthropic|meta|mistral)\.|meta-(?=llama))")
# Variants of a family for another purpose, which have other limits.
_OTHER_PURPOSES = re.compile(r"image|audio|tts|live|realtime|transcribe|embed|omni|guard")


def known_facts(model: str, address: str) -> ModelFacts:
    """The table's facts about a model of the server at the URL `address`.

    A local server decides some facts when it loads the model, so these are left out. For example,
    Ollama loads models with a window of 4,096 tokens on small machines and silently cuts longer
    requests (docs.ollama.com/context-length), so the model's own window must not be used there.
    """
    facts = _look_up(model)
    if is_local(address):
        return replace(facts, **_DECIDED_BY_SERVER)
    return facts


def merge_facts(*sources: ModelFacts) -> ModelFacts:
    """Take each fact from the first source that has it, in order of precedence."""
    merged = {field.name: _first(sources, field.name) for field in fields(ModelFacts)}
    merged["is_configured"] = any(facts.is_configured for facts in sources)
    return ModelFacts(**merged)


def _first(sources: Iterable[ModelFacts], name: str) -> Any:
    values = (getattr(facts, name) for facts in sources)
    return next((value for value in values if value is not None), None)


@lru_cache(maxsize=1_024)
def _look_up(model: str) -> ModelFacts:
    names = _spellings(model)
    if _OTHER_PURPOSES.search(names[0]):
        return NO_FACTS
    rows = (facts for pattern, facts in _rows() if any(fnmatchcase(n, pattern) for n in names))
    return next(rows, NO_FACTS)


def _spellings(model: str) -> tuple[str, ...]:
    """Spellings of the model's own name: without providers before it, with its tag after a dash."""
    name = _PREFIXES.sub("", model.lower().rpartition("/")[2])
    name = name.replace(":", "-")
    return (name, f"{name}-", name.replace(".", "-"))


@lru_cache(maxsize=1)
def _rows() -> list[tuple[str, ModelFacts]]:
    """The table, most specific first."""
    return sorted(TABLE.items(), key=lambda row: len(row[0].replace("*", "")), reverse=True)
