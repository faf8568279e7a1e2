"""Changes of a growing reply: their reader ends up with the whole reply, at any speed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.web import block_cuts, growing_html, hub
from adapters.web.event_encoder import FOLLOWS_CHANGES, EventEncoder
from adapters.web.growing_html import GrowingHtml
from adapters.web.hub import Event, Feed, LiveReply
from adapters.web.render import html_of
from adapters.web.reply_changes import difference
from tests.support.growing_documents import PLAIN, document, html_while_growing

SHORT = 24


@pytest.fixture
def short_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after a few characters, so that short documents have many cuts."""
    monkeypatch.setattr(block_cuts, "SHORTEST", SHORT)
    monkeypatch.setattr(block_cuts, "MOST_GROWING", SHORT)
    monkeypatch.setattr(growing_html, "MOST_GROWING", SHORT)
    monkeypatch.setattr(block_cuts, "_LEFT_CHARACTERS", 4)


@pytest.mark.usefixtures("short_cuts")
@pytest.mark.parametrize("seed", range(100, 112))
def test_a_block_with_cuts_renders_like_the_whole_text(seed: int) -> None:
    """Every length is tried: markers may close, rows may end the table, a line may end the code."""
    growing, text, step = GrowingHtml(), document(seed), 2 + seed % 3
    for length in range(1, len(text) + 1, step):
        assert growing.html(text[:length]) == html_while_growing(text[:length])


@pytest.mark.parametrize("kind", PLAIN)
def test_a_long_block_is_not_parsed_again(kind: str) -> None:
    growing, text = GrowingHtml(), PLAIN[kind] * 6
    for length in range(1, len(text), 100):
        growing.html(text[:length])
    assert growing.parsed_length < 2_000 < len(text) - 3_000


@pytest.mark.parametrize(
    "text",
    [
        "*open {} close*",
        "[text {}](https://e.org)",
        "`code {} code`",
        "$$ a {} = b$$",
        "word {}\n===\n",
        "a|b {}\n-|-\n",
        "~~gone {} gone~~",
        "\\` {} ` {} `",
        '[a](b "x) {} y")',
    ],
)
def test_what_a_later_mark_changes_is_rendered_again(text: str) -> None:
    growing, whole = GrowingHtml(), text.format(*["plain words " * 60] * 2)
    for length in range(1, len(whole) + 1, 3):
        growing.html(whole[:length])
    assert growing.html(whole) == html_while_growing(whole)
    assert growing.html(whole, ended=True) == html_of(whole)


def test_limits_of_a_whole_block_hold_with_cuts() -> None:
    """More emphasis than the parser pairs up, and more empty cells than it adds."""
    for whole in (
        "*some* words " * 600,
        "|" + "a|" * 400 + "\n|" + "-|" * 400 + "\n" + "|b|\n" * 70,
    ):
        growing = GrowingHtml()
        for length in range(len(whole) // 2, len(whole) + 1, 400):
            assert growing.html(whole[:length]) == html_while_growing(whole[:length])


# ── changes ───────────────────────────────────────────────────────────────────────────────────
def units(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


@settings(deadline=None)
@given(*[st.text(alphabet="ab<>/😀\n", max_size=20)] * 4)
def test_a_difference_turns_one_text_into_the_other(a: str, b: str, c: str, d: str) -> None:
    """Positions are in UTF-16 units."""
    before, now = a + b + d, a + c + d
    left, added, removed = difference(before, now)
    end = len(units(before)) - 2 * left
    assert units(before)[: end - 2 * removed] + units(added) + units(before)[end:] == units(now)


class Reader:
    """A connection of the page, which assembles replies as growth.js does.

    `shown` is what the page shows: it skips events that its snapshot contains, as state.js does.
    """

    def __init__(self, feed: Feed, protocol: int = FOLLOWS_CHANGES, since: int = 0) -> None:
        self.feed, self.encoder = feed, EventEncoder("e", protocol)
        self.number = since
        self.reply: dict[str, Any] = {}
        self.shown, self.snapshot = "", -1
        self.sizes: list[int] = []
        self.names: list[str] = []

    def read(self) -> float:
        """Read everything that is new; returns the pause."""
        return self.encode(self.feed.since(self.number) or [])

    def read_snapshot(self, live: LiveReply) -> None:
        """Read the thread again."""
        self.shown, self.snapshot = live.newest().text, self.feed.number

    def encode(self, newer: list[Event]) -> float:
        """Read the events `newer`; returns the pause."""
        data, self.number, rest = self.encoder.encode(newer, self.number)
        for name, number, event in events(data.decode()):
            self.names.append(name)
            self.reply = event if name == "reply" else self._followed(event)
            if number > self.snapshot:
                self.shown = self.reply["text"]
        self.sizes.append(len(data))
        return rest

    def _followed(self, change: dict[str, Any]) -> dict[str, Any]:
        assert change["at"][0] == self.reply["version"]
        blocks = self.reply["blocks"][: change.get("blocks")]
        for index, *edit in change.get("edits", []):
            if isinstance(edit[0], str):
                blocks[index:] = [edit[0], *blocks[index + 1 :]]
                continue
            left, added, removed = (*edit, *[change["text"], 0][len(edit) - 1 :])
            old = units(blocks[index])
            end = len(old) - 2 * left
            new = old[: end - 2 * removed] + units(added) + old[end:]
            blocks[index] = new.decode("utf-16-le")
        text = self.reply["text"] + change["text"]
        return {**self.reply, "text": text, "blocks": blocks, "version": change["at"][1]}


def events(data: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for one in data.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in one.splitlines())
        number = int(fields["id"].rpartition("-")[2])
        yield fields["event"], number, json.loads(fields["data"])


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render at each update, however long the previous rendering took."""
    monkeypatch.setattr(hub, "REST", 0)


def reply(turn: int = 1) -> LiveReply:
    return LiveReply(turn, 1, "local", "thread", 0.0)


def write(feed: Feed, live: LiveReply, text: str, *, queued: bool = False) -> None:
    live.source, live.queued, live.version = text, queued, live.version + 1
    feed.push("reply", dict, key=f"reply-{live.turn}", live=live)


@pytest.mark.usefixtures("unhurried", "short_cuts")
@pytest.mark.parametrize("seed", range(4))
def test_readers_of_any_speed_have_the_whole_reply(seed: int) -> None:
    """One reads each update, one every seventh; one reconnects; one has an older page."""
    feed, live, text = Feed(), reply(), document(seed)
    fast, slow, lossy, old = Reader(feed), Reader(feed), Reader(feed), Reader(feed, protocol=1)
    for count, length in enumerate(range(1, len(text) + 1, 4)):
        write(feed, live, text[:length])
        if count % 7 == 0:
            slow.read()
        if count % 11 == 0:
            lossy = Reader(feed, since=lossy.number)
        for reader in (fast, lossy, old):
            reader.read()
            shown = reader.reply.get("blocks", [reader.reply.get("html")])
            assert (reader.reply["text"], "".join(shown)) == (
                text[:length],
                html_while_growing(text[:length]),
            )
    slow.read()
    assert "".join(slow.reply["blocks"]) == html_while_growing(slow.reply["text"])
    assert slow.reply["text"] == fast.reply["text"]
    assert fast.names.count("reply") == 1
    assert set(old.names) == {"reply"}


@pytest.mark.usefixtures("unhurried")
def test_an_update_has_the_size_of_what_is_new() -> None:
    for text in PLAIN.values():
        feed, live = Feed(), reply()
        reader = Reader(feed)
        for length in range(8, len(text), 8):
            write(feed, live, text[:length])
            reader.read()
        assert max(reader.sizes[2:]) < 600
        assert sum(reader.sizes) < 25 * len(text)


@pytest.mark.usefixtures("unhurried")
def test_another_state_text_or_attempt_begins_with_the_whole_reply() -> None:
    feed, first, second = Feed(), reply(), reply()
    reader = Reader(feed)
    write(feed, first, "", queued=True)
    reader.read()
    for live, text in ((first, "One."), (first, "Other."), (second, "Other. And more.")):
        write(feed, live, text)
        reader.read()
        assert (reader.names[-1], reader.reply["text"]) == ("reply", text)
        assert reader.reply["state"] == "writing"
    write(feed, second, "Other. And more. And.")
    reader.read()
    assert reader.names[-1] == "change"
    assert reader.read() == 0
    assert reader.sizes[-1] == 0


@pytest.mark.usefixtures("unhurried")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["write", "wait", "encode", "snapshot"]), max_size=20))
@example(["write", "wait", "snapshot", "write", "encode"])
def test_a_snapshot_at_any_moment_hides_no_text(steps: list[str]) -> None:
    """Text that arrives between an event and its rendering is newer than the event's number says.
    The page skips that event if a snapshot has the number, and must still get the text."""
    feed, live = Feed(), reply()
    reader, newer, text = Reader(feed), list[Event](), ""
    for step in [*steps, "encode"]:
        if step == "write":
            text += "word "
            write(feed, live, text)
        elif step == "wait":
            newer = newer or feed.since(reader.number) or []
        elif step == "snapshot":
            reader.read_snapshot(live)
        else:
            reader.encode(newer or feed.since(reader.number) or [])
            newer = []
    reader.read()
    assert reader.shown == text


def test_an_expensive_reply_rests_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """During the pause, readers get the last rendering; the newest text follows afterwards."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "thread_time", iter([0.0, 0.5, 0.5, 0.5]).__next__)
    feed, live = Feed(), reply()
    reader, other = Reader(feed), Reader(feed)
    write(feed, live, "One")
    assert reader.read() == 0
    write(feed, live, "One two")
    feed.push("notice", dict)
    assert reader.read() == pytest.approx(3 * 0.5)
    assert (reader.reply["text"], reader.number) == ("One", 1)
    assert other.read() == pytest.approx(3 * 0.5)
    assert other.reply["text"] == "One"
    now[0] += 1.5
    reply_before = reader.reply
    data, number, rest = reader.encoder.encode(feed.since(1) or [], 1)
    assert [name for name, _, _ in events(data.decode())] == ["change", "notice"]
    assert (number, rest) == (3, 0.0)
    assert reply_before["text"] == "One"


def test_ids_in_events_are_those_of_the_feed() -> None:
    feed, live = Feed(), reply()
    write(feed, live, "One")
    data, _, _ = EventEncoder("abcd", FOLLOWS_CHANGES).encode(feed.since(0) or [], 0)
    assert re.findall(r"id: (\S+)", data.decode()) == ["abcd-1"]
