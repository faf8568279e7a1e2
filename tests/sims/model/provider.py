"""The simulated provider: its models and keys, what it rejects, and how it counts.

A control sets each of these; none depends on HTTP connections, scripts or pace.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.sims.model import anthropic
from tests.sims.model.answers import ResolvedAnswer, make_usage
from tests.sims.model.apis import CHAT, MESSAGES, Api
from tests.sims.model.efforts import EffortRules
from tests.sims.model.error_responses import FLAVORS, error_response, invalid_request
from tests.sims.model.images import BLIND, image_parts, refuse_images
from tests.sims.model.openai_cache import OpenAICache
from tests.sims.model.tokens import TokenCounter
from tests.sims.model.validate import check_key

MODELS = ("sim", "sim-2", "org/sim")
SETTINGS = ("key", "models", "context", "flavor", "images", "efforts", "tokenizer", "pass_time")
"""The controls, each a method `set_…`."""


@dataclass
class Provider:
    """One provider; `ModelSim` documents the settings."""

    keys: set[str] = field(default_factory=set)
    known: tuple[str, ...] = MODELS
    reasoning: frozenset[str] = frozenset()
    strict: frozenset[str] = frozenset()
    context: int | None = None
    blind: dict[str, str] = field(default_factory=dict)
    max_images: int = 500  # OpenAI's limit
    flavor: str = "openai"
    efforts: EffortRules = field(default_factory=EffortRules)
    tokens: TokenCounter = field(default_factory=TokenCounter)
    cache: OpenAICache = field(default_factory=OpenAICache)
    accounts: anthropic.Accounts = field(default_factory=anthropic.Accounts)
    time_passed: float = 0.0

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    def admit(self, headers: Mapping[str, str], body: Any, api: Api) -> dict[str, Any]:
        """Return the body of a request with a valid key; raises ErrorResponse."""
        if api is not MESSAGES:
            self.check_key(headers)
            return self._validate(body, api)
        anthropic.check_access(headers, self.keys)
        return anthropic.read_request(
            headers, body, known=self.known, reasoning=self.reasoning, blind=self.blind
        )

    def check_key(self, headers: Mapping[str, str], flavor: str | None = None) -> None:
        """Raises ErrorResponse, in the words of `flavor`, unless the key is one of `keys`."""
        check_key(headers.get("Authorization"), self.keys, flavor or self.flavor)

    def check_length(self, chat: dict[str, Any], body: dict[str, Any], api: Api) -> None:
        """Raises ErrorResponse if the request exceeds the window."""
        requested = self.tokens.count(chat["messages"])
        if api is MESSAGES:
            model = anthropic.traits(chat["model"], self.reasoning)
            anthropic.check_length(body, requested, self.context or model.window, model)
        elif self.context is not None and requested > self.context:
            raise error_response(
                "too_long", self.flavor, **{"8192": str(self.context), "9001": f"{requested}"}
            )

    def _validate(self, body: Any, api: Api) -> dict[str, Any]:
        model = body.get("model", "") if isinstance(body, dict) else ""
        strict = {"strict": model in self.strict} if api is CHAT else {}
        valid = api.validate(body, reasoning=model in self.reasoning, **strict)
        if self._base_name(model) not in self.known:
            raise error_response("unknown_model", self.flavor, missing=model)
        self.efforts.check(valid)
        self._check_images(model, api.as_chat(valid)["messages"])
        return valid

    def _check_images(self, model: str, messages: list[dict[str, Any]]) -> None:
        count = sum(1 for message in messages for _ in image_parts(message))
        if count and model in self.blind:
            raise refuse_images(self.blind[model])
        if count > self.max_images:
            raise invalid_request(
                f"At most {self.max_images} image(s) may be provided in one prompt."
            )

    def _base_name(self, model: str) -> str:
        # Hugging Face's router takes a provider or a policy after the model: org/name:fastest
        return model.partition(":")[0] if self.flavor == "huggingface" else model

    # ── counts ────────────────────────────────────────────────────────────────────────────────
    def count(
        self, headers: Mapping[str, str], body: dict[str, Any], answer: ResolvedAnswer, api: Api
    ) -> dict[str, Any]:
        """The counts for an answer; looks the request up in the cache."""
        spoken = self.tokens.count_text(answer.tokens)
        thought = self.tokens.count_text(answer.reasoning)
        now = time.time() + self.time_passed
        if api is MESSAGES:
            return self.accounts.usage(
                body,
                key=headers.get("x-api-key") or headers.get("Authorization") or "",
                model=anthropic.traits(body["model"], self.reasoning),
                counter=self.tokens,
                now=now,
                output=spoken,
                thinking=thought,
            )
        chat = api.as_chat(body)
        variant = (api.name, chat["model"], json.dumps(self.efforts.chosen(chat)))
        tokens = self.tokens.sequence(chat["messages"])
        cached = self.cache.look_up(variant, chat.get("prompt_cache_key") or "", tokens, now)
        return make_usage(len(tokens), spoken, thought, cached)

    # ── models ────────────────────────────────────────────────────────────────────────────────
    def describe_models(self, headers: Mapping[str, str], name: str | None) -> dict[str, Any]:
        """The list of models, or the model `name`; raises ErrorResponse."""
        if "anthropic-version" in headers:
            return anthropic.models(headers, name, keys=self.keys, known=self.known)
        self.check_key(headers)
        if name is None:
            return {"object": "list", "data": [_card(each) for each in self.known]}
        if self._base_name(name) not in self.known:
            raise error_response("unknown_model", missing=name)
        return _card(name)

    # ── settings ──────────────────────────────────────────────────────────────────────────────
    def set_key(self, keys: list[str]) -> None:
        self.keys = set(keys)

    def set_models(self, known: list[str], reasoning: list[str], strict: list[str]) -> None:
        self.known = (*known, *reasoning, *strict)
        self.reasoning, self.strict = frozenset(reasoning), frozenset(strict)

    def set_images(self, blind: dict[str, str], limit: int) -> None:
        if not set(blind.values()) <= set(BLIND):
            raise web.HTTPBadRequest(text=f"forms: {', '.join(BLIND)}")
        self.blind, self.max_images = blind, limit

    def set_efforts(
        self, plain: Sequence[str], values: Mapping[str, Sequence[str]], verified: bool
    ) -> None:
        self.efforts = EffortRules(plain=plain, values=values, verified=verified)

    def set_tokenizer(self, tables: str | None) -> None:
        self.tokens = TokenCounter(tables)

    def set_pass_time(self, seconds: float) -> None:
        self.time_passed += seconds

    def set_context(self, tokens: int | None) -> None:
        self.context = tokens

    def set_flavor(self, kind: str) -> None:
        if kind not in FLAVORS:
            raise web.HTTPBadRequest(text=f"flavors: {', '.join(FLAVORS)}")
        self.flavor = kind


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sim"}
