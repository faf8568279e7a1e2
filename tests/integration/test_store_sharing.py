"""Links, default models and thread settings in the database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import ConversationKey
from bot.domain.privacy import EVERYWHERE, Person
from bot.domain.records import RecordScope
from bot.privacy.forgetting import Forgetter
from bot.store.store import SqlStore
from tests.support.store_kit import ANN, ANSWER, Place, claim_next, key, look, opened, said

NOW = 1e11  # Unix seconds: later than everything
SCOPE = RecordScope("sim", "w1")


async def talk(store: SqlStore, number: int = 1, **changes: object) -> int:
    """Store a question with its answer; returns the row id of their conversation."""
    accepted = await store.accept(replace(said(number), **changes))  # type: ignore[arg-type]
    claim = await claim_next(store, accepted.conversation)
    await store.conclude(claim.fence, ANSWER)
    await store.finish(claim.fence)
    return accepted.conversation


async def read_shown(store: SqlStore, uid: str) -> list[str]:
    return [each.content for each in await store.shares().messages(uid, after=-1, limit=99)]


async def uid_of(store: SqlStore) -> str:
    (record,) = await store.library().conversations(SCOPE, before=None, limit=9)
    return record.uid


async def test_a_link_shows_the_messages_of_the_moment_until_it_is_updated(place: Place) -> None:
    """Pages are read by index. The address survives an update, and never comes back after a
    revocation."""
    async with opened(place) as store:
        shares = store.shares()
        assert await shares.share(key(), ANN.id) is None
        await talk(store)
        first = await shares.share(key(), ANN.id)
        assert first is not None
        assert (first.messages, first.shown, first.has_news, len(first.uid)) == (2, 2, False, 43)
        await talk(store, 2)
        found = await shares.find(first.uid)
        assert found is not None
        assert (found[0].has_news, found[1]) == (True, key())
        assert len(await read_shown(store, first.uid)) == 2
        second = await shares.share(key(), ANN.id)
        assert second is not None
        assert (second.uid, second.messages, second.has_news) == (first.uid, 4, False)
        page = await shares.messages(first.uid, after=1, limit=1)
        assert [each.index for each in page] == [2]
        assert list(await shares.of_person("sim", ANN.id, limit=9)) == [second]
        assert await shares.of_person("sim", "someone", limit=9) == []
        revoked = await shares.revoke(key())
        assert revoked == second
        assert await shares.revoke(key()) is None
        assert await shares.find(first.uid) is None
        assert await read_shown(store, first.uid) == []
        third = await shares.share(key(), ANN.id)
        assert third is not None
        assert third.uid != first.uid


async def test_changes_after_sharing_are_in_no_link(place: Place) -> None:
    """This means an edited or erased message, and an answer that is written again."""
    async with opened(place) as store:
        for number in (1, 2, 3):
            await talk(store, number)
        link = await store.shares().share(key(), ANN.id)
        assert link is not None
        whole = await read_shown(store, link.uid)
        uid, conversation = await uid_of(store), 1
        messages = await store.library().messages(conversation, after=-1, limit=9)
        await store.library().change(conversation, messages[0].uid, role=None, content="Other.")
        assert await read_shown(store, link.uid) == whole[1:]
        await store.library().erase(conversation, messages[2].uid)
        assert await read_shown(store, link.uid) == [whole[1], *whole[3:]]
        await store.reopen(key(), messages[5].turn)
        assert await read_shown(store, link.uid) == [whole[1], *whole[3:5]]
        now = await store.shares().of_conversation(key())
        assert now is not None
        assert (now.messages, now.shown, now.has_news) == (6, 3, True)
        await store.library().delete(uid, SCOPE)
        for table in ("shares", "share_messages"):
            assert look(place, f"SELECT * FROM {table}") == []


async def test_a_link_has_news_while_it_shows_another_branch_than_the_thread(place: Place) -> None:
    async with opened(place) as store:
        await talk(store)
        shares = store.shares()
        link = await shares.share(key(), ANN.id)
        await store.answer_again(key(), None)
        claim = await claim_next(store, 1)
        await store.conclude(claim.fence, ANSWER)
        await store.finish(claim.fence)
        for version in (None, 1):
            if version is not None:
                await store.show_version(key(), version)
            known = await shares.of_conversation(key())
            assert known is not None
            assert known.has_news, version
            updated = await shares.share(key(), ANN.id)
            assert updated is not None
            assert link is not None
            assert (updated.uid, updated.messages, updated.has_news) == (link.uid, 2, False)


async def test_an_attachment_is_read_through_the_link_that_shows_its_message(place: Place) -> None:
    async with opened(place) as store:
        file = IncomingAttachment(identity="f", name="f.txt", data=b"bytes", size=5)
        await talk(store, attachments=(file,))
        other = key(thread="t2")
        await talk(store, 2, key=other, channel=other.channel)
        link, others = [await store.shares().share(each, ANN.id) for each in (key(), other)]
        assert link is not None
        assert others is not None
        [message, _] = await store.shares().messages(link.uid, after=-1, limit=9)
        read, uid = store.shares().attachment, message.attachments[0].uid
        found = await read(link.uid, uid)
        assert found is not None
        assert found.data == b"bytes"
        assert await read(others.uid, uid) is None
        await store.library().erase(1, message.uid)
        assert await read(link.uid, uid) is None


async def choose_all(store: SqlStore) -> None:
    """Choose instructions, a temperature, a link and a default model."""
    await talk(store)
    await store.library().update(
        await uid_of(store), SCOPE, instructions=" Answer in verse.\0 ", temperature=0.5
    )
    await store.shares().share(key(), ANN.id)
    await store.default_models().set_default_model("sim", ANN.id, "echo")


async def test_the_settings_of_a_thread_are_part_of_the_conversation(place: Place) -> None:
    async with opened(place) as store:
        await choose_all(store)
        found = await store.find(key())
        assert found is not None
        assert (found.instructions, found.temperature) == (
            "Answer in verse.\N{REPLACEMENT CHARACTER}",
            0.5,
        )
        await store.library().update(await uid_of(store), SCOPE, instructions="", temperature=None)
        found = await store.find(key())
        assert found is not None
        assert (found.instructions, found.temperature) == ("", None)
        models = store.default_models()
        assert await models.default_model("sim", ANN.id) == "echo"
        assert await models.default_model("sim", "someone") is None
        assert await models.default_model("slack", ANN.id) is None
        await models.set_default_model("sim", ANN.id, "other")
        assert await models.default_model("sim", ANN.id) == "other"
        await models.set_default_model("sim", ANN.id, None)
        assert await models.default_model("sim", ANN.id) is None


async def test_an_erased_person_leaves_no_link_and_no_setting(place: Place) -> None:
    """The conversation itself may continue, because others wrote in it."""
    async with opened(place) as store:
        await choose_all(store)
        person = Person("sim", EVERYWHERE, ANN.id)
        await store.library().update(await uid_of(store), SCOPE, pinned=True, name="My title")
        exported = await store.privacy().export_person(person)
        [default] = [each for each in exported if each["type"] == "default_model"]
        assert default["model"] == "echo"
        [record] = [each for each in exported if each["type"] == "conversation"]
        assert record["instructions"].startswith("Answer in verse.")
        assert (record["name"], record["pinned"], record["archived"]) == ("My title", True, False)
        assert (record["temperature"], len(record["shared_as"])) == (0.5, 43)
        await store.accept(replace(said(9), author=replace(ANN, id="other", name="Other")))
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        await forgetter.forget(person, by="admin", key=ConversationKey("sim", "w1", "c1", ""))
        for table in ("shares", "share_messages", "personal_defaults"):
            assert look(place, f"SELECT * FROM {table}") == []
        assert look(place, "SELECT instructions, instructions_at FROM conversations") == [
            ("", None)
        ]


async def test_another_person_who_is_erased_takes_no_setting_of_the_one_who_began(
    place: Place,
) -> None:
    """They were erased from a shared channel, say. Only instructions that quote them are
    deleted."""
    async with opened(place) as store:
        await choose_all(store)
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        for number, name, instructions, left in (
            (9, "Bob", "Answer in verse.", "Answer in verse."),
            (10, "Eve", "Call me a friend of Eve.", ""),
        ):
            await store.library().update(await uid_of(store), SCOPE, instructions=instructions)
            await store.accept(replace(said(number), author=replace(ANN, id=name, name=name)))
            where = ConversationKey("sim", "w1", "c1", "")
            await forgetter.forget(Person("sim", EVERYWHERE, name), by="admin", key=where)
            found = await store.find(key())
            assert found is not None
            assert found.instructions == left


async def test_a_link_of_a_deleted_conversation_is_not_listed(place: Place) -> None:
    """It can be restored for a few seconds, and its link with it."""
    async with opened(place) as store:
        await talk(store)
        link = await store.shares().share(key(), ANN.id)
        assert link is not None
        uid = await uid_of(store)
        await store.library().hide(uid, SCOPE)
        assert await store.shares().of_person("sim", ANN.id, limit=9) == []
        assert await store.shares().find(link.uid) is None
        await store.library().unhide(uid, SCOPE)
        assert await store.shares().of_person("sim", ANN.id, limit=9) == [link]


@pytest.mark.parametrize("goes_on", [False, True])
async def test_retention_leaves_no_link_and_no_instructions(place: Place, goes_on: bool) -> None:
    async with opened(place) as store:
        await choose_all(store)
        before = NOW if not goes_on else (await store.find(key())).updated_at  # type: ignore[union-attr]
        if goes_on:
            await talk(store, 2)
            before = (await store.find(key())).updated_at - 1e-6  # type: ignore[union-attr]
        await store.privacy().erase_step(1, before)
        assert look(place, "SELECT * FROM shares") == []
        assert look(place, "SELECT * FROM conversations WHERE instructions <> ''") == []
        assert len(look(place, "SELECT * FROM conversations")) == goes_on
