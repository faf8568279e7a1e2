"""Random sequences of transitions with shared bytes: exactly the files of attachments are
stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.attachments import (
    AttachmentKind,
    Download,
    Extract,
    IncomingAttachment,
    Omission,
)
from bot.domain.conversations import ImagePart
from bot.domain.inbox import Address
from bot.domain.records import RecordScope
from bot.store import (
    attachment_contents,
    attachment_rows,
    conversations,
    edits,
    files,
    messages,
    record_edits,
    turns,
)
from tests.support.new_database import in_memory
from tests.support.store_kit import check_invariants, key, said

PLACE = RecordScope("sim", "w1")
BYTES = (b"", b"one", b"two", b"three")
DIGESTS = [files.digest_of(data) for data in BYTES]
NUMBERS = st.integers(1, 4)
THREADS = st.sampled_from("ab")
DATA = st.sampled_from(BYTES)
ATTACHMENTS = st.lists(
    st.one_of(
        st.builds(
            lambda n, data: IncomingAttachment(name=f"f{n}", identity=f"F{n}", data=data),
            st.integers(1, 3),
            st.none() | DATA,
        ),
        st.builds(
            lambda n: IncomingAttachment(name="a", is_link=True, locator={"url": f"https://{n}"}),
            st.integers(1, 2),
        ),
        st.just(IncomingAttachment(name="sticker", omission=Omission.UNSUPPORTED)),
        st.just(IncomingAttachment(name="same", data=b"one")),
    ),
    max_size=4,
)
STEPS = st.one_of(
    st.tuples(st.just("say"), THREADS, NUMBERS, st.sampled_from(Address), ATTACHMENTS),
    st.tuples(st.just("edit"), THREADS, NUMBERS, ATTACHMENTS),
    st.tuples(st.just("download"), st.integers(1, 12), DATA),
    st.tuples(st.just("erase"), THREADS, NUMBERS),
    st.tuples(st.just("erase record"), st.integers(1, 8)),
    st.tuples(st.just("omit"), st.integers(1, 12), st.sampled_from(Omission)),
    st.tuples(st.sampled_from(["read", "stage", "unstage"]), DATA),
    st.tuples(st.sampled_from(["delete", "reset", "undo", "claim"]), THREADS),
    st.tuples(st.sampled_from(["purge", "restart"])),
)


def in_thread(thread: str, number: int, **fields: Any) -> Any:
    return said(number + 10 * (thread == "b"), where=key(thread), **fields)


class Random:
    """A store with two conversations."""

    def __init__(self, db: Any = None) -> None:
        self.db = in_memory() if db is None else db
        self.now = 0.0

    def check_after_each(self, steps: list[Any]) -> None:
        """Take the steps, then delete everything, asserting the invariants after each step."""
        for name, *args in steps:
            self.step(name, *args)
        self.work_off()

    def step(self, name: str, *args: Any) -> None:
        self.now += 1
        self.db.execute("BEGIN IMMEDIATE")
        self.steps()[name](*args)
        self.db.execute("COMMIT")
        check_invariants(self.db)
        self.check_files()

    def steps(self) -> dict[str, Callable[..., Any]]:
        db, now = self.db, self.now
        return {
            "say": lambda t, n, how, each: messages.accept(
                db, now, in_thread(t, n, address=how, attachments=each)
            ),
            "edit": lambda t, n, each: self.edit(in_thread(t, n).source, each),
            "download": self.download,
            "erase": lambda t, n: edits.erase(
                db, now, in_thread(t, n).source, with_reply=bool(n % 2)
            ),
            "erase record": self.erase_record,
            "omit": lambda n, reason: attachment_contents.omit(db, n, reason),
            "read": self.read,
            "stage": lambda data: [
                files.stage_chunk(db, now, files.digest_of(data), len(data), n, chunk)
                for n, chunk in enumerate(files.split(data))
            ],
            "unstage": lambda data: files.unstage(db, [files.digest_of(data)]),
            "delete": self.delete,
            "reset": lambda t: conversations.reset(db, now, key(t)),
            "undo": lambda t: conversations.undo_reset(db, now, key(t), None),
            "claim": self.claim,
            "purge": lambda: files.purge_chunk(db),
            "restart": lambda: files.unstage_all(db),
        }

    def edit(self, source: str, attachments: list[IncomingAttachment]) -> None:
        edits.edit(self.db, self.now, source, "why?", self.now, attachments)
        row = self.db.execute(
            "SELECT id, kind FROM messages WHERE source = ? AND erased_at IS NULL", (source,)
        ).fetchone()
        if row is not None:
            kept = attachment_rows.usable_in(row["kind"], attachments)
            stored = attachment_rows.of_messages(self.db, [row["id"]]).get(row["id"], ())
            assert sorted(each.name for each in stored) == sorted(each.name for each in kept)
            assert [each.number for each in stored] == list(range(len(stored)))

    def download(self, attachment: int, data: bytes) -> None:
        digest = files.digest_of(data)
        attachment_contents.save_bytes(self.db, self.now, attachment, digest, Download(data))

    def read(self, data: bytes) -> None:
        digest = files.digest_of(data)
        picture = ImagePart("image/png", data + b"!", 1, 1)
        extract = Extract(
            kind=AttachmentKind.IMAGE, media_type="image/png", text=str(data), images=(picture,)
        )
        first = files.next_part(self.db, digest)
        attachment_contents.save_extract(self.db, digest, extract, first)
        while attachment_contents.delete_old_image_chunk(self.db, digest, first):
            pass
        stored = attachment_contents.read_extract(self.db, digest)
        assert stored == (extract if files.file_id(self.db, digest) else None)

    def erase_record(self, message: int) -> None:
        row = self.db.execute(
            "SELECT messages.conversation_id, messages.uid, state FROM messages"
            " LEFT JOIN turns ON turns.id = turn_id WHERE messages.id = ?",
            (message,),
        ).fetchone()
        if row is not None and row["state"] not in ("waiting", "running"):
            record_edits.erase(self.db, self.now, row["conversation_id"], row["uid"])

    def delete(self, thread: str) -> None:
        row = self.db.execute("SELECT uid FROM conversations WHERE thread = ?", (thread,))
        for (uid,) in row.fetchall():
            record_edits.delete(self.db, uid, PLACE)

    def claim(self, thread: str) -> None:
        row = self.db.execute("SELECT id FROM conversations WHERE thread = ?", (thread,))
        for (conversation,) in row.fetchall():
            turns.claim(self.db, self.now, conversation)

    def check_files(self) -> None:
        stored = "SELECT digest FROM files WHERE is_staged = 0"
        had = "SELECT DISTINCT digest FROM attachments WHERE digest IS NOT NULL"
        digests = {row[0] for row in self.db.execute(stored)}
        assert digests == {row[0] for row in self.db.execute(had)}
        for data, digest in zip(BYTES, DIGESTS, strict=True):
            assert files.read(self.db, digest) == (data if digest in digests else None)
        extracts = {row[0] for row in self.db.execute("SELECT digest FROM extracts")}
        assert extracts <= digests

    def work_off(self) -> None:
        """Delete everything."""
        for thread in "ab":
            self.step("delete", thread)
        self.step("restart")
        while files.has_discarded(self.db):
            self.step("purge")
        for table in ("attachments", "files", "chunks", "extracts", "extract_images"):
            assert self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=40))
def test_after_any_sequence_the_files_are_exactly_those_that_attachments_have(
    steps: list[Any],
) -> None:
    world = Random()
    try:
        world.check_after_each(steps)
    finally:
        world.db.close()
