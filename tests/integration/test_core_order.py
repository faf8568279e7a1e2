"""The order of a conversation's messages when a platform is slow to describe their authors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Accepted, Address, Incoming, Receipt
from tests.integration.test_core_access import CID, asked, directory, receive, texts_of, world_with
from tests.support.core_kit import World, until
from tests.support.policy_kit import FixedDirectory
from tests.support.store_kit import key, look

__all__ = ["directory"]


async def while_held(
    world: World, directory: FixedDirectory, first: Incoming, *then: Awaitable[Any]
) -> list[Any]:
    """Send a message whose author's lookup is held, and do everything else while it is being
    checked."""
    directory.held[first.author.id] = asyncio.Event()
    asks = directory.calls.count("person")
    sending = asyncio.create_task(world.inbox.receive(first))
    await until(lambda: directory.calls.count("person") > asks)
    others = [asyncio.ensure_future(each) for each in then]
    for _ in range(20):  # everything that does not wait for the first message overtakes it
        await world.store.find(key())
    directory.held.pop(first.author.id).set()
    done = [await sending, *(await asyncio.gather(*others))]
    await world.idle()
    return done


async def test_a_message_is_stored_after_the_one_before_it(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """Its answer takes the earlier message into account, even one that began the conversation."""
    async with world_with(tmp_path, directory, "allow = '@team'") as world:
        await receive(world, asked(1, "begin"))
        world.model.requests.clear()
        late = asked(2, "by Cid", author=CID, address=Address.FOLLOW_UP)
        soon = asked(3, "by Ann", address=Address.FOLLOW_UP)
        await while_held(world, directory, late, world.inbox.receive(soon))
        contents = [content for (content,) in look(world.path, SAID)]
        assert contents == ["begin", "by Cid", "by Ann"]
        assert all("by Cid" in str(each.messages) for each in world.model.requests)

        new = key("t2")
        late = asked(4, "a new thread", author=CID, where=new)
        soon = asked(5, "and more", where=new, address=Address.FOLLOW_UP)
        receipts = await while_held(world, directory, late, world.inbox.receive(soon))
        assert receipts == [Receipt.QUESTION] * 2


SAID = "SELECT content FROM messages WHERE kind = 'question' ORDER BY id"


async def test_actions_on_a_message_that_is_being_checked(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """An edit, a deletion and a reset wait until it is stored; a stop waits for nothing."""
    async with world_with(tmp_path, directory, "allow = '@team'") as world:
        await receive(world, asked(1, "begin"))
        first = asked(2, "with a typo", author=CID, address=Address.FOLLOW_UP)
        corrected = replace(first, text="corrected", edited_at=first.sent_at + 1)
        await while_held(world, directory, first, world.inbox.edited(corrected, first.sent_at + 1))
        assert look(world.path, SAID) == [("begin",), ("corrected",)]

        deleted = asked(3, "deleted", author=CID, address=Address.FOLLOW_UP)
        await while_held(world, directory, deleted, world.inbox.deleted(deleted.source))
        assert "deleted" not in str(look(world.path, SAID)) + texts_of(world)

        old = asked(4, "before the reset", author=CID, address=Address.FOLLOW_UP)
        await while_held(world, directory, old, world.inbox.receive(asked(5, "reset")))
        [(epoch,)] = look(
            world.path, "SELECT epoch FROM messages WHERE content = 'before the reset'"
        )
        assert epoch == 1

        waiting = asked(6, "slow", author=CID, address=Address.FOLLOW_UP)
        directory.held[CID.id] = asyncio.Event()
        sending = asyncio.create_task(world.inbox.receive(waiting))
        assert await world.inbox.receive(asked(7, "stop")) is Receipt.COMMAND
        assert not sending.done()
        directory.held.pop(CID.id).set()
        await sending
        await world.idle()


async def test_concurrent_copies_of_a_message_count_once_against_the_rate(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """Slack reports a mention as two events, which are checked concurrently."""
    toml = "allow = '@team'\nlimits = { questions_per_minute = 1 }"
    async with world_with(tmp_path, directory, toml) as world:
        mention = asked(1, "why?", author=CID)
        receipts = await while_held(world, directory, mention, world.inbox.receive(mention))
        assert receipts == [Receipt.QUESTION, Receipt.KNOWN]
        assert directory.told == []


async def test_the_second_announcement_of_a_message_costs_no_look_into_the_database(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack announces each mention twice. A message that is read again later is looked up."""
    looks: list[str] = []
    async with world_with(tmp_path, directory, "allow = '@team'") as world:
        accept = world.store.accept

        async def note(incoming: Incoming, *backlog: Any, **options: Any) -> Accepted:
            looks.append(incoming.source)
            return await accept(incoming, *backlog, **options)

        monkeypatch.setattr(world.store, "accept", note)
        first = asked(1, "begin", author=CID)
        receipts = await while_held(world, directory, first, world.inbox.receive(first))
        assert receipts == [Receipt.QUESTION, Receipt.KNOWN]
        assert await world.inbox.receive(first) is Receipt.KNOWN
        assert looks == [first.source]

        await world.inbox.missed([first])
        assert looks == [first.source] * 2


async def test_the_second_announcement_counts_if_the_first_was_not_stored(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world_with(tmp_path, directory, "allow = '@team'") as world:

        async def fail(*_: Any, **__: Any) -> Accepted:
            raise StoreUnavailable("locked")

        monkeypatch.setattr(world.store, "accept", fail)
        with pytest.raises(StoreUnavailable):
            await world.inbox.receive(asked(1, "begin"))
        monkeypatch.undo()
        assert await receive(world, asked(1, "begin")) is Receipt.QUESTION
