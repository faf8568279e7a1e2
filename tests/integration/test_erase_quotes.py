"""Quotes of an erased person in a long conversation: all are removed, and replies that repeat any
of them; the conversation's replies are compared once, not once for each quote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.domain.inbox import Address
from bot.domain.repetition import QUOTE_ERASED
from bot.store import erasure
from tests.support.growth import count_calls
from tests.support.store_kit import ANSWER, BEN, answer_next, connected, look, opened, said

SECRETS = [f"the number {n} is my secret number" for n in range(20)]


async def long_conversation(path: Path) -> None:
    """Ben quotes Eve in every question; every other answer repeats her."""
    async with opened(path) as store:
        for number, secret in enumerate(SECRETS, 1):
            text = f"Eve wrote:\n> {secret}\n\nIs {number} right?"
            address = Address.MENTION if number == 1 else Address.FOLLOW_UP
            accepted = await store.accept(said(number, text, address=address, author=BEN))
            content = f"Yes, {secret}." if number % 2 else "I do not know."
            result = replace(ANSWER, content=content, display=content)
            await answer_next(store, accepted.conversation, result)


async def test_every_quote_and_every_repetition_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    await long_conversation(path)
    async with opened(path) as store:
        quoting = await store.privacy().quoting("sim", ["Eve"])
        assert len(quoting) == len(SECRETS)
        await store.privacy().erase_quotes(quoting, ["Eve"])
    asked = look(path, "SELECT content FROM messages WHERE kind = 'question' ORDER BY id")
    assert asked == [(f"{QUOTE_ERASED}\n\nIs {n} right?",) for n in range(1, len(SECRETS) + 1)]
    replies = look(path, "SELECT content FROM turns ORDER BY id")
    assert replies == [("",), ("I do not know.",)] * (len(SECRETS) // 2)


async def test_more_quotes_cost_no_more_comparisons(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    await long_conversation(path)
    with connected(path) as db:
        quoting = erasure.quoting(db, "sim", ["Eve"])
        one = count_calls(lambda: erasure.erase_quotes(db, 9.0, quoting[:1], ["Eve"]))
        rest = count_calls(lambda: erasure.erase_quotes(db, 9.0, quoting[1:], ["Eve"]))
    assert rest < 4 * one


async def test_a_person_may_have_had_any_number_of_names(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    await long_conversation(path)
    names = [*(f"Name {number}" for number in range(2_000)), "Eve"]
    async with opened(path) as store:
        assert len(await store.privacy().quoting("sim", names)) == len(SECRETS)
