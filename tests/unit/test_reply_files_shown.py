"""A reply whose code becomes a file, on a surface: posts, removals, refusals."""

from __future__ import annotations

from bot.domain.errors import Unsettled
from bot.domain.replies import Action, Control, File, FileRules, Frame, Page, Shown, ShownPage
from bot.replies.plan import apply_request, page_controls, plan_by_edits, visible_length
from bot.replies.publisher import Publisher
from tests.support.clock import settle
from tests.support.reply_rig import ReplyRig
from tests.support.surfaces import PlainRenderer

CODE = "".join(f"line_{number} = {number}\n" for number in range(60))
FENCED = f"```python\n{CODE}```"
REPLY = f"Here:\n\n{FENCED}\n\nThat is all."


def file_rig() -> ReplyRig:
    """A platform with pages of 300 characters, where code of three pages becomes a file."""
    rig = ReplyRig()
    rig.surface.renderer = PlainRenderer(300)
    rig.surface.files = FileRules(3, 10**6)
    return rig


async def grow(rig: ReplyRig, reply: Publisher, text: str) -> None:
    """Write a line every quarter of a second."""
    for line in text.splitlines(keepends=True):
        reply.write(line)
        await settle()
        await rig.clock.advance(0.25)


async def test_the_file_replaces_the_pages_of_code() -> None:
    """The beginning, the file and the rest remain, in the ledger too."""
    rig = file_rig()
    async with rig.publisher() as reply:
        await grow(rig, reply, REPLY)
        reply.finish()
        await rig.wait_shown(reply)
    first, second, third = rig.messages
    assert first.startswith("Here:\n\n```python\nline_0 = 0\n")
    assert first.endswith("all of it, 60 lines, is in the file below._")
    assert (second, third) == ("`code.py`, 60 lines", "That is all.")
    assert [file.text for file in rig.surface.platform.files.values()] == [CODE]
    assert sorted(rig.ledger.pages) == [0, 1, 2]
    assert (Action.REMOVE, 1) in rig.actions  # code shown before it became a file
    texts = [text for _, _, text in rig.surface.platform.versions]
    assert any("This is getting long" in text for text in texts)


async def test_a_file_is_uploaded_once() -> None:
    """The reply may continue below the file for a long time."""
    rig = file_rig()
    async with rig.publisher(controls=(Control.STOP,)) as reply:
        await grow(rig, reply, f"{REPLY}\n\n" + "One more line.\n\n" * 40)
        reply.finish(controls=(Control.RETRY,))
        await rig.wait_shown(reply)
    assert len([request for request in rig.surface.requests if request.file]) == 1


async def test_a_short_block_keeps_its_provisional_pages() -> None:
    rig, code = file_rig(), "".join(CODE.splitlines(keepends=True)[:30])
    async with rig.publisher() as reply:
        await grow(rig, reply, f"```python\n{code}```\n\nDone.")
        reply.finish()
        await rig.wait_shown(reply)
    assert len(rig.messages) == 2
    assert {action for action, _ in rig.actions} == {Action.POST, Action.EDIT}


async def test_a_refused_file_is_shown_as_text() -> None:
    """The beginning loses its note about a file, and every line is shown."""
    rig = file_rig()
    rig.surface.refuses_files = True
    async with rig.publisher() as reply:
        reply.write(REPLY)
        reply.finish()
        await rig.wait_shown(reply)
    text = "".join(rig.messages)
    assert "in the file below" not in text
    assert text.count("line_") == 60
    assert rig.surface.platform.files == {}


async def test_a_removal_with_an_unknown_outcome_is_repeated() -> None:
    """The page is not edited instead."""
    rig = file_rig()
    async with rig.publisher() as reply:
        await grow(rig, reply, "Here:\n\n```python\n" + CODE[:500])
        assert len(rig.messages) == 2
        rig.surface.faults = [None, Unsettled("no answer")]
        rig.surface.faults_after_success = False
        await grow(rig, reply, CODE[500:] + "```\n\nThat is all.")
        reply.finish()
        await rig.wait_shown(reply)
    assert len(rig.messages) == 3
    assert len(rig.surface.platform.files) == 1


# ── planning ──────────────────────────────────────────────────────────────────────────────────
def page(text: str, start: int, *, file: File | None = None, provisional: bool = False) -> Page:
    return Page(text, text, start, start + 1, not provisional, provisional, file)


def plan(shown: Shown, frame: Frame):  # type: ignore[no-untyped-def]
    return plan_by_edits(shown, frame, render=str, scopes=lambda action, number: ())


FILE = File("code.py", CODE)


def test_surplus_pages_of_this_attempt_are_removed_when_the_frame_is_whole() -> None:
    """They stay while a long text is still being paginated, and so do pages of an earlier
    attempt."""
    shown = Shown(tuple(ShownPage(n, f"m{n}", "c", "x", n + 1, True) for n in range(3)))
    short = Frame((page("x", 0),), final=False)
    assert plan(shown, short) is None
    whole = Frame((page("x", 0),), final=False, whole=True)
    removed = []
    while (request := plan(shown, whole)) is not None:
        removed.append((request.action, request.page))
        shown = apply_request(shown, request)
    assert removed == [(Action.REMOVE, 2), (Action.REMOVE, 1)]
    found = Shown((ShownPage(0, "m0", "c", "x", 1, True), ShownPage(1, "m1", "c", None)))
    assert plan(found, whole) is None


def test_a_page_with_another_file_is_edited() -> None:
    """The caption may be the same."""
    wanted = Frame((page("a", 0), page("caption", 1, file=FILE)), final=True)
    shown, requests = Shown(), []
    while (request := plan(shown, wanted)) is not None:
        requests.append(request)
        shown = apply_request(shown, request, message_id=f"m{request.page}", channel="c")
    assert [request.file for request in requests] == [None, FILE]
    other = Frame((page("a", 0), page("caption", 1, file=File("code.py", "x"))), final=True)
    assert plan(shown, other).action is Action.EDIT


def test_controls_are_never_on_a_files_message() -> None:
    """They are on the page above a file at the end."""
    controls = (Control.RETRY,)
    pages = (page("a", 0), page("caption", 1, file=FILE))
    frame = Frame(pages, final=True, controls=controls)
    assert [page_controls(frame, number) for number in (0, 1)] == [controls, ()]
    growing = Frame(pages, final=False, controls=controls)
    assert [page_controls(growing, number) for number in (0, 1)] == [(), ()]


def test_text_on_provisional_pages_counts_as_seen() -> None:
    frame = Frame((page("a", 0, provisional=True), page("b", 1, provisional=True)), final=False)
    shown = Shown()
    while (request := plan(shown, frame)) is not None:
        shown = apply_request(shown, request, message_id="m", channel="c")
    assert visible_length(shown) == 2
