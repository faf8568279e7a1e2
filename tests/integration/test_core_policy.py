"""Rules in requests, and the commands about them, with the core on a real database."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bot.config.settings import Settings
from bot.context.context_ports import TurnOptions
from bot.context.report import WindowReporter
from bot.domain.conversations import Author, Effort, Role
from bot.domain.inbox import Command, Receipt
from bot.domain.policy import (
    Budget,
    BudgetScope,
    Controllers,
    Limits,
    OverrideName,
    Period,
    PersonKind,
    PersonRef,
    PlaceLevel,
    PlaceRef,
    PolicyConfig,
    PolicyValues,
    Redaction,
    Rule,
)
from bot.domain.tokens import message_tokens
from bot.policy.rules import PolicyRules
from bot.resources import open_resources
from tests.support.catalog import FixedCatalog
from tests.support.content_kit import context_of
from tests.support.core_kit import CLOCK, World, world_at
from tests.support.policy_kit import FixedDirectory
from tests.support.store_kit import ANN, BEN, key, look, said

HERE = PlaceRef(PlaceLevel.CHANNEL, "sim", "w1", "ops", is_name=True)
TEMPLATE = """\
{{#message role="system"}}You are terse.{{/message}}
{{#message role="user"}}Is it up?{{/message}}
{{#message role="assistant"}}Yes.{{/message}}
"""
ADMINS = PolicyValues(admins=(PersonRef(PersonKind.USER, ANN.id, text="user:U1"),))


def rules_with(values: PolicyValues, *more: Rule, default: PolicyValues = ADMINS) -> PolicyRules:
    """The rules of a channel called #ops."""
    rule = Rule((HERE,), values, "line 12", "ops")
    policy, directory = PolicyRules(PolicyConfig(default, (rule, *more))), FixedDirectory()
    directory.channels = {"c1": "ops"}
    directory.add(ANN.id, "oncall")
    policy.connect(lambda _platform: directory)
    return policy


async def test_requests_follow_the_rules_of_their_place(tmp_path: Path) -> None:
    """The model, the prompt with its opening, the temperature and the effort, and the same in the
    report."""
    values = PolicyValues(model="other", prompt=TEMPLATE, temperature=0.5, effort=Effort.HIGH)
    policy = rules_with(values)
    async with world_at(tmp_path / "threadline.db", policy=policy) as world:
        await world.ask(1, "why?")
        await world.ask(2, "and there?", where=key("t2", "c2"))
        [request], [elsewhere] = world.other.requests, world.model.requests
        assert (request.temperature, request.effort) == (0.5, Effort.HIGH)
        assert (elsewhere.temperature, elsewhere.effort) == (None, None)
        system, *messages = request.messages
        assert system.content.startswith("You are terse.\n\nToday is ")
        assert [(message.role, message.content) for message in messages] == [
            (Role.USER, "Is it up?"),
            (Role.ASSISTANT, "Yes."),
            (Role.USER, "Ann: why?"),
        ]
        assert elsewhere.messages[0].content.startswith("Be brief.")

        await world.command("effort", "low")
        await world.ask(3, "again?")
        assert world.other.requests[-1].effort is Effort.LOW
        report = await reporter_of(world, policy).report(key())
        assert report is not None and report.model == "other"
        sent = sum(map(message_tokens, world.other.requests[-1].messages))
        answered = message_tokens(world.other.requests[-1].messages[4])
        total = sum(part.tokens for part in report.parts)
        assert total == pytest.approx(sent + answered, abs=5)


def reporter_of(world: World, policy: PolicyRules) -> WindowReporter:
    options = TurnOptions(system_prompt="Be brief.", context_tokens=4_000)
    return WindowReporter(
        ports=context_of(world.store, CLOCK, options, policy=policy),
        models=FixedCatalog(world.model, {"other": world.other}),
        attachments=world.store.attachments(),
    )


async def why(world: World) -> str:
    return (await world.command("why")).text


async def test_a_persons_choice_overrides_the_rules(tmp_path: Path) -> None:
    """/model takes precedence, and `default` means the model set for the place."""
    policy = rules_with(PolicyValues(model="scripted", effort=Effort.HIGH))
    async with world_at(tmp_path / "threadline.db", policy=policy) as world:
        await world.ask(1)
        assert (await world.command("model")).text.startswith("This conversation uses `scripted`.")
        assert "high effort" in (await world.command("effort")).text
        await world.command("model", "other")
        assert "- Model: `other`, because this conversation chose it" in await why(world)
        assert "the default model, `scripted`" in (await world.command("model", "default")).text
        expected = "- Model: `scripted`, because channel #ops says so (rule in line 12)"
        assert expected in await why(world)


async def test_why_and_whoami_name_every_source(tmp_path: Path) -> None:
    oncall = (PersonRef(PersonKind.NAME, "oncall", text="@oncall"),)
    budget = Budget(
        name="b",
        scope=BudgetScope.PERSON,
        period=Period.DAY,
        amount=Decimal(2),
        who=oncall,
        then="other",
    )
    values = PolicyValues(
        model="gone",
        prompt="Be kind.",
        allow=oncall,
        controls=Controllers.ADMINS,
        limits=Limits(questions_per_minute=6, channel_concurrent=8),
        budgets=(budget,),
        retention_days=30,
        redact=frozenset({Redaction.KEYS, Redaction.EMAIL}),
    )
    workspace = Rule(
        (PlaceRef(PlaceLevel.WORKSPACE, "sim", "w1"),),
        PolicyValues(block=(PersonRef(PersonKind.GUESTS, text="guests"),)),
        "line 3",
    )
    async with world_at(tmp_path / "t.db", policy=rules_with(values, workspace)) as world:
        here = "because channel #ops says so (rule in line 12)"
        assert (await why(world)).splitlines() == [
            "- Model: `scripted`, although channel #ops (rule in line 12) says `gone`, which is "
            "not configured",
            f"- Prompt: 8 characters, {here}",
            "- Questions: messages that mention me, and all in a thread that I answer in, "
            "the default",
            f"- Who may ask: `@oncall`, {here}",
            "- Who may not ask: `guests`, because this workspace says so (rule in line 3)",
            f"- Buttons: administrators, {here}",
            f"- Limits: 6 questions a minute per person, 8 at a time in the channel, {here}",
            f"- Budget: $2.00 a day per person for `@oncall`, then `other` answers, {here}",
            f"- Kept: 30 days, {here}",
            f"- Hidden from models: keys, email, {here}",
            "- Profile: `ops`",
        ]
        assert await ask(world, "whoami") == (
            "You are `Ann` (id `U1`), a member of this workspace.\n"
            "Rules here mean you by `@oncall`, `user:U1`.\n"
            "You administer me here.\n"
            "You may ask me here."
        )
        assert (await ask(world, "whoami", author=BEN)).endswith(
            "You are not one of my administrators here.\n"
            "You may not ask me: only some people may ask here (channel #ops, rule in line 12)."
        )


async def ask(world: World, name: str, argument: str = "", author: Author = ANN) -> str:
    """The reply to a command in the thread."""
    command = Command(name=name, argument=argument, key=key(), author=author)
    return (await world.inbox.command(command)).text


def audited(path: Path) -> list[tuple[str, str, str, dict[str, str | None]]]:
    rows = look(path, "SELECT action, channel, actor, details FROM audit ORDER BY id")
    return [(action, where, who, json.loads(details)) for action, where, who, details in rows]


async def test_administrators_set_values_of_their_channel(tmp_path: Path) -> None:
    """Each value is stored with an audit entry, applies to the next answer, and survives a
    restart."""
    path, policy = tmp_path / "threadline.db", rules_with(PolicyValues(model="other", prompt="A."))
    async with world_at(path, policy=policy) as world:
        for argument, reply in (
            ("model scripted", "this channel's setting `model` is `scripted`"),
            ("prompt Be\nkind.", "`prompt` is a text of 8 characters"),
            ("answers MENTION", "`answers` is `mention`"),
            ("controls admins", "`controls` is `admins`"),
            ("effort low", "`effort` is `low`"),
            ("controls default", "this channel's setting `controls` comes from threadline.toml"),
        ):
            assert reply in await ask(world, "channel", argument)
        await world.ask(1)
        [request] = world.model.requests
        assert request.messages[0].content.startswith("Be\nkind.")
        assert request.effort is Effort.LOW
        assert "- Model: `scripted`, because channel #ops says so (set by Ann)" in await why(world)
        assert "- model: `scripted`, set by `Ann`" in await ask(world, "channel")
    assert audited(path)[0] == (
        "policy.set",
        "c1",
        "U1",
        {"name": "model", "before": None, "after": "scripted"},
    )
    assert audited(path)[-1][3] == {"name": "controls", "before": "admins", "after": None}

    policy = rules_with(PolicyValues(model="other"))
    async with world_at(path, policy=policy) as world:
        policy.set_overrides(await world.store.policies().list_overrides())
        await world.ask(2)
        assert len(world.model.requests) == 1 and not world.other.requests


async def test_a_start_reads_what_administrators_set(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'threadline.db'}")
    async with open_resources(settings, CLOCK) as resources:
        name, policies = OverrideName.MODEL, resources.store.policies()
        await policies.set_override(key(thread=""), name, "other", by=ANN)
    async with open_resources(settings, CLOCK) as resources:
        policy = await resources.policy.effective(key())
        assert (policy.model.value, policy.model.source) == ("other", "this channel (set by Ann)")
        assert resources.policy.assigned(key()) == "other"


async def test_a_refused_command_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with world_at(path, policy=rules_with(PolicyValues())) as world:
        for author, argument, reply in (
            (BEN, "model other", "Only administrators of this workspace"),
            (BEN, "", "Only administrators of this workspace"),
            (ANN, "", "Nothing is set by command for this channel."),
            (ANN, "modle other", "Nothing is set by command for this channel."),
            (ANN, "model ohter", "`ohter` is no model that this channel can have. Possible are"),
            (ANN, "answers never", "`mention`, `thread`, `always` or `default`"),
            (ANN, "prompt <message role='system'>Hi", "cannot be used: line 1, column 1"),
            (
                ANN,
                f"prompt {'x' * 8_001}",
                "it has 8,001 characters, but at most 8,000 are allowed",
            ),
        ):
            assert reply in await ask(world, "channel", argument, author), argument
    assert audited(path) == [] and look(path, "SELECT * FROM policy_overrides") == []


async def test_a_repeated_command_is_executed_once(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with world_at(path, policy=rules_with(PolicyValues())) as world:
        incoming = said(1, "/channel model other")
        assert await world.inbox.receive(incoming) is Receipt.COMMAND
        assert await world.inbox.receive(incoming) is Receipt.KNOWN
        await world.inbox.aclose()
        assert len(world.adapter.said) == 1
    assert len(audited(path)) == 1
