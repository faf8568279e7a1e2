"""Files in the terminal: attached, listed, detached, piped; in this process and with a running
bot."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from adapters.console.adapter import ConsoleAdapter
from adapters.console.attachments import Attachments, FileLimits, NotAttached, from_input
from adapters.console.lines import QuestionAboutInput, make_completer
from adapters.console.remote import RemoteChat
from bot.domain import terminal_texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.inbox import Incoming, Receipt
from tests.integration.test_console import Lines
from tests.support.catalog import offering
from tests.support.clock import ManualClock
from tests.support.small_files import png
from tests.support.web_kit import Person, serving, until

SMALL = FileLimits(files=2, file_bytes=100)


class Recorder:
    """An inbox that records messages; the terminal does not wait for an answer."""

    def __init__(self) -> None:
        self.received: list[Incoming] = []

    async def connected(self, platform: str) -> None:
        pass

    async def receive(self, incoming: Incoming) -> Receipt:
        self.received.append(incoming)
        return Receipt.KNOWN


async def type_lines(*lines: str, limits: FileLimits = SMALL) -> tuple[list[Incoming], str]:
    """The messages that the inbox received, and the terminal's output."""
    inbox, out = Recorder(), io.StringIO()
    console = ConsoleAdapter(
        conversation="main",
        lines=Lines(*lines),
        clock=ManualClock(),
        models=offering(),
        out=out,
        attachments=Attachments(limits),
    )
    await console.run(inbox)  # type: ignore[arg-type]
    return inbox.received, out.getvalue()


def files_of(incoming: Incoming) -> list[tuple[str, bytes | None]]:
    return [(one.name, one.data) for one in incoming.attachments]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working and home folder, containing files with unusual names."""
    for name in ("a.txt", "b c.txt", "it's.txt"):
        (tmp_path / name).write_text(f"in {name}")
    (tmp_path / "large.log").write_bytes(b"x" * 101)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


# ── attaching ─────────────────────────────────────────────────────────────────────────────────
async def test_attached_files_go_with_the_next_message_and_only_with_it(folder: Path) -> None:
    received, out = await type_lines("/attach a.txt", "why?", "and now?")
    assert files_of(received[0]) == [("a.txt", b"in a.txt")]
    assert received[0].attachments[0].media_type == "text/plain"
    assert received[1].attachments == ()
    assert "With your next message: a.txt (8 bytes)" in out


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("'b c.txt' a.txt", ["b c.txt", "a.txt"]),
        ("b\\ c.txt", ["b c.txt"]),
        ("b c.txt", ["b c.txt"]),  # as completion writes it
        ("it's.txt", ["it's.txt"]),
        ("~/a.txt", ["a.txt"]),
        ("~/b c.txt", ["b c.txt"]),
    ],
)
async def test_paths_are_read_as_in_a_shell(
    folder: Path, argument: str, names: Sequence[str]
) -> None:
    received, _ = await type_lines(f"/attach {argument}", "why?")
    assert [name for name, _ in files_of(received[0])] == list(names)


async def test_a_line_without_text_sends_the_files_and_an_empty_one_nothing(folder: Path) -> None:
    received, _ = await type_lines("", "/attach a.txt", "  ", "")
    assert [(one.text, len(one.attachments)) for one in received] == [("", 1)]


async def test_a_command_leaves_the_files_for_the_next_message(folder: Path) -> None:
    received, _ = await type_lines("/attach a.txt", "/reset", "why?")
    assert [len(one.attachments) for one in received] == [0, 1]


async def test_files_are_listed_and_detached(folder: Path) -> None:
    received, out = await type_lines(
        "/attach", "/attach a.txt 'b c.txt'", "/detach a.txt", "/attach", "/detach x", "why?",
        "/attach a.txt", "/detach", "again",
    )  # fmt: skip
    assert [len(one.attachments) for one in received] == [1, 0]
    assert out.splitlines() == [
        terminal_texts.NOTHING_ATTACHED,
        "With your next message: a.txt (8 bytes), b c.txt (10 bytes)",
        "With your next message: b c.txt (10 bytes)",
        "With your next message: b c.txt (10 bytes)",
        "“x” is not attached.",
        "With your next message: a.txt (8 bytes)",
        terminal_texts.ALL_DETACHED,
    ]


async def test_a_file_that_cannot_be_attached_gives_one_sentence(folder: Path) -> None:
    """The other files and the question are kept."""
    (folder / "secret").write_text("x")
    (folder / "secret").chmod(0)
    unreadable = [] if os.geteuid() == 0 else ["“secret” cannot be read."]
    received, out = await type_lines(
        "/attach missing.txt folder large.log a.txt",
        *(["/attach secret"] if unreadable else []),
        "/attach /dev/zero",
        "/attach a.txt 'b c.txt' it's.txt",
        "why?",
    )
    problems = [line for line in out.splitlines() if not line.startswith("With your")]
    assert problems == [
        "There is no file “missing.txt”.",
        "“folder” is not a file.",
        "“large.log” is too large: a file may have 0.0001 MB at most.",
        *unreadable,
        "“/dev/zero” is not a file.",
        "There is no file “a.txt 'b c.txt' it's.txt”.",
    ]
    assert files_of(received[0]) == [("a.txt", b"in a.txt")]


async def test_a_pipe_without_a_writer_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    _, out = await type_lines("/attach pipe")
    assert "“pipe” is not a file." in out


async def test_number_of_files_is_limited(folder: Path) -> None:
    received, out = await type_lines("/attach a.txt a.txt a.txt", "why?")
    assert len(received[0].attachments) == 2
    assert "A message may have 2 files at most." in out
    _, out = await type_lines("/attach a.txt", limits=FileLimits(10, 0))
    assert terminal_texts.NO_FILES in out


def test_paths_and_commands_are_completed(folder: Path) -> None:
    completer = make_completer(("/reset", "/retry"), {})

    def offered(line: str) -> list[str]:
        document = Document(line, len(line))
        return [each.text for each in completer.get_completions(document, CompleteEvent())]

    assert offered("/att") == ["/attach"]
    assert offered("/re") == ["/reset", "/retry"]
    assert offered("/attach a") == [".txt"]
    assert offered("/attach ~/fol") == ["der"]
    assert offered("hello a") == []


# ── pipes ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"a line\n", "stdin.txt", "text/plain"),
        ("Größe".encode("latin-1"), "stdin.txt", "text/plain"),
        (png(), "stdin.png", "image/png"),
        (b"%PDF-1.7\n", "stdin.pdf", "application/pdf"),
        (b"\0\1\2", "stdin.bin", "application/octet-stream"),
    ],
)
def test_piped_input_is_named_by_its_bytes(data: bytes, name: str, kind: str) -> None:
    file = from_input(data)
    assert (file.name, file.media_type, file.size, file.data) == (name, kind, len(data), data)


async def ask_about(data: bytes) -> tuple[list[str], tuple[IncomingAttachment, ...]]:
    attachments = Attachments(SMALL)
    lines = QuestionAboutInput("why?", attachments=attachments, source=io.BytesIO(data))
    return [line async for line in lines], attachments.take()


async def test_piped_input_is_the_file_of_the_question() -> None:
    lines, files = await ask_about(b"it failed")
    assert (lines, [one.data for one in files]) == (["why?"], [b"it failed"])
    assert await ask_about(b"") == (["why?"], ())
    with pytest.raises(NotAttached, match="too large"):
        await ask_about(b"x" * 101)


# ── with a running bot ────────────────────────────────────────────────────────────────────────
async def test_files_reach_a_running_bot(folder: Path, tmp_path: Path) -> None:
    """They arrive as files of a message in the conversation's thread; a refused one stays
    attached."""
    (folder / "data").mkdir()
    (folder / "b.bin").write_bytes(b"\0\1" * 20)
    async with serving(folder / "data", ATTACHMENTS_PER_MESSAGE="2") as site:
        out, attachments = io.StringIO(), Attachments(FileLimits(3, 1_000))
        lines = Lines(
            "/attach a.txt 'b c.txt' b.bin", "why?", "/detach a.txt", "why now?", "and then?"
        )
        chat = RemoteChat(
            origin=site.url,
            token=None,
            name="main",
            lines=lines,
            piped=False,
            out=out,
            attachments=attachments,
        )
        await chat.run()
        assert "A message may have 2 files at most." in out.getvalue()
        async with site.person() as person:
            questions = await until(lambda: read_questions(person))
        names = [[file["name"] for file in one["attachments"]] for one in questions]
        assert names == [["b c.txt", "b.bin"], []]
        assert [one["text"] for one in questions] == ["why now?", "and then?"]


async def read_questions(person: Person) -> list[dict[str, object]]:
    threads = (await person.get("/app/threads"))["threads"]
    messages = (await person.get(f"/app/threads/{threads[0]['id']}"))["messages"]
    return [one for one in messages if one["role"] == "user"]
