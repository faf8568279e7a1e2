"""Attachments: stored with their message, replaced by edits, erased with it, read by their ids."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.attachments import (
    Attachment,
    AttachmentKind,
    AttachmentState,
    Download,
    Extract,
    IncomingAttachment,
    Omission,
)
from bot.domain.conversations import ConversationKey, ImagePart, Visibility
from bot.domain.inbox import Address, Change, Effect
from bot.domain.records import RecordScope
from bot.store.store import SqlStore
from tests.support.store_kit import (
    Place,
    answer_next,
    claim_next,
    key,
    look,
    opened,
    said,
    until,
)

PHOTO = IncomingAttachment(
    name="photo.png",
    media_type="image/png",
    size=9,
    locator={"url": "https://files.example/photo?secret"},
    identity="F1",
)
NOTES = IncomingAttachment(
    name="notes.txt", locator={"url": "https://files.example/n"}, identity="F2"
)
LINK = IncomingAttachment(
    name="example.com", is_link=True, locator={"url": "https://example.com/page"}
)
STICKER = IncomingAttachment(name="sticker", omission=Omission.UNSUPPORTED)
EXTRACT = Extract(
    kind=AttachmentKind.DOCUMENT,
    media_type="application/pdf",
    text="# Title\n\nText",
    title="Title",
    date="2026-11-29",
    images=(ImagePart("image/png", b"page 4", 8, 9, "page 4"), ImagePart("image/png", b"", 1, 2)),
    notes=("Page 3 has no text.",),
)
PLACE = RecordScope("sim", "w1")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def source(number: int) -> str:
    return said(number).source


async def attachments_of(store: SqlStore, number: int = 1) -> list[Attachment]:
    """The attachments of message `number`."""

    def find(db: object) -> int:
        sql = "SELECT id FROM messages WHERE source = ?"
        return int(db.execute(sql, (source(number),)).fetchone()[0])  # type: ignore[attr-defined]

    message = await store._read(find)
    return list((await store.attachments().of_messages([message])).get(message, ()))


async def save(store: SqlStore, attachment: Attachment, data: bytes = b"bytes") -> str:
    digest = await store.attachments().save_bytes(attachment.id, Download(data))
    assert digest == hashlib.sha256(data).hexdigest()
    return digest


def names(attachments: list[Attachment]) -> list[str]:
    return [attachment.name for attachment in attachments]


# ── acceptance ────────────────────────────────────────────────────────────────────────────────
async def test_a_question_is_stored_with_its_attachments_in_their_order(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO, LINK, STICKER]))
    photo, link, sticker = await attachments_of(store)
    assert (photo.number, photo.name, photo.media_type, photo.size) == (
        0,
        "photo.png",
        "image/png",
        9,
    )
    assert photo.locator == PHOTO.locator
    assert photo.state is link.state is AttachmentState.PENDING
    assert (link.is_link, link.locator) == (True, LINK.locator)
    assert (sticker.state, sticker.omission) == (AttachmentState.REFUSED, Omission.UNSUPPORTED)
    uids = {photo.uid, link.uid, sticker.uid}
    assert len(uids) == 3
    assert all(UUID4.fullmatch(uid) for uid in uids)
    assert await store.attachments().pending("sim", limit=9) == [photo, link]
    assert await store.attachments().pending("sim", limit=1) == [photo]
    assert await store.attachments().pending("other", limit=9) == []
    assert await store.attachments().place(photo.id) == key()


async def test_history_has_files_but_no_links(store: SqlStore) -> None:
    """A question does not make the bot download the links in earlier messages."""
    await store.accept(said(2), [said(1, attachments=[PHOTO, LINK])])
    await store.accept(said(3, address=Address.ASIDE, attachments=[LINK, NOTES]))
    assert names(await attachments_of(store, 1)) == ["photo.png"]
    assert names(await attachments_of(store, 3)) == ["notes.txt"]


async def test_a_redelivered_message_brings_no_second_attachment(
    store: SqlStore, place: Place
) -> None:
    """A backlog that contains the question does not bring one either."""
    asked = said(2, attachments=[PHOTO])
    await store.accept(asked, [said(1, attachments=[NOTES]), asked])
    await store.accept(asked)
    assert look(place, "SELECT name FROM attachments ORDER BY id") == [
        ("photo.png",), ("notes.txt",),
    ]  # fmt: skip


async def test_an_ignored_message_leaves_no_attachment(store: SqlStore, place: Place) -> None:
    big = replace(NOTES, data=b"x" * 700_000)
    await store.accept(said(1, address=Address.FOLLOW_UP, attachments=[PHOTO, big]))
    for table in ("attachments", "files"):
        assert look(place, f"SELECT count(*) FROM {table}") == [(0,)]
    await until(lambda: look(place, "SELECT count(*) FROM chunks") == [(0,)])


@pytest.mark.parametrize("size", [0, 5, 256 * 1024, 256 * 1024 + 1, 1_000_000])
async def test_bytes_that_come_with_the_message_are_stored_with_it(
    store: SqlStore, size: int
) -> None:
    data = bytes(n % 251 for n in range(size))
    await store.accept(said(1, attachments=[replace(PHOTO, data=data), LINK]))
    photo, _ = await attachments_of(store)
    assert (photo.state, photo.size, photo.locator) == (AttachmentState.PENDING, size, {})
    assert photo.digest == hashlib.sha256(data).hexdigest()
    assert await store.attachments().read_bytes(photo.digest) == data


async def test_known_bytes_with_an_extract_are_ready_at_once(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    digest = await save(store, (await attachments_of(store))[0])
    await store.attachments().save_extract(digest, EXTRACT)
    await store.accept(said(2, where=key("t2"), attachments=[replace(NOTES, data=b"bytes")]))
    assert [each.state for each in await attachments_of(store, 2)] == [AttachmentState.READY]


async def test_text_that_sqlite_cannot_store_does_not_stop_a_message(store: SqlStore) -> None:
    odd = replace(
        PHOTO, name="a\ud800.png", media_type="\ud800", identity="\ud800", transcript="\udfff"
    )
    await store.accept(said(1, attachments=[odd, replace(STICKER, name="\ud83d\ude00")]))
    photo, sticker = await attachments_of(store)
    assert (photo.name, photo.media_type, photo.transcript, sticker.name) == (
        "a�.png",
        "�",
        "�",
        "😀",
    )
    assert (await store.edit(source(1), "why?", 9.0, [odd, replace(STICKER, name="😀")])) == Change(
        Effect.SAME, 1, 1
    )


# ── stored bytes and extracts ─────────────────────────────────────────────────────────────────
async def test_a_download_fills_in_what_the_platform_did_not_say(store: SqlStore) -> None:
    bare = IncomingAttachment(name="", locator={"url": "u"}, identity="F9")
    await store.accept(said(1, attachments=[bare, PHOTO]))
    for attachment in await attachments_of(store):
        await store.attachments().save_bytes(
            attachment.id, Download(b"12345", "text/plain", "a.txt")
        )
    first, second = await attachments_of(store)
    assert (first.name, first.media_type, first.size) == ("a.txt", "text/plain", 5)
    assert (second.name, second.media_type, second.size) == ("photo.png", "image/png", 5)
    assert first.state is second.state is AttachmentState.PENDING


async def test_an_address_is_kept_only_until_the_download(store: SqlStore, place: Place) -> None:
    """A signed address is a secret. A link stays, since it is in the message's text."""
    await store.accept(said(1, attachments=[PHOTO, LINK, NOTES]))
    photo, link, notes = await attachments_of(store)
    await save(store, photo)
    await save(store, link)
    await store.attachments().omit(notes.id, Omission.GONE)
    assert [each.locator for each in await attachments_of(store)] == [{}, LINK.locator, {}]
    assert await store.attachments().pending("sim", limit=9) == (await attachments_of(store))[:2]


async def test_an_extract_makes_all_attachments_with_its_bytes_ready(store: SqlStore) -> None:
    for number in (1, 2):
        await store.accept(said(number, where=key(f"t{number}"), attachments=[PHOTO, NOTES]))
        digest = await save(store, (await attachments_of(store, number))[0])
    attachments = store.attachments()
    assert await attachments.read_extract(digest) is None
    await attachments.save_extract(digest, EXTRACT)
    assert await attachments.read_extract(digest) == EXTRACT
    for number in (1, 2):
        states = [each.state for each in await attachments_of(store, number)]
        assert states == [AttachmentState.READY, AttachmentState.PENDING]


async def test_a_new_extract_replaces_the_old_one(store: SqlStore, place: Place) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    digest = await save(store, (await attachments_of(store))[0])
    large = ImagePart("image/png", b"l" * 700_000, 3, 3)
    for images in (EXTRACT.images, (large,), ()):
        extract = replace(EXTRACT, images=images, text=str(len(images)))
        await store.attachments().save_extract(digest, extract)
        assert await store.attachments().read_extract(digest) == extract
        parts = look(place, "SELECT count(DISTINCT part) FROM chunks WHERE part > 0")
        assert parts == [(sum(1 for image in images if image.data),)]


async def test_an_extract_of_an_older_version_is_made_again(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    digest = await save(store, (await attachments_of(store))[0])
    await store.attachments().save_extract(digest, EXTRACT)
    await store._write(lambda db: db.execute("UPDATE extracts SET version = 0").rowcount)
    assert await store.attachments().read_extract(digest) is None
    await store.accept(said(2, attachments=[replace(NOTES, data=b"bytes")]))
    assert (await attachments_of(store, 2))[0].state is AttachmentState.PENDING


async def test_an_image_that_a_model_refused_stays_omitted(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    (photo,) = await attachments_of(store)
    digest = await save(store, photo)
    await store.attachments().save_extract(digest, EXTRACT)
    await store.attachments().omit(photo.id, Omission.MODEL_REFUSED)
    await store.attachments().save_extract(digest, EXTRACT)
    assert await store.attachments().save_bytes(photo.id, Download(b"bytes")) is None
    (photo,) = await attachments_of(store)
    assert (photo.state, photo.omission) == (AttachmentState.REFUSED, Omission.MODEL_REFUSED)
    assert await store.attachments().read_bytes(digest) == b"bytes"


async def test_a_download_of_other_bytes_replaces_the_first(store: SqlStore, place: Place) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    (photo,) = await attachments_of(store)
    first = await save(store, photo, b"first")
    await save(store, photo, b"second")
    assert await store.attachments().read_bytes(first) is None
    assert look(place, "SELECT size FROM files") == [(6,)]
    await until(lambda: look(place, "SELECT data FROM chunks") == [(b"second",)])


async def test_what_was_deleted_meanwhile_is_not_stored(store: SqlStore, place: Place) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    (photo,) = await attachments_of(store)
    digest = await save(store, photo)
    await store.erase(source(1), with_reply=False)
    assert await store.attachments().place(photo.id) is None
    assert await store.attachments().save_bytes(photo.id, Download(b"y" * 600_000)) is None
    await store.attachments().save_extract(digest, EXTRACT)
    assert await store.attachments().read_extract(digest) is None
    for table in ("attachments", "files", "extracts", "extract_images", "chunks"):
        await until(lambda table=table: look(place, f"SELECT count(*) FROM {table}") == [(0,)])


async def test_history_says_which_messages_have_attachments(store: SqlStore) -> None:
    await store.accept(said(2), [said(1, attachments=[PHOTO])])
    await answer_next(store, 1)
    rows = await store.history(1, epoch=1, before=99, limit=9)
    assert [row.has_attachments for row in rows] == [False, False, True]


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_an_edit_keeps_the_bytes_of_unchanged_attachments(store: SqlStore) -> None:
    """The platform may report an attachment in another place and with a new address."""
    await store.accept(said(1, attachments=[PHOTO, NOTES, LINK]))
    before = await attachments_of(store)
    digest = await save(store, before[0])
    moved = replace(PHOTO, locator={"url": "https://files.example/photo?other"})
    other = replace(LINK, locator={"url": "https://example.com/other"})
    change = await store.edit(source(1), "why?", 9.0, [other, LINK, moved])
    assert change.effect is Effect.STORED
    after = await attachments_of(store)
    assert [each.locator for each in after] == [other.locator, LINK.locator, {}]
    assert [each.number for each in after] == [0, 1, 2]
    assert (after[1].id, after[2].id, after[2].digest) == (before[2].id, before[0].id, digest)


async def test_an_edit_of_the_attachments_alone_is_answered_again(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    await answer_next(store, 1)
    same = await store.edit(source(1), "why?", 9.0, [PHOTO])
    assert same.effect is Effect.SAME
    assert await store.edit(source(1), "why?", 10.0, [PHOTO, NOTES]) == Change(
        Effect.REOPENED, 1, 1
    )
    assert (await store.edit(source(1), "why?", 11.0, [])).effect is Effect.REOPENED
    assert await attachments_of(store) == []
    await answer_next(store, 1)
    await store.accept(said(2))
    assert (await store.edit(source(1), "why?", 12.0, [NOTES])).effect is Effect.SUPERSEDED
    assert (await store.edit(source(1), "why?", 11.0, [])).effect is Effect.SAME  # older
    assert names(await attachments_of(store)) == ["notes.txt"]


async def test_an_edit_without_attachments_leaves_them(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO, LINK]))
    before = await attachments_of(store)
    assert (await store.edit(source(1), "better", 9.0)).effect is Effect.STORED
    assert await attachments_of(store) == before


async def test_an_edit_of_history_adds_no_links(store: SqlStore) -> None:
    await store.accept(said(1))
    await store.accept(said(2, address=Address.ASIDE))
    assert (await store.edit(source(2), "why?", 9.0, [LINK])).effect is Effect.SAME
    assert (await store.edit(source(2), "why?", 10.0, [LINK, NOTES])).effect is Effect.STORED
    assert names(await attachments_of(store, 2)) == ["notes.txt"]


async def test_an_attachment_without_an_identity_is_recognized_by_its_description(
    store: SqlStore,
) -> None:
    """Otherwise each edit event of an unchanged message would ask the model again."""
    bare = [STICKER, replace(NOTES, identity=""), replace(PHOTO, identity="", data=b"d"), STICKER]
    await store.accept(said(1, attachments=bare))
    before = await attachments_of(store)
    assert (await store.edit(source(1), "why?", 9.0, bare)).effect is Effect.SAME
    assert await attachments_of(store) == before
    assert (await store.edit(source(1), "why?", 10.0, bare[:-1])).effect is Effect.STORED
    assert await attachments_of(store) == before[:3]


async def test_a_file_that_the_platform_no_longer_has_loses_its_bytes(
    store: SqlStore, place: Place
) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    await save(store, (await attachments_of(store))[0])
    gone = replace(PHOTO, omission=Omission.GONE)
    assert (await store.edit(source(1), "why?", 9.0, [gone])).effect is Effect.STORED
    assert (await attachments_of(store))[0].omission is Omission.GONE
    await until(lambda: look(place, "SELECT count(*) FROM chunks") == [(0,)])
    assert (await store.edit(source(1), "why?", 10.0, [gone])).effect is Effect.SAME


async def test_a_transcript_that_comes_later_is_used(store: SqlStore) -> None:
    """While the recording is pending, the transcript changes nothing else; afterwards it counts as
    a change."""
    voice = replace(PHOTO, name="voice", is_voice=True)
    spoken = replace(voice, transcript="hello")
    await store.accept(said(1, attachments=[voice]))
    assert (await store.edit(source(1), "why?", 9.0, [spoken])).effect is Effect.SAME
    (kept,) = await attachments_of(store)
    assert kept.transcript == "hello"
    await store.accept(said(2, attachments=[voice]))
    await store.attachments().omit(
        (await attachments_of(store, 2))[0].id, Omission.NO_TRANSCRIPTION
    )
    assert (await store.edit(source(2), "why?", 9.0, [voice])).effect is Effect.SAME
    assert (await store.edit(source(2), "why?", 10.0, [spoken])).effect is Effect.STORED
    assert [each.state for each in await attachments_of(store, 2)] == [AttachmentState.PENDING]


async def test_an_edit_that_brings_bytes_stores_them(store: SqlStore) -> None:
    data = b"z" * 600_000
    await store.accept(said(1, attachments=[PHOTO]))
    await store.edit(source(1), "why?", 9.0, [PHOTO, replace(NOTES, data=data)])
    notes = (await attachments_of(store))[1]
    assert notes.digest is not None
    assert await store.attachments().read_bytes(notes.digest) == data


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_bytes_are_deleted_with_the_last_message_that_has_them(store: SqlStore) -> None:
    """They are deleted by erasing a message, by erasing a record, and by deleting a
    conversation."""
    for number in (1, 2, 3):
        await store.accept(said(number, where=key(f"t{number}"), attachments=[PHOTO]))
        digest = await save(store, (await attachments_of(store, number))[0])
        await answer_next(store, number)
    await store.attachments().save_extract(digest, EXTRACT)
    library = store.library()
    (question, _) = await library.latest(3, limit=9)
    await store.erase(source(1), with_reply=True)
    assert await library.erase(3, question.uid)
    assert await store.attachments().read_bytes(digest) == b"bytes"
    assert await store.attachments().read_extract(digest) == EXTRACT
    (record,) = (
        r
        for r in await library.conversations(PLACE, before=None, limit=9)
        if r.conversation.id == 2
    )
    assert await library.delete(record.uid, PLACE) == 2
    assert await store.attachments().read_bytes(digest) is None
    assert await store.attachments().read_extract(digest) is None


async def test_a_deleted_file_is_nowhere_in_the_database(tmp_path: Path) -> None:
    """Searches for its name, address, bytes, text and images in all pages, including free ones."""
    secret = replace(
        PHOTO, name="hunter2.png", locator={"url": "https://hunter2/"}, data=b"hunter2" * 100_000
    )
    text = replace(EXTRACT, text="hunter2 " * 9_000, notes=("hunter2",), title="hunter2")
    extract = replace(text, images=(ImagePart("image/png", b"hunter2" * 100_000, 1, 1, "hunter2"),))
    async with opened(tmp_path / "store.db") as store:
        await store.accept(said(1, attachments=[secret, replace(secret, identity="x", data=None)]))
        digest = (await attachments_of(store))[0].digest
        assert digest is not None
        await store.attachments().save_extract(digest, extract)
        await store.erase(source(1), with_reply=False)
    for file in tmp_path.iterdir():  # noqa: ASYNC240 - nothing else runs
        assert b"hunter2" not in file.read_bytes(), file.name


async def test_undoing_a_reset_brings_the_attachments_back(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO]))
    digest = await save(store, (await attachments_of(store))[0])
    await answer_next(store, 1)
    await store.reset(key())
    await store.undo_reset(key(), None)
    rows = await store.history(1, epoch=2, before=99, limit=9)
    assert [row.has_attachments for row in rows] == [False, True]
    assert await store.attachments().read_bytes(digest) == b"bytes"


# ── records ───────────────────────────────────────────────────────────────────────────────────
async def test_message_records_have_their_attachments(store: SqlStore, place: Place) -> None:
    await store.accept(said(2, attachments=[PHOTO, LINK]), [said(1, attachments=[STICKER])])
    digest = await save(store, (await attachments_of(store, 2))[0])
    await store.attachments().save_extract(digest, EXTRACT)
    await answer_next(store, 1)
    library = store.library()
    before, question, reply = await library.latest(1, limit=9)
    assert [each.omission for each in before.attachments] == [Omission.UNSUPPORTED]
    photo, link = question.attachments
    assert (photo.name, photo.size, photo.state, photo.kind) == (
        "photo.png", 5, AttachmentState.READY, AttachmentKind.DOCUMENT,
    )  # fmt: skip
    assert (link.is_link, link.kind, link.state) == (True, None, AttachmentState.PENDING)
    assert reply.attachments == ()
    assert await library.messages(1, after=-1, limit=9) == [before, question, reply]
    assert await library.find_message(source(2)) == question
    (uid,) = look(place, "SELECT uid FROM conversations")[0]
    thread = await library.thread(uid, PLACE)
    assert thread is not None
    assert thread.root == question
    assert await library.threads(PLACE, before=None, limit=9) == [thread]


async def test_a_list_of_messages_reads_the_attachments_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "store.db") as store:
        for number in range(9):
            await store.accept(said(number, attachments=[PHOTO, NOTES]))
        statements: list[str] = []
        for _ in range(2):  # both readers
            await store._read(lambda db: db.set_trace_callback(statements.append))
        assert len(await store.library().latest(1, limit=99)) == 9
    assert len([sql for sql in statements if "FROM attachments" in sql]) == 1


async def test_only_those_who_see_the_conversation_can_read_an_attachment(
    store: SqlStore,
) -> None:
    await store.accept(said(1, attachments=[PHOTO, NOTES]))
    photo, notes = await attachments_of(store)
    digest = await save(store, photo)
    await store.attachments().save_extract(digest, EXTRACT)
    library = store.library()
    content = await library.attachment(photo.uid, PLACE)
    assert content is not None
    assert (content.record.name, content.data, content.extract) == ("photo.png", b"bytes", EXTRACT)
    assert await library.attachment(photo.uid, RecordScope("sim", "w1", "c1")) == content
    for other in (
        RecordScope("sim", "w2"),
        RecordScope("web", "w1"),
        RecordScope("sim", "w1", "c2"),
    ):
        assert await library.attachment(photo.uid, other) is None
    missing = await library.attachment(notes.uid, PLACE)
    assert missing is not None
    assert (missing.data, missing.extract) == (None, None)
    assert await library.attachment("no such", PLACE) is None
    assert await library.public_attachment(photo.uid) is None
    await store.erase(source(1), with_reply=False)
    assert await library.attachment(photo.uid, PLACE) is None


async def test_attachments_of_public_conversations_are_public(store: SqlStore) -> None:
    where = ConversationKey("sim", "w1", "open", "t1")
    await store.accept(said(1, where=where, visibility=Visibility.PUBLIC, attachments=[PHOTO]))
    (photo,) = await store.attachments().pending("sim", limit=9)
    content = await store.library().public_attachment(photo.uid)
    assert content is not None
    assert content.record.uid == photo.uid


async def test_a_turn_claims_questions_whose_attachments_are_pending(store: SqlStore) -> None:
    await store.accept(said(1, attachments=[PHOTO, LINK]))
    claim = await claim_next(store, 1)
    found = await store.attachments().of_messages([q.id for q in claim.questions] + [99])
    assert [list(found)] == [[claim.questions[0].id]]
