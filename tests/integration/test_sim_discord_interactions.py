"""The simulated Discord's commands, clicks and forms, with their time limits and order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sims.discord import ALICE, APPLICATION, BOB, CHANNEL, GUILD
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import ApiResponse, RawBot, RawGateway

RESET = {"name": "reset", "description": "Start over"}
MODEL = {
    "name": "model",
    "description": "Choose a model",
    "options": [
        {
            "type": 3,
            "name": "name",
            "description": "Which",
            "required": True,
            "choices": [{"name": "Small", "value": "small"}],
        }
    ],
}
DM_ONLY = {"name": "private", "description": "Only in private", "contexts": [1]}
GROUP = {
    "name": "admin",
    "description": "For admins",
    "options": [
        {
            "type": 1,
            "name": "ban",
            "description": "Ban",
            "options": [{"type": 6, "name": "user", "description": "Whom"}],
        }
    ],
}
FIND = {
    "name": "find",
    "description": "Find a model",
    "options": [
        {"type": 3, "name": "name", "description": "Which", "autocomplete": True},
        {"type": 4, "name": "count", "description": "How many"},
    ],
}
MENU = {"name": "Ask about this", "type": 3}
COMMANDS = f"/applications/{APPLICATION}/commands"
BUTTONS = [
    {
        "type": 1,
        "components": [
            {"type": 2, "style": 2, "label": "Stop", "custom_id": "stop"},
            {"type": 2, "style": 2, "label": "No", "custom_id": "no", "disabled": True},
        ],
    }
]


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """The simulator without rate limits: these tests are about single requests."""
    async with LocalDiscord() as running:
        await running.set_limits(on=False)
        yield running


@pytest.fixture
async def bot(sim: LocalDiscord) -> AsyncIterator[RawBot]:
    async with RawBot(sim) as raw:
        await raw.request("PUT", COMMANDS, [RESET, MODEL, FIND, DM_ONLY, GROUP, MENU])
        yield raw


@pytest.fixture
async def gateway(bot: RawBot) -> RawGateway:
    return await bot.connect_and_identify()


async def respond(bot: RawBot, event: dict[str, Any], type: int, **data: Any) -> ApiResponse:
    path = f"/interactions/{event['id']}/{event['token']}/callback"
    return await bot.request("POST", path, {"type": type, "data": data}, auth="")


async def original(
    bot: RawBot, event: dict[str, Any], method: str, data: Any = None, which: str = "@original"
) -> ApiResponse:
    path = f"/webhooks/{APPLICATION}/{event['token']}/messages/{which}"
    return await bot.request(method, path, data, auth="")


async def followup(bot: RawBot, event: dict[str, Any], **fields: Any) -> ApiResponse:
    path = f"/webhooks/{APPLICATION}/{event['token']}"
    return await bot.request("POST", path, fields, auth="", wait="1")


# ── registering ───────────────────────────────────────────────────────────────────────────────
async def test_a_bulk_overwrite_replaces_all(bot: RawBot, sim: LocalDiscord) -> None:
    """A command with an existing name keeps its id; each guild has a separate list."""
    before = {x["name"]: x["id"] for x in (await bot.request("GET", COMMANDS)).body}
    after = (await bot.request("PUT", COMMANDS, [RESET])).body
    assert [(x["name"], x["id"]) for x in after] == [("reset", before["reset"])]
    guild = f"/applications/{APPLICATION}/guilds/{GUILD}/commands"
    assert (await bot.request("PUT", guild, [MODEL])).body[0]["guild_id"] == str(GUILD)
    assert [x["name"] for x in (await bot.request("GET", COMMANDS)).body] == ["reset"]
    state = await sim.state()
    assert [x["name"] for x in state["commands"][str(GUILD)]] == ["model"]


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (RESET | {"name": "Reset"}, ["0.name"]),
        (RESET | {"name": "re set"}, ["0.name"]),
        (RESET | {"name": "x" * 33}, ["0.name"]),
        (RESET | {"description": ""}, ["0.description"]),
        (RESET | {"description": "x" * 101}, ["0.description"]),
        (RESET | {"type": 9}, ["0.type"]),
        (RESET | {"contexts": [7]}, ["0.contexts"]),
        (MENU | {"description": "no"}, ["0.description"]),
        (
            RESET | {"options": [{"type": 99, "name": "a", "description": "b"}]},
            ["0.options.0.type"],
        ),
        (
            RESET
            | {
                "options": [
                    {"type": 3, "name": "a", "description": "b"},
                    {"type": 3, "name": "c", "description": "d", "required": True},
                ]
            },
            ["0.options.1"],
        ),
    ],
)
async def test_an_invalid_command_is_refused(
    bot: RawBot, command: dict[str, Any], wrong: list[str]
) -> None:
    """The error has the field's path; the registered commands stay unchanged."""
    answer = await bot.request("PUT", COMMANDS, [command])
    assert (answer.code, answer.wrong) == (50035, wrong)
    assert len((await bot.request("GET", COMMANDS)).body) == 6


async def test_commands_have_one_name_each_and_their_own_application(bot: RawBot) -> None:
    """Duplicates are 50035, more than 100 are 30032, another application is 20012."""
    assert (await bot.request("PUT", COMMANDS, [RESET, RESET])).wrong == ["1.name"]
    many = [RESET | {"name": f"reset{n}"} for n in range(101)]
    assert (await bot.request("PUT", COMMANDS, many)).code == 30032
    assert (await bot.request("PUT", "/applications/1/commands", [RESET])).code == 20012


# ── running ───────────────────────────────────────────────────────────────────────────────────
async def test_a_command_arrives_with_its_options(gateway: RawGateway, sim: LocalDiscord) -> None:
    """In a guild it names the member, in a DM the user; subcommands are nested."""
    await sim.slash(ALICE, CHANNEL, "model", {"name": "small"})
    event = await gateway.until("INTERACTION_CREATE")
    assert event["data"]["options"] == [{"name": "name", "type": 3, "value": "small"}]
    assert event["member"]["user"]["id"] == str(ALICE)
    assert (event["context"], event["channel"]["id"]) == (0, str(CHANNEL))
    assert event["attachment_size_limit"] == c.MAX_FILE
    await sim.slash(ALICE, CHANNEL, "admin ban", {"user": str(BOB)})
    event = await gateway.until("INTERACTION_CREATE")
    assert event["data"]["options"][0]["name"] == "ban"
    assert event["data"]["options"][0]["options"][0]["value"] == str(BOB)
    direct = await sim.dm(ALICE, "hello")
    await sim.slash(ALICE, direct["channel"], "private")
    event = await gateway.until("INTERACTION_CREATE")
    assert (event["user"]["id"], event["context"]) == (str(ALICE), 1)
    assert "guild_id" not in event


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("unknown", {}, "no command"),
        ("private", {}, "no command"),
        ("model", {}, "required"),
        ("model", {"name": "huge"}, "choices"),
        ("model", {"name": "small", "more": 1}, "no options"),
        ("admin", {}, "subcommand"),
        ("admin kick", {}, "subcommand"),
    ],
)
async def test_people_can_run_only_registered_commands(
    bot: RawBot, sim: LocalDiscord, name: str, options: dict[str, Any], why: str
) -> None:
    """Discord's client offers only those; the control names the reason for a refusal."""
    with pytest.raises(AssertionError, match=why):
        await sim.slash(ALICE, CHANNEL, name, options)


async def test_context_menus_carry_their_target(gateway: RawGateway, sim: LocalDiscord) -> None:
    """The whole message, resolved."""
    message = await sim.say(content="about this")
    await sim.context_menu(BOB, "Ask about this", message=message)
    data = (await gateway.until("INTERACTION_CREATE"))["data"]
    assert data["target_id"] == str(message)
    assert data["resolved"]["messages"][str(message)]["content"] == "about this"


# ── answering ─────────────────────────────────────────────────────────────────────────────────
async def test_a_response_is_a_message(bot: RawBot, gateway: RawGateway, sim: LocalDiscord) -> None:
    """The message has type 20 and needs no permission to send."""
    await sim.set_permissions(CHANNEL, deny=("send_messages",))
    interaction = await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    path = f"/interactions/{event['id']}/{event['token']}/callback?with_response=1"
    answer = await bot.request("POST", path, {"type": 4, "data": {"content": "done"}}, auth="")
    assert answer.body["resource"]["message"]["content"] == "done"
    assert (await gateway.until("MESSAGE_CREATE"))["type"] == 20
    assert (await original(bot, event, "GET")).body["content"] == "done"
    assert (await original(bot, event, "PATCH", {"content": "changed"})).status == 200
    message = answer.body["interaction"]["response_message_id"]
    assert (await bot.patch(CHANNEL, message, content="by the bot")).status == 200
    seen = await sim.interaction(interaction)
    assert [x["type"] for x in seen["answers"]] == [4, "edit"]
    assert (await original(bot, event, "DELETE")).status == 204
    assert (await original(bot, event, "GET")).code == 10008


async def test_the_first_followup_fills_a_deferred_response(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """Until then the response is loading; the next follow-up is another message."""
    await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    assert (await respond(bot, event, 5)).status == 204
    assert (await sim.messages())[0]["flags"] == c.LOADING
    assert (await followup(bot, event, content="first")).status == 200
    second = (await followup(bot, event, content="second")).body["id"]
    shown = await sim.messages()
    assert [(m["content"], m["flags"]) for m in shown] == [("first", 0), ("second", 0)]
    edited = await original(bot, event, "PATCH", {"content": "2nd"}, which=second)
    assert edited.body["content"] == "2nd"
    assert (await followup(bot, event, content="")).code == 50006


async def test_an_ephemeral_response_is_for_one_person(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """It is in no history or event, and only that person can click it."""
    await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    await respond(bot, event, 4, content="only you", flags=c.EPHEMERAL, components=BUTTONS)
    channel = await sim.channel()
    assert channel["messages"] == []
    assert [(m["content"], m["for_user"]) for m in channel["ephemeral"]] == [("only you", ALICE)]
    message = channel["ephemeral"][0]["id"]
    assert (await bot.patch(CHANNEL, message, content="x")).code == 10008
    assert await gateway.events() == []
    with pytest.raises(AssertionError, match="only another user"):
        await sim.click(BOB, message, "stop")
    await sim.click(ALICE, message, "stop")


async def test_the_first_response_is_due_once_within_three_seconds(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """A second response is 40060, a late one 10062, and a follow-up before the first one 10015."""
    await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    assert (await followup(bot, event, content="too early")).code == 10015
    await respond(bot, event, 5)
    assert (await respond(bot, event, 5)).code == 40060
    await sim.set_limits(first_within=1e-9)
    late = await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    answer = await respond(bot, event, 4, content="too late")
    assert (answer.status, answer.code) == (404, 10062)
    assert (await sim.interaction(late))["answered"] is None


async def test_a_token_expires(bot: RawBot, gateway: RawGateway, sim: LocalDiscord) -> None:
    """After fifteen minutes it is 401 with 50027, like any wrong token."""
    await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    await respond(bot, event, 4, content="done")
    assert (await original(bot, event | {"token": "wrong"}, "GET")).code == 50027
    await sim.set_limits(token_lives=1e-9)
    answer = await original(bot, event, "PATCH", {"content": "too late"})
    assert (answer.status, answer.code) == (401, 50027)
    assert (await sim.messages())[0]["content"] == "done"


async def test_responses_are_validated_like_messages(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """Length, emptiness, types; a refused response leaves the interaction open."""
    await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    assert (await respond(bot, event, 4, content="x" * 2001)).wrong == ["content"]
    assert (await respond(bot, event, 4, content="")).code == 50006
    for kind in (6, 7, 8, 99):
        assert (await respond(bot, event, kind)).wrong == ["type"]
    assert (await respond(bot, event, 4, content="<@1> @everyone")).status == 204
    assert (await sim.messages())[0]["pinged"] == ["@everyone"]


async def test_a_locked_thread_takes_no_response(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """403 with 50083."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    await sim.lock(thread)
    await sim.slash(ALICE, thread, "reset")
    answer = await respond(bot, await gateway.until("INTERACTION_CREATE"), 4, content="x")
    assert (answer.status, answer.code) == (403, 50083)


async def test_a_click_carries_its_message(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """The response may update that message or defer the update."""
    message = int((await bot.send(content="running", components=BUTTONS)).body["id"])
    await sim.click(ALICE, message, "stop")
    event = await gateway.until("INTERACTION_CREATE")
    assert event["data"] == {"custom_id": "stop", "component_type": 2}
    assert event["message"]["id"] == str(message)
    assert (await respond(bot, event, 7, content="stopped", components=[])).status == 204
    assert (await sim.message(message))["content"] == "stopped"
    with pytest.raises(AssertionError, match="no component"):
        await sim.click(ALICE, message, "stop")


async def test_a_disabled_button_cannot_be_pressed(bot: RawBot, sim: LocalDiscord) -> None:
    """A missing button, or one of a deleted message, cannot be pressed either."""
    message = int((await bot.send(content="x", components=BUTTONS)).body["id"])
    with pytest.raises(AssertionError, match="disabled"):
        await sim.click(ALICE, message, "no")
    await sim.delete(message)
    with pytest.raises(AssertionError, match="deleted"):
        await sim.click(ALICE, message, "stop")


async def test_a_form_is_requested_and_submitted(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """The submission is another interaction."""
    asked = await sim.slash(ALICE, CHANNEL, "reset")
    event = await gateway.until("INTERACTION_CREATE")
    with pytest.raises(AssertionError, match="not answered with a form"):
        await sim.submit(asked, {})
    field = {"type": 4, "custom_id": "why", "label": "Why", "style": 1}
    rows = [{"type": 1, "components": [field]}]
    await respond(bot, event, 9, custom_id="form", title="Why?", components=rows)
    await sim.submit(asked, {"why": "because"})
    event = await gateway.until("INTERACTION_CREATE")
    assert (event["type"], event["data"]["custom_id"]) == (5, "form")
    assert event["data"]["components"][0]["components"][0]["value"] == "because"
    assert (await respond(bot, event, 4, content="thanks")).status == 204


# ── autocomplete ──────────────────────────────────────────────────────────────────────────────
async def test_typing_into_an_option_gives_choices(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    """The only response is one list of choices, which the record shows; no follow-up is
    possible."""
    interaction = await sim.autocomplete(ALICE, CHANNEL, "find", "name", "sm")
    event = await gateway.until("INTERACTION_CREATE")
    assert event["type"] == 4
    typed = {"name": "name", "type": 3, "value": "sm", "focused": True}
    assert event["data"]["options"] == [typed]
    assert (await respond(bot, event, 4, content="x")).wrong == ["type"]
    choices = [{"name": "Small", "value": "small"}]
    assert (await respond(bot, event, 8, choices=choices)).status == 204
    assert (await sim.interaction(interaction))["answers"][0]["data"]["choices"] == choices
    assert (await respond(bot, event, 8, choices=choices)).code == 40060
    assert (await followup(bot, event, content="x")).code == 10015


@pytest.mark.parametrize(
    ("choices", "wrong"),
    [
        ([{"name": str(n), "value": str(n)} for n in range(26)], ["data.choices"]),
        (None, ["data.choices"]),
        ([{"name": "x" * 101, "value": "x"}], ["data.choices.0.name"]),
        ([{"name": " ", "value": "x"}], ["data.choices.0.name"]),
        ([{"value": "x"}], ["data.choices.0.name"]),
        ([{"name": "x", "value": "x" * 101}], ["data.choices.0.value"]),
        ([{"name": "x", "value": ""}], ["data.choices.0.value"]),
        ([{"name": "x", "value": 7}], ["data.choices.0.value"]),
        ([{"name": "x"}], ["data.choices.0.value"]),
    ],
)
async def test_invalid_choices_are_refused(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord, choices: Any, wrong: list[str]
) -> None:
    """Their number, and the length and type of names and values."""
    await sim.autocomplete(ALICE, CHANNEL, "find", "name", "", {"count": 3})
    event = await gateway.until("INTERACTION_CREATE")
    assert [each.get("focused") for each in event["data"]["options"]] == [None, True]
    assert (await respond(bot, event, 8, choices=choices)).wrong == wrong
    assert (await respond(bot, event, 8, choices=[])).status == 204


async def test_choices_that_come_late_are_refused(
    bot: RawBot, gateway: RawGateway, sim: LocalDiscord
) -> None:
    await sim.set_limits(first_within=0.01)
    await sim.autocomplete(ALICE, CHANNEL, "find", "name", "x")
    event = await gateway.until("INTERACTION_CREATE")
    await asyncio.sleep(0.02)
    assert (await respond(bot, event, 8, choices=[])).code == 10062


async def test_only_options_with_autocomplete_are_completed(bot: RawBot, sim: LocalDiscord) -> None:
    """The value finally sent may be anything that the person typed, unlike the value of a
    choice."""
    with pytest.raises(AssertionError, match="no autocomplete"):
        await sim.autocomplete(ALICE, CHANNEL, "model", "name", "sm")
    await sim.slash(ALICE, CHANNEL, "find", {"name": "something else"})
    with pytest.raises(AssertionError, match="at most 6000"):
        await sim.slash(ALICE, CHANNEL, "find", {"name": "x" * 6_001})


@pytest.mark.parametrize(
    "option", [{"type": 5}, {"choices": [{"name": "Small", "value": "small"}]}]
)
async def test_autocomplete_is_for_texts_and_numbers_without_choices(
    bot: RawBot, option: dict[str, Any]
) -> None:
    options = [{"type": 3, "name": "a", "description": "b", "autocomplete": True} | option]
    refused = await bot.request("PUT", COMMANDS, [RESET | {"options": options}])
    assert refused.wrong == ["0.options.0"]
