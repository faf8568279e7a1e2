"""A server that lists models and answers with one word, in the shapes of well-known servers, at a
set pace.

The shapes have the fields of real responses, as documented or recorded by their makers, with fewer
models.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

JSON = "application/json"
READY = (
    b'data: {"choices":[{"delta":{"content":"ready"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def _openai(*names: str, **fields: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", **fields} for name in names]}


# https://platform.openai.com/docs/api-reference/models/list
OPENAI = _openai(
    "gpt-5", "text-embedding-3-small", "whisper-1", "gpt-4o-mini-tts", "dall-e-3",
    "omni-moderation-latest", "gpt-realtime", "gpt-image-1", "sora-2", "gpt-4.1", "davinci-002",
)  # fmt: skip
# https://docs.ollama.com/api/openai-compatibility: names alone; /api/ps has the loaded models
OLLAMA = _openai(
    "llama3.1:8b", "nomic-embed-text:latest", "qwen3:latest", "hf.co/bartowski/X-GGUF:Q4_K_M",
    owned_by="library",
)  # fmt: skip
OLLAMA_LOADED = {
    "models": [{"name": "llama3.1:8b", "model": "llama3.1:8b", "context_length": 4096}]
}
VLLM = _openai("Qwen/Qwen3-8B", owned_by="vllm", max_model_len=16_384)
# https://openrouter.ai/docs/api-reference/list-available-models
OPENROUTER = {
    "data": [
        {
            "id": "anthropic/claude-x",
            "context_length": 1_000_000,
            "architecture": {
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
            },
            "pricing": {
                "prompt": "0.000003",
                "completion": "0.000015",
                "input_cache_read": "0.0000003",
                "input_cache_write": "0.00000375",
            },
            "top_provider": {"context_length": 200_000, "max_completion_tokens": 64_000},
            "supported_parameters": ["max_tokens", "tools", "reasoning"],
        },
        {
            "id": "google/painter",
            "architecture": {"input_modalities": ["text"], "output_modalities": ["image", "text"]},
        },
        {
            "id": "openrouter/auto",
            "context_length": 2_000_000,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "pricing": {"prompt": "-1", "completion": "-1"},
            "top_provider": {"context_length": None, "max_completion_tokens": None},
            "supported_parameters": [],
        },
    ]
}
# https://lmstudio.ai/docs/developer/rest/endpoints: /v1/models has names alone
LM_STUDIO = _openai("qwen2.5-7b-instruct", "text-embedding-nomic-embed-text-v1.5")
LM_STUDIO_LOADED = {
    "data": [
        {
            "id": "qwen2.5-7b-instruct",
            "type": "llm",
            "state": "loaded",
            "max_context_length": 32_768,
            "loaded_context_length": 8_192,
        },
        {"id": "other", "type": "llm", "state": "not-loaded", "max_context_length": 131_072},
    ]
}
# https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/618: the answer to any other path
LM_STUDIO_UNKNOWN = {"error": "Unexpected endpoint or method. (GET /api/ps)"}
# https://console.groq.com/docs/api-reference#models-list
GROQ = {
    "object": "list",
    "data": [
        {
            "id": "openai/gpt-oss-20b",
            "active": True,
            "context_window": 131_072,
            "max_completion_tokens": 65_536,
        },
        {"id": "old-model", "active": False, "context_window": 8_192},
        {"id": "whisper-large-v3", "active": True, "context_window": 448},
    ],
}
# https://docs.mistral.ai/api/#tag/models
MISTRAL = {
    "data": [
        {
            "id": "mistral-x",
            "max_context_length": 131_072,
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
        },
        {"id": "mistral-ocr", "capabilities": {"completion_chat": False}},
    ]
}
# https://platform.claude.com/docs/en/api/models/list
ANTHROPIC = {
    "data": [
        {
            "id": "claude-x",
            "type": "model",
            "display_name": "Claude X",
            "created_at": "2026-01-01T00:00:00Z",
            "max_input_tokens": 1_000_000,
            "max_tokens": 128_000,
            "lifecycle": "active",
            "capabilities": {
                "effort": {"supported": True},
                "image_input": {"supported": True},
            },
        },
        {"id": "claude-2.0", "type": "model", "lifecycle": "retired"},
    ],
    "has_more": False,
    "first_id": "claude-x",
    "last_id": "claude-2.0",
}
TOGETHER = [  # a bare list
    {"id": "meta/chat", "type": "chat", "context_length": 131_072},
    {"id": "bge", "type": "embedding", "context_length": 512},
]
LLAMA_CPP = _openai("ggml-org/gemma-3-4b-it-GGUF", meta={"n_ctx_train": 131_072})
LLAMA_CPP_PROPS = {"default_generation_settings": {"n_ctx": 16_384}, "total_slots": 1}


@dataclass
class ListServer:
    """Answers GET requests with `bodies` by path; other paths with the body of `/*`, or with 404.

    `hold` delays the next answers until it is set. A `status` other than 200 applies to all
    requests, a `chat_status` to all questions.
    """

    port: int = 0
    bodies: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    chat_status: int = 200
    hold: asyncio.Event | None = None
    requests: list[tuple[str, Mapping[str, str], Mapping[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The base URL of the OpenAI-compatible API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def paths(self) -> list[str]:
        """The paths of all requests."""
        return [path for path, _, _ in self.requests]

    async def chat(self, _request: web.Request) -> web.Response:
        """Answer with one word, or as a server that lacks the model would."""
        if self.chat_status != 200:
            error = {"error": {"message": "model not found", "code": "model_not_found"}}
            return web.json_response(error, status=self.chat_status)
        return web.Response(body=READY, content_type="text/event-stream")

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.requests.append((request.path, dict(request.headers), dict(request.query)))
        if self.hold is not None:
            await self.hold.wait()
        body = self.bodies.get(request.path, self.bodies.get("/*"))
        if self.status != 200 or body is None:
            status = 404 if self.status == 200 else self.status
            return web.Response(status=status, body=b'{"error": {}}', content_type=JSON)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=data, content_type=JSON)


@asynccontextmanager
async def list_server(models: Any, **others: Any) -> AsyncIterator[ListServer]:
    """A running server whose list is `models`; `others` are bodies by path, `_` for `/`."""
    server = ListServer(bodies={"/v1/models": models})
    server.bodies |= {"/" + path.replace("_", "/"): body for path, body in others.items()}
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    app.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()
