"""A model's stream: its deltas, their text, and the failure that ends it."""

from __future__ import annotations

import pytest

from bot.domain.conversations import Message, Role
from bot.domain.errors import ModelError
from bot.domain.model import ChatRequest, Delta
from bot.ports.model import ChatModel
from tests.sims.model.client import ModelSim

HELLO = ChatRequest(messages=(Message(role=Role.USER, content="hello"),))


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def reasoning(deltas: list[Delta]) -> str:
    return "".join(delta.reasoning for delta in deltas)


async def fail(
    model: ChatModel,
    request: ChatRequest = HELLO,
    *,
    sim: ModelSim | None = None,
    released_at: str = "",
) -> tuple[list[Delta], ModelError]:
    """The deltas before the failure, and the failure.

    `sim` releases the held answer once the text equals `released_at`, because a connection reset
    may overtake text that the client has not read.
    """
    deltas: list[Delta] = []
    with pytest.raises(ModelError) as caught:
        async for delta in model.stream(request):
            deltas.append(delta)
            if sim is not None and delta.text and text(deltas) == released_at:
                await sim.release()
    return deltas, caught.value
