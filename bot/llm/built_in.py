"""Streams known texts, for the models that need no server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from bot.domain.model import ChatRequest, Delta, Usage
from bot.domain.tokens import count_tokens

# 50 pieces per second: quick to wait for, slow enough to watch the reply stream.
SECONDS_PER_PIECE = 0.02
_PIECE = re.compile(r"\s*\S{1,8}|\s+")


async def stream_text(
    text: str,
    request: ChatRequest,
    *,
    model: str,
    seconds_per_piece: float = SECONDS_PER_PIECE,
    finish_reason: str = "stop",
) -> AsyncIterator[Delta]:
    """Stream `text` in small pieces, up to the request's `max_tokens`.

    A text cut by that limit ends with `length`, any other with `finish_reason`.
    """
    pieces = _PIECE.findall(text)
    limit = request.max_tokens or len(pieces)
    for k, piece in enumerate(pieces[:limit]):
        yield Delta(piece, model=None if k else model)
        await asyncio.sleep(seconds_per_piece)
    input_tokens = sum(count_tokens(message.content) for message in request.messages)
    finish = finish_reason if limit >= len(pieces) else "length"
    yield Delta(finish_reason=finish, usage=Usage(input_tokens, min(limit, len(pieces))))
