"""Looks for a model server on this machine, to offer it to an operator who has set no model.

Asks only loopback addresses, once and only for the list of models, bypassing any proxy. A server
that does not answer immediately is treated as absent.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bot.llm.list_entries import parse_list

ANSWER_SECONDS = 0.3
"""The limit for all servers together. A port without a listener refuses within 1 ms."""

MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A program that usually listens on `port`; `provider` is its name in model names."""

    title: str
    provider: str
    port: int


LOCAL_SERVERS = (
    LocalServer("Ollama", "ollama", 11434),  # docs.ollama.com/api
    LocalServer("LM Studio", "lmstudio", 1234),  # lmstudio.ai/docs/developer/openai-compat
    LocalServer("llama.cpp", "llamacpp", 8080),  # github.com/ggml-org/llama.cpp, tools/server
    LocalServer("vLLM", "vllm", 8000),  # docs.vllm.ai/en/latest/serving
)


class LocalServerSearch:
    """Asks the servers as soon as it is created, in threads that never delay the program's exit."""

    def __init__(self, servers: Sequence[LocalServer]) -> None:
        self._servers, self._found = servers, dict[LocalServer, tuple[str, ...]]()
        self._until = time.monotonic() + ANSWER_SECONDS
        self._threads = [
            threading.Thread(target=self._ask, args=(server,), daemon=True) for server in servers
        ]
        for thread in self._threads:
            thread.start()

    def offer(self) -> str | None:
        """The offer of the first server that answered, or None. Waits up to ANSWER_SECONDS."""
        found = self.found()
        if not found:
            return None
        server, (model, *_) = found[0]
        return (
            f"{server.title} answers on this machine with {model}: "
            f"LLM={server.provider}/{model} in .env uses it."
        )

    def found(self) -> Sequence[tuple[LocalServer, tuple[str, ...]]]:
        """The servers that answered, each with its models. Waits up to ANSWER_SECONDS."""
        for thread in self._threads:
            thread.join(max(self._until - time.monotonic(), 0))
        known = dict(self._found)  # a late thread may still add one
        return [(server, known[server]) for server in self._servers if server in known]

    def _ask(self, server: LocalServer) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            models = parse_list(_get_list(server.port))
            if models:
                self._found[server] = tuple(model.name for model in models)


def _get_list(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        return response.read(MAX_BYTES) if response.status == 200 else b"{}"
