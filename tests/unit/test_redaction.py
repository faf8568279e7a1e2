"""Values are replaced in requests and put back into answers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.conversations import Message, Role
from bot.domain.errors import ModelError, ModelFailed
from bot.domain.model import ChatRequest, Delta
from bot.domain.policy import Redaction
from bot.llm.redaction import NOTE, Redactor, Restorer, restore
from tests.support.core_kit import ScriptedModel

ALL = frozenset(Redaction)
KEY = "ghp_" + "a1B2c3D4e5" * 4
CARD, MAIL = "4111 1111 1111 1111", "ann@example.org"


def request(*texts: str, redact: frozenset[Redaction] = ALL) -> ChatRequest:
    roles = (Role.USER, Role.ASSISTANT)
    messages = tuple(Message(roles[n % 2], text) for n, text in enumerate(texts))
    return ChatRequest(messages, redact=redact)


def contents(asked: ChatRequest) -> list[str]:
    return [message.content for message in asked.messages]


def test_a_request_has_placeholders_and_one_note() -> None:
    asked, values = Redactor().redact(
        request(f"my card is {CARD}", f"Noted: {CARD}.", f"mail {MAIL} and {CARD} with {KEY}")
    )
    note = NOTE.format(example="[card-1]")
    assert contents(asked) == [
        f"my card is [card-1]\n\n{note}",
        "Noted: [card-1].",
        "mail [email-1] and [card-1] with [key-1]",
    ]
    assert values == {"[card-1]": CARD, "[email-1]": MAIL, "[key-1]": KEY}


def test_keys_are_always_replaced_and_other_values_only_where_the_policy_says_so() -> None:
    asked, _ = Redactor().redact(request(f"{KEY} {CARD} {MAIL}", redact=frozenset()))
    assert contents(asked)[0].startswith(f"[key-1] {CARD} {MAIL}\n")
    asked, _ = Redactor().redact(request(f"{CARD} {MAIL}", redact=frozenset((Redaction.EMAIL,))))
    assert contents(asked)[0].startswith(f"{CARD} [email-1]\n")
    plain = request("nothing here", redact=ALL)
    assert Redactor().redact(plain) == (plain, {})


def test_a_longer_conversation_begins_like_the_shorter_one() -> None:
    texts = [f"card {CARD}", "ok", f"{MAIL}?", "yes", f"{KEY} or [card-1]", f"{MAIL} again {CARD}"]
    before: list[str] = []
    for count in range(1, len(texts) + 1):
        after = contents(Redactor().redact(request(*texts[:count]))[0])
        assert after[: len(before)] == before
        before = after


PIECES = st.sampled_from(
    [
        KEY,
        CARD,
        MAIL,
        "[card-1]",
        "[text-1]",
        "[",
        "]",
        "card-1",
        "[key-",
        "1]",
        " ",
        "\n",
        "x",
        "é",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=4), st.randoms())
def test_a_redacted_text_is_put_back_exactly_however_it_is_split(
    texts: Sequence[str], source: random.Random
) -> None:
    asked, values = Redactor().redact(request(*texts))
    for original, message in zip(texts, asked.messages, strict=True):
        streamed, restorer, place = "", Restorer(values), 0
        content = message.content
        if values:
            content = content.removesuffix(f"\n\n{NOTE.format(example=next(iter(values)))}")
        while place < len(content):
            size = source.randint(1, 5)
            streamed += restorer.feed(content[place : place + size])
            place += size
        assert streamed + restorer.flush() == original


async def collect(deltas: Sequence[Delta | ModelError], values: dict[str, str]) -> list[Delta]:
    async def stream() -> AsyncIterator[Delta]:
        for delta in deltas:
            if isinstance(delta, ModelError):
                raise delta
            yield delta

    found: list[Delta] = []
    try:
        async for delta in restore(stream(), values):
            found.append(delta)
    except ModelError:
        found.append(Delta(finish_reason="failed"))
    return found


async def test_reasoning_and_text_are_restored_each_for_itself() -> None:
    values = {"[card-1]": CARD}
    found = await collect(
        [
            Delta(reasoning="it is [car", model="m"),
            Delta(reasoning="d-1] or [card"),
            Delta(text="Your card: [card"),
            Delta(text="-1]. And [x"),
            Delta(text="", finish_reason="stop"),
        ],
        values,
    )
    assert "".join(delta.reasoning for delta in found) == f"it is {CARD} or [card"
    assert "".join(delta.text for delta in found) == f"Your card: {CARD}. And [x"
    assert found[-1].finish_reason == "stop"
    thought = [n for n, delta in enumerate(found) if delta.reasoning]
    said = [n for n, delta in enumerate(found) if delta.text]
    assert max(thought) < min(said)


@pytest.mark.parametrize("end", [ModelFailed("gone"), None])
async def test_what_is_kept_back_is_shown_at_the_end(end: ModelError | None) -> None:
    pieces: list[Delta | ModelError] = [Delta(text="see [card-")]
    found = await collect([*pieces, *([end] if end else [])], {"[card-1]": CARD})
    assert "".join(delta.text for delta in found) == "see [card-"


async def test_another_attempt_begins_with_nothing_kept_back() -> None:
    found = await collect(
        [Delta(text="a [card", model="one"), Delta(text="b", model="two")], {"[card-1]": CARD}
    )
    assert [(delta.model, delta.text) for delta in found] == [("one", "a "), ("two", "b")]


async def test_code_of_the_model_is_no_placeholder_and_a_value_behind_a_word_is_put_back() -> None:
    """An index such as `heap[key-1]` must not become the key from someone's question."""
    answer = "`heap[key-1]` has [key-1], 卡[card-1], x=[key-1]"
    for question, shown in (
        (f"sort by {KEY} {CARD}", f"`heap[key-1]` has {KEY}, 卡{CARD}, x={KEY}"),
        (f"url_{KEY} {CARD}", f"`heap{KEY}` has {KEY}, 卡{CARD}, x={KEY}"),
    ):
        for size in (1, 3, 100):
            pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
            model = ScriptedModel(pieces=[Delta(piece) for piece in pieces])
            deltas = Redactor().stream(model, request(question))
            assert "".join([delta.text async for delta in deltas]) == shown
