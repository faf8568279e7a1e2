"""A conversation whose window is full for many turns, and the share of its requests that a cache
can hit.

The driver works on any `World` of the core kit, whatever its model: a recording one, or a real
client in front of a simulator.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bot.domain.conversations import Message
from bot.domain.inbox import Address, Incoming
from bot.domain.model import ChatRequest, Delta, Usage
from bot.domain.tokens import count_tokens, message_tokens
from tests.support.content_kit import PNG, file
from tests.support.core_kit import World
from tests.support.store_kit import ANN, BEN, said

TEXT = (
    "the deploy failed again because the queue was full and the workers did not restart so we "
    "looked at the log and found a timeout in the third step which had not been there before"
)

FILE_EVERY, IMAGE_EVERY, ASIDE_EVERY = 6, 9, 5


def prose(words: int, seed: object) -> str:
    """Words that are the same for the same seed."""
    chosen = random.Random(str(seed)).choices(TEXT.split(), k=words)
    return f"{seed}: {' '.join(chosen)}."


def script(first: int, turns: int, *, words: int, mixed: bool) -> Iterator[list[Incoming]]:
    """The messages of each turn; the last one is a question.

    With `mixed`, two people speak, sometimes to each other, and attach files and images.
    """
    for turn in range(first, first + turns):
        number = 10 * turn
        author = BEN if mixed and turn % 3 == 0 else ANN
        said_here = []
        if mixed and turn % ASIDE_EVERY == 0:
            aside = prose(words // 2, number)
            said_here.append(said(number, aside, author=BEN, address=Address.ASIDE))
        names = [f"log{turn}.txt"] if mixed and turn % FILE_EVERY == 0 else []
        names += [f"shot{turn}.png"] if mixed and turn % IMAGE_EVERY == 0 else []
        question = said(
            number + 1,
            prose(words, number + 1),
            author=author,
            address=Address.MENTION,
            attachments=tuple(map(file, names)),
        )
        yield [*said_here, question]


async def converse(
    world: World, first: int, turns: int, *, words: int = 60, mixed: bool = False
) -> None:
    """Have `turns` turns, numbered from `first`, each of which must be answered."""
    for messages in script(first, turns, words=words, mixed=mixed):
        for message in messages:
            for each in message.attachments:
                is_image = each.name.endswith(".png")
                text = prose(3 * words, each.name).encode()
                world.adapter.files[each.name] = PNG + text if is_image else text
            await world.inbox.receive(message)
        await world.idle()
    assert {outcome for outcome, _ in world.outcomes()} == {"answered"}


def answer_with_usage(world: World, *, words: int = 80, ratio: float = 0.8) -> None:
    """Let the recording model answer with text, and count `ratio` tokens for each estimated one."""

    def answer() -> Sequence[Delta]:
        request, number = world.model.requests[-1], len(world.model.requests)
        counted = int(ratio * sum(map(message_tokens, request.messages)))
        usage = Usage(counted, words)
        return (
            Delta(prose(words, f"answer {number}"), model=world.model.name),
            Delta(finish_reason="stop", usage=usage),
        )

    world.model.script = answer


# ── what a cache of the longest known prefix would hit ────────────────────────────────────────
def serialize(messages: Sequence[Message]) -> str:
    """A request as one text: roles, contents and images in their order."""
    return "".join(map(_serialize_one, messages))


def _serialize_one(message: Message) -> str:
    images = "".join(f"[{hashlib.sha256(part.data).hexdigest()}]" for part in message.parts)
    return f"\0{message.role.value}\n{message.content}{images}"


def prefix_share(requests: Sequence[ChatRequest]) -> float:
    """The share of the requests' tokens in the prefix that each shares with the previous
    request."""
    texts = [serialize(request.messages) for request in requests]
    shared = (_common_beginning(one, two) for one, two in pairwise(texts))
    return sum(map(count_tokens, shared)) / sum(map(count_tokens, texts[1:]))


def _common_beginning(one: str, two: str) -> str:
    different = (n for n, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1])
    return one[: next(different, min(len(one), len(two)))]


def one_message_a_turn(requests: Sequence[ChatRequest], budget: int) -> list[ChatRequest]:
    """The same turns under the older rule: the newest whole messages that fit, chosen again each
    turn."""
    known: list[Message] = []
    trimmed = []
    for request in requests:
        system, *rest = request.messages
        known = _merge(known, rest)
        left, kept = budget - message_tokens(system), list[Message]()
        for message in reversed(known):
            left -= message_tokens(message)
            if left < 0:
                break
            kept.append(message)
        trimmed.append(ChatRequest(messages=(system, *kept[::-1])))
    return trimmed


def _merge(known: Sequence[Message], newest: Sequence[Message]) -> list[Message]:
    """All messages so far: `newest` may lack old ones, but has their current text."""
    ids = {message.id for message in newest}
    return [*(message for message in known if message.id not in ids), *newest]
