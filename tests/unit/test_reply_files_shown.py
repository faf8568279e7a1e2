"""A reply whose code becomes a file, as people see it grow: posts, removals, refusals."""

from __future__ import annotations

from bot.domain.errors import Unsettled
from bot.domain.replies import Action, Control, File, FileRules, Frame, Page, Shown, ShownPage
from bot.replies.plan import carried_out, controls_of, plan_by_edits, visible_end
from tests.support.clock import settle
from tests.support.reply_rig import Stage
from tests.support.surfaces import Measured

CODE = "".join(f"line_{number} = {number}\n" for number in range(60))
FENCED = f"```python\n{CODE}```"
REPLY = f"Here:\n\n{FENCED}\n\nThat is all."


def stage() -> Stage:
    """A platform with pages of 300 characters that takes files from three of them on."""
    made = Stage()
    made.surface.renderer = Measured(300)
    made.surface.files = FileRules(3, 10**6)
    return made


async def grow(made: Stage, reply: object, text: str) -> None:
    """A line every quarter of a second."""
    for line in text.splitlines(keepends=True):
        reply.write(line)  # type: ignore[attr-defined]
        await settle()
        await made.clock.advance(0.25)


async def test_pages_of_code_give_way_to_the_file() -> None:
    """What is left is the beginning, the file and the rest, in the ledger too."""
    made = stage()
    async with made.publisher() as reply:
        await grow(made, reply, REPLY)
        reply.finish()
        await made.whole(reply)
    first, second, third = made.reading
    assert first.startswith("Here:\n\n```python\nline_0 = 0\n")
    assert first.endswith("all of it, 60 lines, is in the file below._")
    assert (second, third) == ("`code.py`, 60 lines", "That is all.")
    assert [file.text for file in made.surface.platform.files.values()] == [CODE]
    assert sorted(made.ledger.pages) == [0, 1, 2]
    assert (Action.REMOVE, 1) in made.actions  # code that was shown on the way
    texts = [text for _, _, text in made.surface.platform.versions]
    assert any("This is getting long" in text for text in texts)


async def test_a_file_goes_up_once() -> None:
    """However the reply goes on below it."""
    made = stage()
    async with made.publisher(controls=(Control.STOP,)) as reply:
        await grow(made, reply, f"{REPLY}\n\n" + "One more line.\n\n" * 40)
        reply.finish(controls=(Control.RETRY,))
        await made.whole(reply)
    assert len([request for request in made.surface.requests if request.file]) == 1


async def test_a_short_block_changes_nothing_that_was_shown() -> None:
    """Its provisional pages are its pages."""
    made, code = stage(), "".join(CODE.splitlines(keepends=True)[:30])
    async with made.publisher() as reply:
        await grow(made, reply, f"```python\n{code}```\n\nDone.")
        reply.finish()
        await made.whole(reply)
    assert len(made.reading) == 2
    assert {action for action, _ in made.actions} == {Action.POST, Action.EDIT}


async def test_a_refused_file_is_text_and_the_reply_goes_on() -> None:
    """The beginning loses our words about a file, and every line is there."""
    made = stage()
    made.surface.refuses_files = True
    async with made.publisher() as reply:
        reply.write(REPLY)
        reply.finish()
        await made.whole(reply)
    text = "".join(made.reading)
    assert "in the file below" not in text
    assert text.count("line_") == 60
    assert made.surface.platform.files == {}


async def test_a_removal_of_unknown_outcome_is_tried_again() -> None:
    """The page is not taken for one that may be edited."""
    made = stage()
    async with made.publisher() as reply:
        await grow(made, reply, "Here:\n\n```python\n" + CODE[:500])
        assert len(made.reading) == 2
        made.surface.faults = [None, Unsettled("no answer")]
        made.surface.carried_out_all_the_same = False
        await grow(made, reply, CODE[500:] + "```\n\nThat is all.")
        reply.finish()
        await made.whole(reply)
    assert len(made.reading) == 3
    assert len(made.surface.platform.files) == 1


# ── planning ──────────────────────────────────────────────────────────────────────────────────
def page(text: str, start: int, *, file: File | None = None, provisional: bool = False) -> Page:
    return Page(text, text, start, start + 1, not provisional, provisional, file)


def plan(shown: Shown, frame: Frame):  # type: ignore[no-untyped-def]
    return plan_by_edits(shown, frame, render=str, scopes=lambda action, number: ())


FILE = File("code.py", CODE)


def test_what_this_attempt_showed_goes_when_nothing_is_behind() -> None:
    """Not while a long text is being cut, and not what an earlier attempt left."""
    shown = Shown(tuple(ShownPage(n, f"m{n}", "c", "x", n + 1, True) for n in range(3)))
    short = Frame((page("x", 0),), final=False)
    assert plan(shown, short) is None
    whole = Frame((page("x", 0),), final=False, whole=True)
    removed = []
    while (request := plan(shown, whole)) is not None:
        removed.append((request.action, request.page))
        shown = carried_out(shown, request)
    assert removed == [(Action.REMOVE, 2), (Action.REMOVE, 1)]
    found = Shown((ShownPage(0, "m0", "c", "x", 1, True), ShownPage(1, "m1", "c", None)))
    assert plan(found, whole) is None


def test_a_file_counts_as_a_difference() -> None:
    """The same caption with another file, or without one, is not the same page."""
    wanted = Frame((page("a", 0), page("caption", 1, file=FILE)), final=True)
    shown, requests = Shown(), []
    while (request := plan(shown, wanted)) is not None:
        requests.append(request)
        shown = carried_out(shown, request, message_id=f"m{request.page}", channel="c")
    assert [request.file for request in requests] == [None, FILE]
    other = Frame((page("a", 0), page("caption", 1, file=File("code.py", "x"))), final=True)
    assert plan(shown, other).action is Action.EDIT


def test_controls_are_never_beside_a_file() -> None:
    """They are on the page above it when it is the last one."""
    controls = (Control.RETRY,)
    pages = (page("a", 0), page("caption", 1, file=FILE))
    frame = Frame(pages, final=True, controls=controls)
    assert [controls_of(frame, number) for number in (0, 1)] == [controls, ()]
    growing = Frame(pages, final=False, controls=controls)
    assert [controls_of(growing, number) for number in (0, 1)] == [(), ()]


def test_provisional_pages_are_seen() -> None:
    """Text on them is on the screen: it does not make the reply look old."""
    frame = Frame((page("a", 0, provisional=True), page("b", 1, provisional=True)), final=False)
    shown = Shown()
    while (request := plan(shown, frame)) is not None:
        shown = carried_out(shown, request, message_id="m", channel="c")
    assert visible_end(shown) == 2
