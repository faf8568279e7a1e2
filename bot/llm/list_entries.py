"""Reads a server's list of models. Each kind of server uses different fields.

Invariant: a listed name contains only letters, digits and a few signs, so it is plain text in every
message, log and setting; other entries are dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain.model import ModelFacts, Prices
from bot.llm.windows import LARGEST_WINDOW, SMALLEST_WINDOW

MOST_MODELS = 2_000
"""How many models of a list are kept: OpenRouter, the longest known one, lists about 500."""

_NAME = re.compile(r"[A-Za-z0-9@~][A-Za-z0-9._:/@+~-]{0,149}")

# ── models that do not chat ───────────────────────────────────────────────────────────────────
# By the fields that reveal it; Together, LM Studio, GitHub and DeepInfra name a type or a task.
_OTHER_TYPES = re.compile(
    r"embed|image|audio|speech|transcri|rerank|moderat|video|classif", re.IGNORECASE
)
# By name, for servers that list only names, such as OpenAI, Gemini and Ollama.
_OTHER_NAMES = re.compile(
    r"embed|rerank|whisper|transcribe|moderation|dall-e|imagen|stable-diffusion|\bflux|\bveo\b"
    r"|\bsora|\btts\b|realtime|\blive\b|-image\b|gpt-image|davinci|babbage|-instruct-0914"
    r"|gpt-3\.5-turbo-instruct|\bbge-|\bgte-|\be5-|minilm|nomic-|colbert|\bocr\b|llama-guard"
    r"|prompt-guard|robotics|computer-use",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A chat model, with the facts that the list contains about it."""

    name: str
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class Listing:
    """A server's list, and the windows of the models that a local server has loaded."""

    models: tuple[ListedModel, ...] = ()
    windows: Mapping[str, int] = field(default_factory=dict)


def parse_list(body: bytes) -> tuple[ListedModel, ...]:
    """The models in a response, in its order and without duplicates.

    Raises ValueError if the response has no list: an error with status 200 must not empty a known
    list.
    """
    found: dict[str, ListedModel] = {}
    for entry in _entries(_load(body)):
        name = _name(entry)
        if name and name not in found and _chats(name, entry):
            found[name] = ListedModel(name, _facts(entry))
            if len(found) == MOST_MODELS:
                break
    return tuple(found.values())


def _load(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _entries(body: Any) -> Iterator[Mapping[str, Any]]:
    """The list's entries: under `data` (OpenAI), under `models` (Ollama, Gemini), or bare.

    An empty list may be null (Ollama).
    """
    fields = [body[name] for name in ("data", "models") if name in body] if _is_dict(body) else []
    listed = next((field for field in (body, *fields) if isinstance(field, list)), None)
    if listed is None and None not in fields:
        raise ValueError("the response has no list")
    yield from filter(_is_dict, listed or ())


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _name(entry: Mapping[str, Any]) -> str:
    """The model's name; "" if the entry has none that is plain text."""
    names = (entry.get(field) for field in ("id", "key", "model", "name"))
    name = next((name for name in names if isinstance(name, str) and name), "")
    name = name.removeprefix("models/")  # Gemini's lists
    return name if _NAME.fullmatch(name) else ""


def _chats(name: str, entry: Mapping[str, Any]) -> bool:
    """Whether the model writes text; fields take precedence over the name."""
    if entry.get("active") is False or entry.get("lifecycle") == "retired":
        return False
    types = [entry.get(field) for field in ("type", "task", "model_type")]
    if any(isinstance(kind, str) and _OTHER_TYPES.search(kind) for kind in types):
        return False
    outputs = _get(entry, "architecture", "output_modalities")
    if isinstance(outputs, list):
        return "text" in outputs and "image" not in outputs
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, dict) and isinstance(capabilities.get("completion_chat"), bool):
        return bool(capabilities["completion_chat"])  # Mistral
    if isinstance(capabilities, list) and "embedding" in capabilities:
        return False  # Ollama
    return _OTHER_NAMES.search(name) is None


# ── facts ─────────────────────────────────────────────────────────────────────────────────────
def _facts(entry: Mapping[str, Any]) -> ModelFacts:
    parameters = entry.get("supported_parameters")
    if isinstance(parameters, list):  # OpenRouter
        tools: bool | None = "tools" in parameters
        effort: bool | None = "reasoning" in parameters or "reasoning_effort" in parameters
    else:
        tools = _capability(entry, "function_calling", "tools")
        effort = _capability(entry, "effort")
    return ModelFacts(
        window=_window(entry),
        max_output=_max_output(entry),
        sees=_sees(entry),
        tools=tools,
        effort=effort,
        prices=_prices(entry.get("pricing")),
    )


def _window(entry: Mapping[str, Any]) -> int | None:
    """The context window that the server gives to requests.

    This is not the model's own maximum: LM Studio's `max_context_length`, llama.cpp's
    `n_ctx_train`.
    """
    if "loaded_context_length" in entry or "state" in entry:  # LM Studio
        return _count(entry.get("loaded_context_length"))
    counts = (
        entry.get("max_model_len"),  # vLLM, SGLang
        entry.get("context_window"),  # Groq
        _get(entry, "top_provider", "context_length"),  # OpenRouter's default route
        entry.get("context_length"),  # OpenRouter, Together, Fireworks
        entry.get("max_context_length"),  # Mistral
        entry.get("max_input_tokens"),  # Anthropic
        entry.get("inputTokenLimit"),  # Gemini
        _get(entry, "metadata", "context_length"),  # DeepInfra
        _get(entry, "meta", "n_ctx"),  # llama.cpp
    )
    return next((count for value in counts if (count := _count(value)) is not None), None)


def _max_output(entry: Mapping[str, Any]) -> int | None:
    counts = (
        _get(entry, "top_provider", "max_completion_tokens"),  # OpenRouter
        entry.get("max_completion_tokens"),  # Groq
        entry.get("outputTokenLimit"),  # Gemini
        entry.get("max_tokens") if "max_input_tokens" in entry else None,  # Anthropic
    )
    return next((count for value in counts if (count := _count(value)) is not None), None)


def _sees(entry: Mapping[str, Any]) -> bool | None:
    inputs = _get(entry, "architecture", "input_modalities")
    if isinstance(inputs, list):
        return "image" in inputs
    if entry.get("type") == "vlm":  # LM Studio
        return True
    return _capability(entry, "vision", "image_input")


def _capability(entry: Mapping[str, Any], *names: str) -> bool | None:
    """A capability as a boolean (Mistral), `{"supported": …}` (Anthropic) or in a list (Ollama)."""
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, list):
        return True if any(name in capabilities for name in names) else None
    for name in names:
        value = _get(entry, "capabilities", name)
        value = value.get("supported") if isinstance(value, dict) else value
        if isinstance(value, bool):
            return value
    return None


def _prices(pricing: Any) -> Prices | None:
    """OpenRouter's prices: dollars per token, as text; -1 stands for a price that varies."""
    if not isinstance(pricing, dict):
        return None
    names = ("prompt", "completion", "input_cache_read", "input_cache_write")
    paid, got, cached, written = (_dollars(pricing.get(name)) for name in names)
    return None if paid is None or got is None else Prices(paid, got, cached, written)


def _dollars(text: Any) -> float | None:
    try:
        value = float(text) * 1_000_000
    except (OverflowError, TypeError, ValueError):
        return None
    return round(value, 6) if 0 <= value < 1_000_000 else None


def _count(value: Any) -> int | None:
    """A plausible number of tokens, or None; some servers write 0 if the number is unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if SMALLEST_WINDOW <= value <= LARGEST_WINDOW else None


def _get(entry: Any, *path: str) -> Any:
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry


# ── what local servers say about the models that they have loaded ─────────────────────────────
def parse_ollama_loaded(body: bytes) -> dict[str, int]:
    """`/api/ps` of Ollama 0.11 and later: the windows of the loaded models, by name."""
    windows = {_name(entry): _count(entry.get("context_length")) for entry in _entries(_load(body))}
    return {name: window for name, window in windows.items() if name and window is not None}


def parse_lm_studio(body: bytes) -> dict[str, int]:
    """`/api/v0/models` of LM Studio: the windows of the loaded models, by name."""
    windows = {
        _name(entry): _count(entry.get("loaded_context_length")) for entry in _entries(_load(body))
    }
    return {name: window for name, window in windows.items() if name and window is not None}


def parse_llama_cpp(body: bytes) -> int | None:
    """`/props` of llama.cpp's server: the window of its model."""
    props = _load(body)
    return _count(_get(props, "default_generation_settings", "n_ctx"))
