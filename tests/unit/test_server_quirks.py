"""A parameter that a model's server rejects is left out of later requests, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.conversations import Effort, Message, Role
from bot.domain.model import ChatRequest
from bot.llm.addresses import takes_cache_key
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageUploads
from bot.llm.server_quirks import ServerQuirks

REQUEST = ChatRequest(
    (Message(Role.SYSTEM, "Be kind."), Message(Role.USER, "Hello!")),
    max_tokens=500,
    temperature=0.2,
    effort=Effort.LOW,
    cache_key="k1",
)


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error"}
        | {"param": param, "code": code}
    }


def fastapi(location: str, kind: str, message: str) -> dict[str, Any]:
    return {"detail": [{"type": kind, "loc": ["body", location], "msg": message, "input": "low"}]}


# Each rejection, with the workaround it teaches and where its wording was reported.
REJECTIONS: dict[str, tuple[int, Any, str]] = {
    "OpenAI, a model that does not reason": (
        400,
        openai(
            "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
            "reasoning_effort",
            "unsupported_parameter",
        ),
        "without reasoning_effort",
    ),
    "OpenAI, a model with fewer values (Kilo-Org/cloud#3807)": (
        400,
        openai(
            "Unsupported value: 'reasoning_effort' does not support 'low' with this model."
            " Supported values are: 'medium' and 'high'.",
            "reasoning_effort",
            "unsupported_value",
        ),
        "without reasoning_effort low",
    ),
    "OpenAI, older": (
        400,
        openai("Unrecognized request argument supplied: reasoning_effort"),
        "without reasoning_effort",
    ),
    "Azure": (
        400,
        openai(
            "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
            "reasoning_effort",
            "unsupported_parameter",
        ),
        "without reasoning_effort",
    ),
    "Groq, a model with other values (earendil-works/pi#1745)": (
        400,
        openai("`reasoning_effort` must be one of `none` or `default`"),
        "without reasoning_effort low",
    ),
    "Groq, a model that does not reason": (
        400,
        openai("reasoning_effort is not supported with this model"),
        "without reasoning_effort",
    ),
    "xAI (NousResearch/hermes-agent#23088)": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Model grok-4-1-fast does not support parameter reasoningEffort.",
        },
        "without reasoning_effort",
    ),
    "Ollama, a model that does not think (NousResearch/hermes-agent#108070)": (
        400,
        {"error": {"message": '"llama3.2" does not support thinking', "type": "api_error"}},
        "without reasoning_effort",
    ),
    "Ollama, a model that only thinks or not (ollama/ollama#12561)": (
        400,
        {"error": {"message": 'think value "low" is not supported for this model'}},
        "without reasoning_effort low",
    ),
    "Mistral, an unknown field": (
        422,
        fastapi("reasoning_effort", "extra_forbidden", "Extra inputs are not permitted"),
        "without reasoning_effort",
    ),
    "Mistral, fewer values": (
        422,
        fastapi("reasoning_effort", "literal_error", "Input should be 'none' or 'high'"),
        "without reasoning_effort low",
    ),
    "Gemini, a model that does not think": (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Thinking level is not supported for this model.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        "without reasoning_effort",
    ),
    "DeepInfra (NousResearch/hermes-agent#111875)": (
        422,
        fastapi("reasoning_effort", "literal_error", "Input should be 'none', 'minimal' or 'max'"),
        "without reasoning_effort low",
    ),
    "OpenAI, a temperature": (
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the"
            " default (1) value is supported.",
            "temperature",
            "unsupported_value",
        ),
        "without temperature",
    ),
    "an unknown cache key": (
        400,
        openai("Unknown parameter: 'prompt_cache_key'.", "prompt_cache_key", "unknown_parameter"),
        "without prompt_cache_key",
    ),
    "OpenAI, the limit's old name": (
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        ),
        "with max_completion_tokens",
    ),
    "Groq, no system role": (
        400,
        openai("prompting with images is incompatible with system messages"),
        "with the system prompt in the first message",
    ),
}


def quirks() -> ServerQuirks:
    return ServerQuirks(("max_tokens", "max_completion_tokens"), takes_cache_key=True)


@pytest.mark.parametrize(("status", "body", "learned"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_rejection_teaches_one_workaround(status: int, body: Any, learned: str) -> None:
    """The next request differs only in that, and the same rejection teaches nothing twice."""
    server = quirks()
    sent = server.parameters(REQUEST, ImageUploads())
    report = ErrorReport.parse(status, body)
    assert server.learn(report, sent, REQUEST) is not None
    assert list(server.describe()) == [learned]
    again = server.parameters(REQUEST, ImageUploads())
    changed = {name for name in sent.keys() | again.keys() if sent.get(name) != again.get(name)}
    expected = {
        "with max_completion_tokens": {"max_tokens", "max_completion_tokens"},
        "with the system prompt in the first message": {"messages"},
    }.get(learned, set(learned.split()[1:2]))
    assert changed == expected
    if learned.startswith("without reasoning_effort"):
        assert server.learn(report, again, REQUEST) is None


def test_another_effort_is_still_tried() -> None:
    """A rejected value says nothing about the other values."""
    server = quirks()
    _, body, _ = REJECTIONS["OpenAI, a model with fewer values (Kilo-Org/cloud#3807)"]
    server.learn(ErrorReport.parse(400, body), server.parameters(REQUEST, ImageUploads()), REQUEST)
    high = ChatRequest(REQUEST.messages, effort=Effort.HIGH)
    assert server.parameters(high, ImageUploads())["reasoning_effort"] == "high"


def test_what_is_not_chosen_is_not_sent() -> None:
    plain = ChatRequest(REQUEST.messages)
    assert set(quirks().parameters(plain, ImageUploads())) == {
        "messages",
        "stream",
        "stream_options",
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, openai("Rate limit reached for reasoning_effort", code="rate_limit_exceeded")),
        (404, openai("The model `qwen-thinking` does not exist", code="model_not_found")),
        (400, openai("The thinking part of your prompt was flagged", code="content_filter")),
        (500, "<html><body>reasoning_effort</body></html>"),
        (400, openai("Something else is wrong with thinking models.")),
    ],
)
def test_other_failures_teach_nothing(status: int, body: Any) -> None:
    server = quirks()
    sent = server.parameters(REQUEST, ImageUploads())
    assert server.learn(ErrorReport.parse(status, body), sent, REQUEST) is None
    assert list(server.describe()) == []


@pytest.mark.parametrize(
    ("url", "takes"),
    [
        ("https://api.openai.com/v1", True),
        ("https://me.openai.azure.com/openai/v1", True),
        ("https://api.mistral.ai/v1", True),
        ("https://api.groq.com/openai/v1", False),
        ("http://api.openai.com.evil.example/v1", False),
        ("http://127.0.0.1:11434/v1", False),
    ],
)
def test_only_servers_that_document_it_get_a_cache_key(url: str, takes: bool) -> None:
    assert takes_cache_key(url) is takes
