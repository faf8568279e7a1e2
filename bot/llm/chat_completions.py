"""A model behind a provider's chat completions API, independent of the client library."""

from __future__ import annotations

from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.chunks import ChunkParser
from bot.llm.server_quirks import LIMIT_NAMES, ServerQuirks
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import Endpoint, StreamingModel


class ChatCompletionsModel(StreamingModel):
    """One model of an endpoint, named as in the settings; closing it closes the endpoint.

    `limit_names` are the names of the output limit, in order of preference. `takes_cache_key`: the
    server finds its prompt cache by a key.
    """

    def __init__(
        self,
        *,
        name: str,
        model: str,
        endpoint: Endpoint,
        timeouts: StreamTimeouts,
        probe: ChatRequest | None = None,
        limit_names: tuple[str, ...] = LIMIT_NAMES,
        facts: ModelFacts | None = None,
        takes_cache_key: bool = False,
    ) -> None:
        super().__init__(
            name=name,
            model=model,
            endpoint=endpoint,
            builder=ServerQuirks(limit_names, takes_cache_key=takes_cache_key),
            make_parser=ChunkParser,
            timeouts=timeouts,
            probe=probe,
            facts=facts,
        )
