"""Links to messages of the workspace: read with the asker's access rights."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.permalinks import Permalink, linked_messages, parse
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError
from bot.domain.inbox import Incoming
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import key, running, until

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
SHOWN: dict[str, Any] = json.loads((FIXTURES / "shown.json").read_text())
HOST = "home.slack.com"
TS = "1763620000.000100"
URL = f"https://{HOST}/archives/C0RANDOM01/p1763620000000100"


# ── which links ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("url", "place"),
    [
        (URL, Permalink("C0RANDOM01", TS)),
        (f"{URL}?thread_ts={TS}&cid=C0RANDOM01", Permalink("C0RANDOM01", TS, TS)),
        (
            f"{URL}?thread_ts=1763610000.000100",
            Permalink("C0RANDOM01", TS, "1763610000.000100"),
        ),
        (f"{URL}?thread_ts=nonsense", Permalink("C0RANDOM01", TS)),
        (URL.replace(HOST, "HOME.slack.com"), Permalink("C0RANDOM01", TS)),
        (URL.replace(HOST, "other.slack.com"), None),
        (URL.replace(HOST, "home.slack.com.example.com"), None),
        (URL.replace(HOST, "home.slack.com@example.com"), None),
        (f"https://{HOST}/archives/C0RANDOM01", None),
        (f"https://{HOST}/files/U1/F1/a.txt", None),
        ("https://[", None),
    ],
)
def test_which_addresses_are_messages(url: str, place: Permalink | None) -> None:
    assert parse(url, HOST) == place
    assert parse(url, "") is None


def test_links_in_a_message() -> None:
    """Each link counts once and only a few count; a link whose message Slack already shows does
    not."""
    text = f"<{URL}> and <{URL}?thread_ts=1763610000.000100&amp;cid=C1|here>"
    found = linked_messages({"text": f"{text} <{URL}>"}, HOST, "U1")
    assert [one.locator.get("thread") for one in found] == [None, "1763610000.000100"]
    assert found[0].locator == {
        "url": URL,
        "channel": "C0RANDOM01",
        "message": TS,
        "asker": "U1",
    }
    many = " ".join(f"<{URL[:-1]}{n}>" for n in range(9))
    assert len(linked_messages({"text": many}, HOST, "U1")) == 3
    shown = {"is_msg_unfurl": True, "channel_id": "C0RANDOM01", "ts": TS, "text": "hello"}
    assert linked_messages({"text": f"<{URL}>", "attachments": [shown]}, HOST, "U1") == ()
    assert linked_messages({"text": f"`{URL}`"}, HOST, "U1") == ()


# ── reading ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        await sim.limits(enabled=False)
        yield sim


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def link(channel: str, ts: str, thread: str = "") -> str:
    path = f"https://{HOST}/archives/{channel}/p{ts.replace('.', '')}"
    return f"<{path}?thread_ts={thread}&amp;cid={channel}>" if thread else f"<{path}>"


async def ask(sim: SlackSim, inbox: FakeInbox, text: str, user: str = ids.ALICE) -> Incoming:
    question = f"<@{ids.BOT_USER}> summarize {text}"
    ts = await sim.say(user, ids.GENERAL, question, raw=True)
    await until(lambda: any(one.message_id == ts for one in inbox.received))
    return next(one for one in inbox.received if one.message_id == ts)


async def read(slack: SlackAdapter, asked: Incoming) -> str:
    """The text that the question's only link leads to."""
    (found,) = asked.attachments
    assert (found.name, found.media_type, found.is_link) == (
        "linked message",
        "text/markdown",
        False,
    )
    return (await slack.download(asked.key, found.locator, limit=10_000)).data.decode()


async def refusal(slack: SlackAdapter, asked: Incoming) -> tuple[Omission, bool]:
    with pytest.raises(AttachmentError) as error:
        await read(slack, asked)
    return error.value.omission, error.value.retry_after is not None


async def test_a_message_with_its_thread(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    files = [("log.txt", "text/plain", b"x")]
    root = await sim.say(ids.BOB, ids.GENERAL, "the build is red", files=files)
    await sim.say(ids.ALICE, ids.GENERAL, "since when, @bob?", thread_ts=root)
    text = await read(slack, await ask(sim, inbox, link(ids.GENERAL, root)))
    assert text == (
        "In #general\n\nbob wrote:\n> the build is red\n> [file: log.txt]\n\n"
        "alice wrote:\n> since when, @bob?"
    )


async def test_a_reply_alone(sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter) -> None:
    root = await sim.say(ids.BOB, ids.GENERAL, "the build is red")
    reply = await sim.say(ids.ALICE, ids.GENERAL, "since when?", thread_ts=root)
    text = await read(slack, await ask(sim, inbox, link(ids.GENERAL, reply, root)))
    assert text == "In #general\n\nalice wrote:\n> since when?"


async def test_a_private_channel_needs_membership(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    secret = await sim.say(ids.BOB, ids.PRIVATE, "we are hiring")
    asked = await ask(sim, inbox, link(ids.PRIVATE, secret))
    assert "we are hiring" in await read(slack, asked)
    await sim.remove_from_channel(ids.PRIVATE, ids.ALICE)
    assert await refusal(slack, asked) == (Omission.NO_ACCESS, False)


async def test_other_peoples_direct_messages_stay_private(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """The bot itself can read them."""
    direct = await sim.say(ids.ALICE, ids.DM_ALICE, "my salary")
    url = link(ids.DM_ALICE, direct)
    assert await refusal(slack, await ask(sim, inbox, url, ids.BOB)) == (Omission.NO_ACCESS, False)
    assert "my salary" in await read(slack, await ask(sim, inbox, url))


async def test_guests_and_strangers_need_membership_everywhere(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    channel = await sim.add_channel("team")
    said = await sim.say(ids.ALICE, channel, "a plan")
    stranger = await ask(sim, inbox, link(channel, said), ids.CAROL)
    assert await refusal(slack, stranger) == (Omission.NO_ACCESS, False)
    member = await ask(sim, inbox, link(channel, said), ids.BOB)
    await sim.remove_from_channel(channel, ids.BOB)
    assert "a plan" in await read(slack, member)  # people may open public channels
    await sim.guest(ids.BOB)
    assert await refusal(slack, member) == (Omission.NO_ACCESS, False)


async def test_what_the_bot_cannot_read_stays_unread(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    said = await sim.say(ids.ALICE, ids.RANDOM, "the bot is not here")
    asked = await ask(sim, inbox, link(ids.RANDOM, said))
    assert await refusal(slack, asked) == (Omission.NO_ACCESS, False)


@pytest.mark.parametrize("in_thread", [True, False])
async def test_a_deleted_message_is_gone(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, in_thread: bool
) -> None:
    root = await sim.say(ids.BOB, ids.GENERAL, "root")
    reply = await sim.say(ids.ALICE, ids.GENERAL, "reply", thread_ts=root)
    url = link(ids.GENERAL, reply, root) if in_thread else link(ids.GENERAL, root)
    asked = await ask(sim, inbox, url)
    await sim.delete(ids.GENERAL, reply)
    if not in_thread:
        await sim.delete(ids.GENERAL, root)
    assert await refusal(slack, asked) == (Omission.GONE, False)


@pytest.mark.parametrize("method", ["conversations.info", "users.info", "conversations.replies"])
@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ({"status": 503, "body": {}}, (Omission.UNREACHABLE, True)),
        ({"drop": True}, (Omission.UNREACHABLE, True)),
        (
            {"status": 200, "body": {"ok": False, "error": "access_denied"}},
            (Omission.NO_ACCESS, False),
        ),
    ],
)
async def test_failing_requests(
    sim: SlackSim,
    inbox: FakeInbox,
    slack: SlackAdapter,
    method: str,
    fault: Mapping[str, Any],
    result: tuple[Omission, bool],
) -> None:
    said = await sim.say(ids.BOB, ids.GENERAL, "the build is red")
    asked = await ask(sim, inbox, link(ids.GENERAL, said))
    await sim.call("fault", match=f"/api/{method}", times=10, **fault)
    assert await refusal(slack, asked) == result


async def test_odd_answers_prove_no_right(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    said = await sim.say(ids.BOB, ids.PRIVATE, "we are hiring")
    asked = await ask(sim, inbox, link(ids.PRIVATE, said))
    for odd in (None, 17, [ids.BOB, {"id": ids.ALICE}], ids.ALICE):
        await sim.call("fault", match="/api/conversations.members", put={"members": odd})
        assert await refusal(slack, asked) == (Omission.NO_ACCESS, False)
    for odd in ({"user.is_restricted": 1}, {"user.team_id": None}, {"user": None}):
        public = await ask(sim, inbox, link(ids.GENERAL, said))
        await sim.call("fault", match="/api/users.info", put=odd)
        await sim.call("fault", match="/api/conversations.members", put={"members": []})
        assert await refusal(slack, public) == (Omission.NO_ACCESS, False)
        await sim.call("clear")


async def test_links_in_asides_and_old_threads_are_not_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    said = await sim.say(ids.BOB, ids.GENERAL, "the build is red")
    root = await sim.say(ids.ALICE, ids.GENERAL, link(ids.GENERAL, said), raw=True)
    aside = f"<@{ids.BOB}> {link(ids.GENERAL, said)}"
    await sim.say(ids.ALICE, ids.GENERAL, aside, raw=True, thread_ts=root)
    await sim.say(ids.ALICE, ids.GENERAL, "why?", mention=True, thread_ts=root)
    await until(lambda: len(inbox.received) == 2)
    question = next(one for one in inbox.received if one.text == "why?")
    before = await slack.backlog(question)
    assert [one.attachments for one in (*inbox.received, *before)] == [()] * 4
    assert question.key == key(ids.GENERAL, root)
