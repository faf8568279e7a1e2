"""Everything shown in a Slack message becomes text for the model; the fixtures are anonymised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.slack import block_kit, content
from adapters.slack.attachments import attachments
from adapters.slack.events import Identity
from bot.domain.excerpts import EXCERPT_CHARACTERS, EXCERPTS_CHARACTERS
from bot.domain.inbox import Address
from tests.support.slack_kit import read_event

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
SHOWN: dict[str, Any] = json.loads((FIXTURES / "shown.json").read_text())
ME = Identity("T0HOME0001", "U0BOT00001", "B0BOT00001")
NAMES = {"U0BOB00001": "Bob", "U0BOT00001": "threadline", "C0RANDOM01": "random"}


def text_of(name: str) -> str:
    return content.message_text(SHOWN[name]["message"], NAMES, ME.user)


@pytest.mark.parametrize("name", sorted(name for name, case in SHOWN.items() if case["text"]))
def test_the_model_reads_what_people_see(name: str) -> None:
    assert text_of(name) == SHOWN[name]["text"]


def test_every_block_yields_its_text() -> None:
    wanted = (
        "Incident 7|*api* is down & slow|*Since*|10:00|[Acknowledge]|[image: status] by @Bob|"
        "[image: Graph, latency rising]|[Restart]|Severity|High|Reason|one line|because|Replay|"
        "two minutes|Bob|Tube|a replay|War room|**bold** |Fetch logs|412 lines|log|"
        "https://example.com/log|Repair|Roll back|take care|Card title|Card subtitle|Card body|"
        "[Open]|Second card|from the future"
    )
    text = text_of("every_block")
    assert [words for words in wanted.split("|") if words not in text] == []
    assert text.startswith("Embed:\n> Incident 7")


def test_all_visible_names_are_looked_up() -> None:
    assert content.ids_in(SHOWN["pasted_table"]["message"], ME.user) == ("U0BOB00001",)
    assert set(content.ids_in(SHOWN["rich_text_alone"]["message"], ME.user)) == {
        "U0BOB00001",
        "C0RANDOM01",
    }
    assert content.ids_in(SHOWN["channel_without_label"]["message"], ME.user) == (
        "C0RANDOM01",
        "C0SECRET01",
    )


def event(name: str, **more: Any) -> dict[str, Any]:
    base = {"type": "message", "channel": "C0GENERAL1", "user": "U0ALICE001", "ts": "2.000001"}
    return {**base, "channel_type": "channel", **SHOWN[name]["message"], **more}


def test_a_mention_in_a_forwarded_message_does_not_address_the_bot() -> None:
    """Only the author's own text counts; in a thread, a forwarded message is a follow-up."""
    top = read_event({"event": event("forward_alone")}, ME, NAMES)
    assert top is None
    reply = read_event({"event": event("forward_alone", thread_ts="1.000001")}, ME, NAMES)
    assert reply is not None
    assert reply.address is Address.FOLLOW_UP
    asked = read_event({"event": event("forward_with_question")}, ME, NAMES)
    assert asked is not None
    assert asked.address is Address.MENTION
    typed = event("forward_alone", text="", blocks=SHOWN["pasted_table"]["message"]["blocks"])
    mention = read_event({"event": typed}, ME, NAMES)
    assert mention is not None
    assert mention.address is Address.MENTION


PIE = {"type": "pie", "segments": [{"label": "Yes", "value": 45}, {"label": "No", "value": 45}]}
LINES = {
    "type": "line",
    "series": [
        {"name": "Sales", "data": [{"label": "Mon", "value": 1.5}, {"label": "Tue", "value": 0}]},
        {"name": "Costs", "data": None},
    ],
    "axis_config": {"categories": ["Mon", "Tue"], "x_label": "Day", "y_label": "EUR"},
}
WORDS = {"type": "section", "text": {"type": "mrkdwn", "text": "inside"}}
SURE = {"title": {"type": "plain_text", "text": "Sure?"}}


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "data_visualization", "title": "Votes", "chart": PIE}, "Votes|Yes 45|No 45"),
        (
            {"type": "data_visualization", "title": "Week", "chart": LINES},
            "Week|Day|EUR|Sales: Mon 1.5, Tue 0|Costs",
        ),
        (
            {
                "type": "container",
                "title": {"type": "plain_text", "text": "Title"},
                "subtitle": {"type": "mrkdwn", "text": "Subtitle"},
                "child_blocks": [WORDS],
            },
            "Title|Subtitle|inside",
        ),
        ({"type": "from_the_future", "id": "X1", "kids": [WORDS], "confirm": SURE}, "inside"),
        ({"type": "from_the_future", "heading": "Head", "caption": "Caption"}, "Head|Caption"),
    ],
)
def test_unknown_blocks_yield_their_text(block: dict[str, Any], text: str) -> None:
    shown = "\n".join(f"> {line}" for line in text.split("|"))
    assert (
        content.message_text({"text": "", "blocks": [block]}, NAMES, ME.user) == f"Embed:\n{shown}"
    )


def test_excerpts_are_limited_in_length() -> None:
    """There is a limit for each excerpt, and one for all of them together."""
    forward = {"is_share": True, "author_name": "Bob", "text": "word " * 20_000}
    one = content.message_text({"text": "", "attachments": [forward]}, NAMES)
    assert len(one) < EXCERPT_CHARACTERS + 200
    assert "more characters left out" in one
    many = content.message_text({"text": "", "attachments": [forward] * 40}, NAMES)
    assert len(many) < EXCERPTS_CHARACTERS + 200
    rows = [[{"type": "raw_text", "text": "x" * 50}] * 20] * 5_000
    table = content.message_text({"text": "", "blocks": [{"type": "table", "rows": rows}]}, NAMES)
    assert len(table) < EXCERPT_CHARACTERS + 200


def test_deep_nesting_is_not_read() -> None:
    block: dict[str, Any] = {"type": "unknown", "text": "deep"}
    attachment: dict[str, Any] = {"is_share": True, "text": "deep"}
    for _ in range(5_000):
        block = {"type": "unknown", "text": "x", "elements": [block]}
        attachment = {"is_share": True, "text": "x", "attachments": [attachment]}
    message = {"text": "", "blocks": [block], "attachments": [attachment]}
    assert "deep" not in content.message_text(message, NAMES)
    message["attachments"] = [attachment | {"files": [{"id": "F1"}]}]
    assert [one.identity for one in attachments(message)] == ["F1"]


@pytest.mark.parametrize("kind", sorted(block_kit._BLOCKS))
def test_malformed_blocks_do_not_raise(kind: str) -> None:
    odd: list[Any] = [None, 1, "x", [None, 1, [2]], {"type": 1}, [{"type": []}]]
    keys = ("text", "elements", "fields", "accessory", "rows", "title", "columns", "style")
    for value in odd:
        assert isinstance(block_kit.block_text({"type": kind} | dict.fromkeys(keys, value)), str)


def test_a_quoted_bot_is_named() -> None:
    assert content.bot_name({"username": "Deploys", "bot_profile": {"name": "x"}}, {}) == "Deploys"
    assert content.bot_name({"bot_profile": {"name": "Alerts\nAlice"}}, {}) == "Alerts Alice"
    assert content.bot_name({"user": "U0BOB00001"}, NAMES) == "Bob"
    assert content.bot_name({}, NAMES) == "A bot"
    quoted = content.quotation({"username": "Deploys", "text": "a &amp; b failed"}, NAMES)
    assert quoted == "Deploys wrote:\n> a & b failed"
