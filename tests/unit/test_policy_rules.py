"""Who may ask and control, by the platform's facts; an unknown fact lets no one in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import Access, AnswerMode, Override, OverrideName, PersonFacts, Standing
from bot.policy import rules as rules_module
from bot.policy.rules import PolicyRules
from tests.support.policy_kit import FixedDirectory, policy_of, rules_of

OPS = ConversationKey("slack", "T1", "C1", "1")
HR = ConversationKey("slack", "T1", "C2", "1")
DISCORD = ConversationKey("discord", "1", "5", "6")


@pytest.fixture
def directory() -> FixedDirectory:
    directory = FixedDirectory()
    directory.channels = {"C1": "ops", "C2": "hr"}
    directory.add("oncall", "oncall")
    directory.add("intern", "interns", groups=["S7"])
    directory.add("guest", standing=Standing.GUEST)
    directory.add("stranger", "oncall", standing=Standing.STRANGER, admin=True)
    directory.add("boss", admin=True)
    return directory


async def who_may_ask(rules: PolicyRules, key: ConversationKey = OPS) -> set[str]:
    """The people who may ask; every other one is refused with a reason."""
    allowed = set()
    for name in ("oncall", "intern", "guest", "stranger", "boss"):
        verdict = await rules.may_ask(key, Author(name, name))
        if verdict.allowed:
            allowed.add(name)
        else:
            assert verdict.access is Access.REFUSED and verdict.reason
    return allowed


async def test_each_kind_of_list(tmp_path: Path, directory: FixedDirectory) -> None:
    directory.readers = {"#ops": {"intern", "stranger"}}
    everyone = {"oncall", "intern", "guest", "stranger", "boss"}
    for lists, expected in (
        ("feedback = true", everyone - {"stranger"}),
        ("allow = []", set()),
        ("allow = '@OnCall'", {"oncall"}),
        ("allow = 'group:S7'", {"intern"}),
        ("allow = ['user:guest', 'slack:T1/user:boss', 'slack:T2/user:oncall']", {"guest", "boss"}),
        ("allow = 'channel:#ops'", {"intern"}),
        ("allow = ['members']", {"oncall", "intern", "boss"}),
        ("allow = ['guests', 'strangers']", {"guest", "stranger"}),
        ("allow = 'workspace-admins'", {"boss"}),
        ("allow = 'everyone'", everyone),
        ("allow = 'everyone'\nblock = ['@interns', 'user:boss']", everyone - {"intern", "boss"}),
        ("block = 'guests'", {"oncall", "intern", "boss"}),
        ("allow = '@gone'", set()),
        ("allow = 'everyone'\nblock = '@gone'", set()),
        ("allow = 'everyone'\nblock = 'discord/@gone'", everyone),
        ("block = 'everyone'", set()),
    ):
        directory.nobody = {"@gone", "discord/@gone"}
        rules = rules_of(tmp_path, f"[[rules]]\nwhere = 'slack:T1/#ops'\n{lists}", directory)
        assert await who_may_ask(rules) == expected, lists
        assert await who_may_ask(rules, HR) == everyone - {"stranger"}, lists


async def test_a_block_at_any_level_wins(tmp_path: Path, directory: FixedDirectory) -> None:
    toml = """
        block = "@interns"
        [[rules]]
        where = "slack:T1"
        block = "guests"
        [[rules]]
        where = "slack:T1/C1"
        allow = "everyone"
    """
    rules = rules_of(tmp_path, toml, directory)
    assert await who_may_ask(rules) == {"oncall", "stranger", "boss"}
    verdict = await rules.may_ask(OPS, Author("guest", ""))
    assert verdict.reason == "you are blocked here (this workspace, rule in line 3)"


async def test_an_empty_policy_refuses_strangers_alone(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """It needs no other fact, and asks no platform that has no strangers."""
    for environ in ({}, {"ADMINS": "slack:T1:U1"}):
        rules = rules_of(tmp_path, "", directory, environ)
        verdict = await rules.may_ask(OPS, Author("stranger", ""))
        assert verdict.access is Access.REFUSED and "other organizations" in verdict.reason
        assert (await rules.may_control(OPS, Author("guest", ""), took_part=False)).allowed
        assert (await rules.effective(OPS)).answers.value is AnswerMode.THREAD
        assert not await rules.is_admin(OPS, Author("guest", "")) and not rules.listens(OPS)
    assert await rules.is_admin(OPS, Author("U1", ""))
    assert set(directory.calls) == {"is_stranger"}
    directory.failing = True
    assert (await rules.may_ask(OPS, Author("guest", ""))).access is Access.UNKNOWN
    directory.has_strangers, directory.calls = False, []
    assert (await rules.may_ask(OPS, Author("stranger", ""))).allowed and not directory.calls


async def test_places_of_ids_and_platforms_without_strangers_need_no_platform(
    tmp_path: Path,
) -> None:
    directory = FixedDirectory(has_strangers=False)
    rules = rules_of(
        tmp_path, "[[rules]]\nwhere = 'discord:1/5'\nmodel = 'echo'\nblock = 'user:1'", directory
    )
    assert (await rules.may_ask(DISCORD, Author("2", ""))).allowed
    assert (await rules.may_ask(DISCORD, Author("1", ""))).access is Access.REFUSED
    assert (await rules.effective(DISCORD)).model.source == "this channel (rule in line 1)"
    assert directory.calls == []


async def test_a_silent_platform_lets_no_one_in(tmp_path: Path, directory: FixedDirectory) -> None:
    """The facts that rules need are then unknown; everything else is decided."""
    toml = """
        [[rules]]
        where = "slack:T1/C1"
        allow = ["@oncall", "user:boss"]
        block = "user:intern"
        [[rules]]
        where = "slack:T2/#ops"
        model = "echo"
    """
    rules = rules_of(tmp_path, toml, directory)
    directory.failing = True
    for name, access in (
        ("oncall", Access.UNKNOWN),
        ("boss", Access.ALLOWED),
        ("intern", Access.REFUSED),
    ):
        assert (await rules.may_ask(OPS, Author(name, ""))).access is access
    named = ConversationKey("slack", "T2", "C1", "")
    assert (await rules.may_ask(named, Author("boss", ""))).access is Access.UNKNOWN
    assert (await rules.effective(named)).model.value is None
    directory.failing = False
    assert (await rules.effective(named)).model.value == "echo"
    directory.failing = True
    assert (await rules.effective(named)).model.value == "echo"  # its last known name


async def test_a_platform_that_never_answers(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> PersonFacts:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(rules_module, "DIRECTORY_SECONDS", 0.01)
    monkeypatch.setattr(directory, "person", hang)
    monkeypatch.setattr(directory, "place", hang)
    rules = rules_of(tmp_path, "allow = '@oncall'\nadmins = '@oncall'", directory)
    author = Author("oncall", "")
    assert (await rules.may_ask(OPS, author)).access is Access.UNKNOWN
    assert (await rules.may_control(OPS, author, took_part=True)).access is Access.UNKNOWN
    assert not await rules.is_admin(OPS, author)
    toml = "admins = 'user:boss'\n[[rules]]\nwhere = 'slack:T1/#ops'\nmodel = 'echo'"
    rules = rules_of(tmp_path, toml, directory)
    for name, access in (("boss", Access.ALLOWED), ("oncall", Access.UNKNOWN)):
        verdict = await rules.may_control(OPS, Author(name, ""), took_part=True)
        assert verdict.access is access
    assert (await rules.effective(OPS)).model.value is None


async def test_a_person_who_left(tmp_path: Path, directory: FixedDirectory) -> None:
    rules = rules_of(tmp_path, "allow = 'members'\nadmins = 'workspace-admins'", directory)
    directory.people["boss"] = None
    verdict = await rules.may_ask(OPS, Author("boss", ""))
    assert verdict.access is Access.REFUSED
    assert not await rules.is_admin(OPS, Author("boss", ""))


async def test_who_controls(tmp_path: Path, directory: FixedDirectory) -> None:
    """Administrators always control; a person who may not ask controls nothing."""
    for controls, took_part, other in (
        ("everyone", True, True),
        ("participants", True, False),
        ("admins", False, False),
    ):
        toml = f"admins = 'workspace-admins'\nblock = 'guests'\ncontrols = '{controls}'"
        rules = rules_of(tmp_path, toml, directory)
        for name, part, allowed in (
            ("oncall", True, took_part),
            ("oncall", False, other),
            ("boss", False, True),
            ("guest", True, False),
            ("stranger", True, False),
        ):
            verdict = await rules.may_control(OPS, Author(name, ""), took_part=part)
            assert verdict.allowed is allowed, (controls, name, part)


async def test_channels_that_listen(tmp_path: Path, directory: FixedDirectory) -> None:
    toml = """
        [[rules]]
        where = ["discord:1/category:7", "discord:1/9"]
        answers = "always"
        [[rules]]
        where = "slack:T1/#ops"
        answers = "always"
    """
    rules = rules_of(tmp_path, toml, directory)
    assert rules.listens(DISCORD, "7") and not rules.listens(DISCORD, "8")
    # Without the platform, a name is unknown, so both channels may listen.
    assert rules.listens(OPS) and rules.listens(HR)
    assert not rules.listens(ConversationKey("slack", "T2", "C1", ""))
    assert (await rules.effective(OPS)).answers.value is AnswerMode.ALWAYS
    assert (await rules.effective(HR)).answers.value is AnswerMode.THREAD
    await rules.reload(policy_of(tmp_path, ""))
    assert not rules.listens(DISCORD, "7") and not rules.listens(OPS)
    channel = ConversationKey("slack", "T1", "C1", "")
    override = Override(channel, OverrideName.ANSWERS, "always", Author("boss", "Bo"), 0.0)
    rules.override(channel, OverrideName.ANSWERS, override)
    assert rules.listens(OPS) and not rules.listens(HR)
    assert (await rules.effective(OPS)).answers.source == "this channel (set by Bo)"
    rules.override(channel, OverrideName.ANSWERS, None)
    assert not rules.listens(OPS)
    assert directory.calls.count("place") == 2
