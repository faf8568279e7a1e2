"""Planning for messages that grow by appends, then by edits; no text is taken back."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.replies import Action, Control, Frame, Page, Request, Shown
from bot.replies.paging.document import Document
from bot.replies.plan import apply_request
from bot.replies.stream_plan import plan_by_streams
from tests.support.surfaces import PlainRenderer


def scopes(action: Action, _page: int) -> tuple[str, ...]:
    return (action.value,)


@dataclass
class Platform:
    """As strict as Slack: a stream accepts only appends, any other message only edits."""

    may_stream: bool = True
    most: int = 400
    most_appends: int = 1_000
    texts: dict[int, str] = field(default_factory=dict)
    streaming: set[int] = field(default_factory=set)
    log: list[Request] = field(default_factory=list)

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        return plan_by_streams(
            shown,
            frame,
            render=str,
            scopes=scopes,
            may_stream=self.may_stream,
            most=self.most,
            overdue=lambda page: self._appends(page) >= self.most_appends,
        )

    def perform(self, request: Request, shown: Shown) -> Shown:
        self.log.append(request)
        page, action = request.page, request.action
        assert (page in self.streaming) is (action in (Action.APPEND, Action.CLOSE))
        if action in (Action.POST, Action.START):
            assert page not in self.texts
            assert not self.streaming, "one stream of a reply at a time"
        self._apply(action, page, request.text)
        return apply_request(shown, request, message_id=f"m{page}", channel="c")

    def _apply(self, action: Action, page: int, text: str) -> None:
        if action is Action.REMOVE:
            del self.texts[page]
            return
        grows = action in (Action.APPEND, Action.CLOSE)
        self.texts[page] = self.texts[page] + text if grows else text
        if action is Action.START:
            self.streaming.add(page)
        if action is Action.CLOSE:
            self.streaming.discard(page)

    def _appends(self, page: int) -> int:
        return sum(one.page == page and one.action is Action.APPEND for one in self.log)


def until_shown(platform: Platform, document: Document, shown: Shown) -> Shown:
    for _ in range(100):
        request = platform.plan(shown, document.frame())
        if request is not None:
            shown = platform.perform(request, shown)
        elif not document.behind:
            return shown
    raise AssertionError("planning does not end")


PIECES = st.lists(
    st.sampled_from(
        [
            *("word ", "**bold** ", "**open", "`code` ", "\n\n", "- item\n", "```\n", ". ", "é"),
            *("```py\nx = 1\n", "| a | b |\n", "|---|---|\n", "[link](http://x.y) ", "@here "),
            "x" * 90,
        ]
    ),
    min_size=1,
    max_size=60,
)


@given(pieces=PIECES, most=st.sampled_from([0, 60, 400]), appends=st.sampled_from([0, 2, 1_000]))
def test_the_final_messages_show_the_final_frame(
    pieces: list[str], most: int, appends: int
) -> None:
    """This holds whether streams are closed early, late or never."""
    document = Document(PlainRenderer(300))
    platform, shown = Platform(most=most, most_appends=appends), Shown()
    for piece in pieces:
        document.write(piece)
        shown = until_shown(platform, document, shown)
    document.finish()
    until_shown(platform, document, shown)
    final = document.frame()
    assert platform.texts == {n: page.text for n, page in enumerate(final.pages)}
    assert not platform.streaming


def page(text: str, stable: str, *, sealed: bool = False) -> Page:
    return Page(text, stable, 0, len(text), sealed)


def test_a_page_starts_a_stream_with_its_stable_text_or_is_posted() -> None:
    """In both cases, one request is reserved for the reply's end."""
    platform = Platform()
    controls = (Control.STOP,)
    request = platform.plan(Shown(), Frame((page("one **tw**", "one"),), False, controls))
    assert request is not None and request.otherwise is not None
    assert (request.action, request.text, request.end) == (Action.START, "one", 3)
    assert (request.keeps, request.grows) == (("close",), "append")
    post = request.otherwise
    assert (post.action, post.text, post.keeps, post.grows) == (
        Action.POST,
        "one **tw**",
        ("edit",),
        "edit",
    )


def test_a_note_is_posted_because_a_stream_cannot_remove_it() -> None:
    note = Page("_In the queue_", "", 0, 0, sealed=False)
    request = Platform().plan(Shown(), Frame((note,), False))
    assert request is not None and request.action is Action.POST


def test_a_long_unstable_beginning_is_posted() -> None:
    """A reply waits for a word or two, but not for half a table."""
    assert Platform().plan(Shown(), Frame((page("**one", ""),), False)) is None
    request = Platform().plan(Shown(), Frame((page("*" + "one " * 40 + "*", ""),), False))
    assert request is not None and request.action is Action.POST


def test_an_append_has_a_close_as_its_alternative() -> None:
    """When the budget for appends is used up, closing the stream sends the same text, and edits
    follow."""
    platform = Platform()
    shown = platform.perform(
        _must(platform.plan(Shown(), Frame((page("one", "one"),), False))), Shown()
    )
    request = _must(platform.plan(shown, Frame((page("one two", "one two"),), False)))
    other = _must(request.otherwise)
    assert (request.action, request.text, request.keeps) == (Action.APPEND, " two", None)
    assert (other.action, other.text, other.keeps, other.grows) == (
        Action.CLOSE,
        " two",
        ("edit",),
        "edit",
    )


def test_a_stream_without_new_text_needs_no_request() -> None:
    platform = Platform()
    frame = Frame((page("one", "one"),), False)
    shown = platform.perform(_must(platform.plan(Shown(), frame)), Shown())
    assert platform.plan(shown, frame) is None


def _must(request: Request | None) -> Request:
    assert request is not None
    return request
