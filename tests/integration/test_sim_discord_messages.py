"""The simulated Discord refuses the messages that Discord refuses, and keeps every version."""

import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.sims.discord import ALICE, BOB, CHANNEL, FORUM, OTHER_BOT, TEAM_ROLE, VOICE
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import RawBot

BUTTON = {"type": 2, "style": 1, "label": "Go", "custom_id": "go"}
URL = "https://example.com/a"


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """The simulator without rate limits: these tests are about single requests."""
    async with LocalDiscord() as running:
        await running.set_limits(on=False)
        yield running


@pytest.fixture
async def bot(sim: LocalDiscord) -> AsyncIterator[RawBot]:
    async with RawBot(sim) as raw:
        yield raw


def row(*components: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": 1, "components": list(components)}]


def text_display(size: int) -> dict[str, Any]:
    return {"type": 10, "content": "x" * size}


# ── tokens and routes ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("auth", ["", "Bot wrong", f"Bearer {c.SIM_TOKEN}"])
async def test_the_token_is_needed(bot: RawBot, auth: str) -> None:
    """401 without a token, with another one, and with another scheme."""
    answer = await bot.request("GET", "/users/@me", auth=auth)
    assert (answer.status, answer.body["message"]) == (401, "401: Unauthorized")


async def test_responses_are_exactly_json(bot: RawBot) -> None:
    """`application/json` without a charset, even for errors; unknown routes are 404."""
    for path, status in (("/users/@me", 200), ("/channels/1", 404), ("/nothing", 404)):
        answer = await bot.request("GET", path)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Via"]


async def test_an_invalid_json_body_is_refused(bot: RawBot) -> None:
    form = aiohttp.FormData({"content": "as a form"})
    answer = await bot.request("POST", f"/channels/{CHANNEL}/messages", form=form)
    assert (answer.status, answer.code) == (400, 50109)


# ── limits of a message ───────────────────────────────────────────────────────────────────────
async def test_content_is_measured_in_code_points(bot: RawBot) -> None:
    """2,000 of any kind are accepted and one more is refused, in an edit too."""
    whole = await bot.send(content="😀" * 2000)
    assert whole.status == 200
    over = await bot.send(content="x" * 2001)
    assert (over.status, over.code, over.wrong) == (400, 50035, ["content"])
    over = await bot.patch(CHANNEL, whole.body["id"], content="x" * 2001)
    assert (over.status, over.wrong) == (400, ["content"])


@pytest.mark.parametrize("content", ["", " \n\t "])
async def test_an_empty_message_is_refused(bot: RawBot, content: str) -> None:
    """50006, even for whitespace alone; content is stripped."""
    assert (await bot.send(content=content)).code == 50006
    message = await bot.send(content="  text \n")
    assert message.body["content"] == "text"
    answer = await bot.patch(CHANNEL, message.body["id"], content=content)
    assert (answer.status, answer.code) == (400, 50006)


@pytest.mark.parametrize(
    ("embeds", "wrong"),
    [
        ([{"description": "x" * 4097}], ["embeds.0.description"]),
        ([{"title": "x" * 257}], ["embeds.0.title"]),
        ([{"description": "x" * 3001}] * 2, ["embeds"]),
        ([{"title": "x"}] * 11, ["embeds"]),
        ([{"fields": [{"name": "", "value": "x"}]}], ["embeds.0.fields.0.name"]),
        ([{"footer": {"text": "x" * 2049}}], ["embeds.0.footer.text"]),
    ],
)
async def test_embeds_have_limits(
    bot: RawBot, embeds: list[dict[str, Any]], wrong: list[str]
) -> None:
    """4,096 in a description, 6,000 in all of a message's embeds, ten embeds."""
    assert (await bot.send(embeds=embeds)).wrong == wrong
    fits = [{"description": "x" * 4096}, {"description": "x" * 1904}]
    assert (await bot.send(embeds=fits)).status == 200


@pytest.mark.parametrize(
    ("components", "wrong"),
    [
        (row(BUTTON | {"custom_id": "x" * 101}), ["components.0.components.0.custom_id"]),
        (row({**BUTTON, "custom_id": ""}), ["components.0.components.0.custom_id"]),
        (row(BUTTON, BUTTON), ["components"]),
        (row(BUTTON | {"label": "x" * 81}), ["components.0.components.0.label"]),
        (row(BUTTON | {"style": 9}), ["components.0.components.0.style"]),
        (row({"type": 2, "style": 5, "label": "no url"}), ["components.0.components.0.url"]),
        (row(), ["components.0.components"]),
        (row(BUTTON) * 6, ["components"]),
        ([BUTTON], ["components.0.type"]),
        ([text_display(5)], ["components.0.type"]),
    ],
)
async def test_components_have_limits(
    bot: RawBot, components: list[dict[str, Any]], wrong: list[str]
) -> None:
    """A unique custom_id of 1 to 100; buttons in rows; layout components only with the flag."""
    assert (await bot.send(components=components)).wrong == wrong
    assert (await bot.send(components=row(BUTTON | {"custom_id": "x" * 100}))).status == 200


async def test_components_v2_stand_alone(bot: RawBot) -> None:
    """With the flag, content and embeds are refused; 40 components and 4,000 characters are
    allowed."""
    v2 = {"flags": c.COMPONENTS_V2}
    path = f"/channels/{CHANNEL}/messages"

    async def send(components: list[dict[str, Any]], **more: Any) -> Any:
        return await bot.request("POST", path, {"components": components, **v2, **more})

    assert (await send([text_display(5)], content="x")).wrong == ["content"]
    assert (await send([text_display(5)], embeds=[{"title": "x"}])).wrong == ["embeds"]
    assert (await send([])).wrong == ["components"]
    assert (await send([text_display(2000), text_display(2001)])).wrong == ["components"]
    assert (await send([text_display(1)] * 41)).wrong == ["components"]
    whole = await send([text_display(2000), text_display(2000), *row(BUTTON)])
    assert whole.status == 200
    answer = await bot.patch(CHANNEL, whole.body["id"], content="text again")
    assert answer.wrong == ["content"]


async def test_files_have_limits(bot: RawBot, sim: LocalDiscord) -> None:
    """10 MiB each and ten of them; accepted files can be fetched without a token."""

    async def upload(*sizes: int) -> Any:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", "{}")
        for n, size in enumerate(sizes):
            form.add_field(f"files[{n}]", io.BytesIO(b"x" * size), filename=f"{n}.txt")
        return await bot.request("POST", f"/channels/{CHANNEL}/messages", form=form)

    assert (await upload(c.MAX_FILE + 1)).code == 40005
    assert (await upload(*[1] * 11)).status == 400
    whole = await upload(3, 5)
    assert [file["size"] for file in whole.body["attachments"]] == [3, 5]
    async with aiohttp.request("GET", whole.body["attachments"][1]["url"]) as response:
        assert await response.read() == b"xxxxx"
    await sim.set_permissions(CHANNEL, deny=("attach_files",))
    assert (await upload(1)).code == 50013


async def test_an_edit_may_replace_files(bot: RawBot, sim: LocalDiscord) -> None:
    """New files need the permission. A list names the files to keep; without a list, all of them
    stay."""
    path = f"/channels/{CHANNEL}/messages"

    def form(payload: str, *names: str) -> aiohttp.FormData:
        made = aiohttp.FormData(quote_fields=False)
        made.add_field("payload_json", payload)
        for n, name in enumerate(names):
            made.add_field(f"files[{n}]", io.BytesIO(name.encode()), filename=name)
        return made

    message = await bot.request("POST", path, form=form("{}", "old.txt"))
    where = f"{path}/{message.body['id']}"
    kept = await bot.request("PATCH", where, {"content": "caption"})
    assert [file["filename"] for file in kept.body["attachments"]] == ["old.txt"]
    listed = '{"attachments": [{"id": 0, "filename": "new.txt"}]}'
    changed = await bot.request("PATCH", where, form=form(listed, "new.txt"))
    assert [file["filename"] for file in changed.body["attachments"]] == ["new.txt"]
    assert await sim.file(await sim.message(int(message.body["id"]))) == b"new.txt"
    await sim.set_permissions(CHANNEL, deny=("attach_files",))
    assert (await bot.request("PATCH", where, form=form(listed, "x.txt"))).code == 50013
    bare = await bot.request("PATCH", where, {"attachments": []})
    assert bare.body["attachments"] == []


async def test_people_can_announce_large_files(bot: RawBot, sim: LocalDiscord) -> None:
    """The size is known before the download, so the reader must check it."""
    file = {"filename": "big.bin", "size": 20_000_000, "content_type": "application/x"}
    message = await sim.say(content="look", attachments=[file])
    answer = await bot.request("GET", f"/channels/{CHANNEL}/messages/{message}")
    assert answer.body["attachments"][0]["size"] == 20_000_000


# ── sending the same again ────────────────────────────────────────────────────────────────────
async def test_a_nonce_makes_sending_idempotent(bot: RawBot, sim: LocalDiscord) -> None:
    """An enforced nonce returns the first message again, for a few minutes."""
    once = await bot.send(content="first", nonce="n1", enforce_nonce=True)
    again = await bot.send(content="second", nonce="n1", enforce_nonce=True)
    assert again.body["id"] == once.body["id"]
    assert again.body["content"] == "first"
    assert len(await sim.messages()) == 1
    await bot.send(content="not enforced", nonce="n1")
    assert len(await sim.messages()) == 2
    await bot.send(c.CHANNEL_2, content="elsewhere", nonce="n1", enforce_nonce=True)
    assert len(await sim.messages(c.CHANNEL_2)) == 1


async def test_a_nonce_expires(bot: RawBot, sim: LocalDiscord) -> None:
    """After that, the same nonce posts again: it is not a permanent key."""
    await sim.set_limits(nonce_seconds=1e-9)
    await bot.send(nonce="n1", enforce_nonce=True)
    await bot.send(nonce="n1", enforce_nonce=True)
    assert len(await sim.messages()) == 2


async def test_an_invalid_nonce_is_refused(bot: RawBot, sim: LocalDiscord) -> None:
    """A nonce of over 25 characters is an invalid field; if its message was deleted, it is
    10008."""
    assert (await bot.send(nonce="x" * 26)).wrong == ["nonce"]
    message = await bot.send(nonce="x" * 25, enforce_nonce=True)
    await bot.request("DELETE", f"/channels/{CHANNEL}/messages/{message.body['id']}")
    answer = await bot.send(nonce="x" * 25, enforce_nonce=True)
    assert (answer.status, answer.code) == (404, 10008)


# ── replies ───────────────────────────────────────────────────────────────────────────────────
async def test_a_reply_names_its_message(bot: RawBot, sim: LocalDiscord) -> None:
    """It has type 19 and pings the author of its message unless that is turned off."""
    asked = await sim.say(content="a question")
    answer = await bot.send(message_reference={"message_id": str(asked)})
    assert answer.body["type"] == 19
    assert answer.body["referenced_message"]["content"] == "a question"
    assert (await sim.message(int(answer.body["id"])))["pinged"] == [f"user:{ALICE}"]
    quiet = await bot.send(
        message_reference={"message_id": str(asked)}, allowed_mentions={"parse": []}
    )
    assert (await sim.message(int(quiet.body["id"])))["pinged"] == []


async def test_a_reply_to_a_missing_message_is_refused(bot: RawBot, sim: LocalDiscord) -> None:
    """If `fail_if_not_exists` is false, it becomes an ordinary message."""
    asked = await sim.say(content="a question")
    await sim.delete(asked)
    reference: dict[str, Any] = {"message_id": str(asked)}
    assert (await bot.send(message_reference=reference)).wrong == ["message_reference"]
    reference["fail_if_not_exists"] = False
    assert (await bot.send(message_reference=reference)).body["type"] == 0


# ── mentions ──────────────────────────────────────────────────────────────────────────────────
LOUD = f"@everyone <@{ALICE}> <@&{TEAM_ROLE}> <@{BOB}> `@here <@{c.CAROL}>`"


@pytest.mark.parametrize(
    ("allowed", "pinged"),
    [
        (None, [f"user:{ALICE}", f"user:{BOB}", f"role:{TEAM_ROLE}", "@everyone"]),
        ({"parse": []}, []),
        ({"parse": ["users"]}, [f"user:{ALICE}", f"user:{BOB}"]),
        ({"parse": [], "users": [str(BOB)]}, [f"user:{BOB}"]),
        ({"parse": ["everyone", "roles"]}, [f"role:{TEAM_ROLE}", "@everyone"]),
    ],
)
async def test_only_allowed_mentions_ping(
    bot: RawBot, sim: LocalDiscord, allowed: dict[str, Any] | None, pinged: list[str]
) -> None:
    """Without `allowed_mentions`, all mentions ping, except in code; an edit is checked again."""
    more: dict[str, Any] = {} if allowed is None else {"allowed_mentions": allowed}
    answer = await bot.send(content=LOUD, **more)
    message = await sim.message(int(answer.body["id"]))
    assert message["pinged"] == message["notified"] == pinged
    quiet = await bot.send(content="quiet")
    await bot.patch(CHANNEL, quiet.body["id"], content=LOUD, **more)
    edited = await sim.message(int(quiet.body["id"]))
    assert [version["pinged"] for version in edited["versions"]] == [[], pinged]
    assert edited["notified"] == []  # an edit never notifies


async def test_everyone_needs_its_permission(bot: RawBot, sim: LocalDiscord) -> None:
    """Without Mention Everyone, only mentionable roles and users are pinged."""
    await sim.set_permissions(CHANNEL, deny=("mention_everyone",))
    answer = await bot.send(content=f"@everyone <@&{TEAM_ROLE}> <@&{c.BOT_ROLE}>")
    assert (await sim.message(int(answer.body["id"])))["pinged"] == [f"role:{TEAM_ROLE}"]


@pytest.mark.parametrize(
    "allowed", [{"parse": ["users"], "users": [str(ALICE)]}, {"parse": ["no one"]}]
)
async def test_contradictory_mentions_are_refused(bot: RawBot, allowed: dict[str, Any]) -> None:
    assert (await bot.send(allowed_mentions=allowed)).code == 50035


# ── previews ──────────────────────────────────────────────────────────────────────────────────
async def test_links_are_previewed_unless_suppressed(bot: RawBot, sim: LocalDiscord) -> None:
    """The flag, `<…>` and code suppress previews; `flags: 0` in an edit restores them."""
    for content, previews in ((URL, [URL]), (f"<{URL}>", []), (f"`{URL}`", []), ("x", [])):
        answer = await bot.send(content=content)
        assert (await sim.message(int(answer.body["id"])))["previews"] == previews
    quiet = await bot.send(content=URL, flags=c.SUPPRESS_EMBEDS)
    message = int(quiet.body["id"])
    await bot.patch(CHANNEL, message, content=f"{URL} again")
    await bot.patch(CHANNEL, message, content=URL, flags=0)
    versions = (await sim.message(message))["versions"]
    assert [version["previews"] for version in versions] == [[], [], [URL]]
    await sim.wait_idle(quiet=0)
    answer = await bot.request("GET", f"/channels/{CHANNEL}/messages/{message}")
    assert [embed["type"] for embed in answer.body["embeds"]] == ["link"]


# ── reading ───────────────────────────────────────────────────────────────────────────────────
async def test_history_is_paged_newest_first(bot: RawBot, sim: LocalDiscord) -> None:
    """`after` returns the next messages, `before` the previous ones, `around` both."""
    ids = [await sim.say(content=str(n)) for n in range(7)]
    path = f"/channels/{CHANNEL}/messages"

    async def read(**query: Any) -> list[str]:
        return [m["content"] for m in (await bot.request("GET", path, **query)).body]

    assert await read(limit=2) == ["6", "5"]
    assert await read(after=str(ids[1]), limit=2) == ["3", "2"]
    assert await read(before=str(ids[4]), limit=2) == ["3", "2"]
    assert await read(around=str(ids[3]), limit=3) == ["4", "3", "2"]
    await sim.delete(ids[6])
    assert await read(limit=1) == ["5"]
    assert (await bot.request("GET", path, limit=101)).wrong == ["limit"]


async def test_missing_history_permission_is_an_empty_list(bot: RawBot, sim: LocalDiscord) -> None:
    """There is no error for a list; reading one message is 50001, and replies are refused."""
    message = await sim.say(content="x")
    await sim.set_permissions(CHANNEL, deny=("read_message_history",))
    path = f"/channels/{CHANNEL}/messages"
    assert (await bot.request("GET", path)).body == []
    assert (await bot.request("GET", f"{path}/{message}")).code == 50001
    assert (await bot.send(message_reference={"message_id": str(message)})).code == 160002


# ── permissions ───────────────────────────────────────────────────────────────────────────────
async def test_permissions_are_enforced(bot: RawBot, sim: LocalDiscord) -> None:
    """50013 without the permission to send, 50001 in a hidden channel."""
    await sim.set_permissions(CHANNEL, deny=("send_messages",))
    assert (await bot.send()).code == 50013
    typing = await bot.request("POST", f"/channels/{CHANNEL}/typing")
    assert (typing.status, typing.code) == (403, 50013)
    await sim.set_permissions(CHANNEL, deny=("view_channel",))
    for method, path in (("GET", ""), ("GET", "/messages"), ("POST", "/messages")):
        answer = await bot.request(method, f"/channels/{CHANNEL}{path}", {"content": "x"})
        assert (answer.status, answer.code) == (403, 50001)
    assert (await bot.send(VOICE)).status == 200
    assert (await bot.send(FORUM)).code == 50008
    assert (await bot.send(1)).code == 10003


async def test_other_users_messages_are_protected(bot: RawBot, sim: LocalDiscord) -> None:
    """50005 for an edit, 50013 for a deletion without Manage Messages, 10008 if the message is
    unknown."""
    for author in (ALICE, OTHER_BOT):
        message = await sim.say(author, content="x")
        assert (await bot.patch(CHANNEL, message, content="y")).code == 50005
        path = f"/channels/{CHANNEL}/messages/{message}"
        assert (await bot.request("DELETE", path)).code == 50013
    await sim.set_permissions(CHANNEL, allow=("manage_messages",))
    assert (await bot.request("DELETE", path)).status == 204
    assert (await bot.request("DELETE", path)).code == 10008
    assert (await bot.patch(CHANNEL, message, content="y")).code == 10008


async def test_a_removed_bot_has_no_access(bot: RawBot, sim: LocalDiscord) -> None:
    await sim.remove_bot()
    assert (await bot.send()).code == 50001
    assert (await bot.request("GET", f"/guilds/{c.GUILD}")).code == 50001
    assert (await bot.request("GET", "/users/@me/guilds")).body == []


async def test_direct_messages(bot: RawBot, sim: LocalDiscord) -> None:
    """One channel for each person; bots have none; a person may refuse them (50007)."""
    said = await sim.dm(ALICE, "hello")
    opened = await bot.request("POST", "/users/@me/channels", {"recipient_id": str(ALICE)})
    assert int(opened.body["id"]) == said["channel"]
    assert opened.body["type"] == 1
    assert (await bot.send(said["channel"])).status == 200
    other = await bot.request("POST", "/users/@me/channels", {"recipient_id": str(OTHER_BOT)})
    assert other.code == 50007
    await sim.close_dms(ALICE)
    assert (await bot.send(said["channel"])).code == 50007


# ── reactions, typing, versions ───────────────────────────────────────────────────────────────
async def test_reactions_are_counted_once(bot: RawBot, sim: LocalDiscord) -> None:
    """Adding one twice changes nothing; it needs the permission."""
    message = await sim.say(content="x")
    path = f"/channels/{CHANNEL}/messages/{message}/reactions/%F0%9F%91%8D"
    for _ in range(2):
        assert (await bot.request("PUT", f"{path}/@me")).status == 204
    assert (await sim.message(message))["reactions"] == {"👍": [c.BOT]}
    assert [u["id"] for u in (await bot.request("GET", path)).body] == [str(c.BOT)]
    await bot.request("DELETE", f"{path}/@me")
    assert (await sim.message(message))["reactions"] == {}
    await sim.set_permissions(CHANNEL, deny=("add_reactions",))
    assert (await bot.request("PUT", f"{path}/@me")).code == 50013


async def test_every_version_is_kept_with_its_time(bot: RawBot, sim: LocalDiscord) -> None:
    """Versions have content and components; `edited` is the last edit's time, `deleted` the
    deletion's."""
    answer = await bot.send(content="one", components=row(BUTTON))
    message = int(answer.body["id"])
    await bot.patch(CHANNEL, message, content="two", components=[])
    await bot.request("DELETE", f"/channels/{CHANNEL}/messages/{message}")
    found = await sim.message(message)
    assert [v["content"] for v in found["versions"]] == ["one", "two"]
    assert [len(v["components"]) for v in found["versions"]] == [1, 0]
    times = [found["at"], *(v["at"] for v in found["versions"])]
    assert found["edited"] == times[-1]
    assert times[1] < times[2] < found["deleted"]


async def test_typing_is_recorded(bot: RawBot, sim: LocalDiscord) -> None:
    """The record has channel, user and time."""
    await bot.request("POST", f"/channels/{CHANNEL}/typing")
    typing = (await sim.state())["typing"]
    assert [(t["channel"], t["user"]) for t in typing] == [(CHANNEL, c.BOT)]
