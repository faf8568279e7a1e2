"""Profiles and rules in `threadline.toml`: what they mean, and a sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.config.loader import load
from bot.config.models import examine
from bot.config.policy_references import parse_person, parse_place
from bot.config.policy_report import describe_policy
from bot.config.policy_rules import resolve_policy
from bot.doctor import references
from bot.domain.errors import SettingsError
from bot.domain.policy import PersonKind, PlaceLevel
from bot.domain.prompts import read_prompt
from tests.support.policy_kit import policy_of


def problems_of(folder: Path, toml: str) -> list[str]:
    """The sentences about a wrong file, without its path."""
    with pytest.raises(SettingsError) as caught:
        policy_of(folder, toml)
    path = str(folder / "threadline.toml")
    assert {setting for setting, _ in caught.value.problems} == {path}
    return [sentence for _, sentence in caught.value.problems]


# ── references ────────────────────────────────────────────────────────────────────────────────
def test_places() -> None:
    for text, level, value, is_name in (
        ("slack", PlaceLevel.PLATFORM, "", False),
        ("slack:T1", PlaceLevel.WORKSPACE, "", False),
        ("discord:12/category:34", PlaceLevel.CATEGORY, "34", False),
        ("discord:12/category:Our Team", PlaceLevel.CATEGORY, "our team", True),
        ("slack:T1/#Ops", PlaceLevel.CHANNEL, "ops", True),
        ("discord:12/34", PlaceLevel.CHANNEL, "34", False),
        ("discord:@me", PlaceLevel.WORKSPACE, "", False),
        ("discord:12/34/56", PlaceLevel.THREAD, "34/56", False),
        ("slack:T1/C2/1700.5", PlaceLevel.THREAD, "C2/1700.5", False),
        ("web:ann", PlaceLevel.WORKSPACE, "", False),
    ):
        place = parse_place(text)
        assert (place.level, place.value, place.is_name) == (level, value, is_name), text
        assert place.text == text and text.startswith(place.platform)
    for text in (
        "",
        "teams",
        "#ops",
        "slack:",
        "slack/#ops",
        "slack:T1/ops",
        "slack:T1/",
        "slack:T1/#",
    ):
        with pytest.raises(ValueError, match=r"is not a place.*: write slack:T0123ABCD/#ops"):
            parse_place(text)
    with pytest.raises(ValueError, match="only Discord has categories"):
        parse_place("slack:T1/category:Ops")


def test_people() -> None:
    for text, kind, value, platform, workspace in (
        ("@OnCall", PersonKind.NAME, "oncall", "", ""),
        ("role:456", PersonKind.GROUP, "456", "", ""),
        ("group:S1", PersonKind.GROUP, "S1", "", ""),
        ("user:U1", PersonKind.USER, "U1", "", ""),
        ("channel:#Ops", PersonKind.CHANNEL, "#ops", "", ""),
        ("channel:C1", PersonKind.CHANNEL, "C1", "", ""),
        ("guests", PersonKind.GUESTS, "", "", ""),
        ("workspace-admins", PersonKind.WORKSPACE_ADMINS, "", "", ""),
        ("slack:T1/@oncall", PersonKind.NAME, "oncall", "slack", "T1"),
        ("discord/everyone", PersonKind.EVERYONE, "", "discord", ""),
        ("slack:T1:U1", PersonKind.USER, "U1", "slack", "T1"),
        ("discord:123", PersonKind.USER, "123", "discord", ""),
        ("web:ann", PersonKind.USER, "ann", "web", ""),
    ):
        person = parse_person(text)
        found = (person.kind, person.value, person.platform, person.workspace)
        assert found == (kind, value, platform, workspace) and person.text == text
    for text in (
        "",
        "@",
        "@everyone",
        "oncall",
        "role:x y",
        "slack:T1",
        "slack:1/@a",
        "channel:ops",
    ):
        with pytest.raises(ValueError, match=r"does not name people.*: write @oncall, "):
            parse_person(text)


# ── mistakes ──────────────────────────────────────────────────────────────────────────────────
def test_mistakes_have_lines_and_advice(tmp_path: Path) -> None:
    rule = "[[rules]]\nwhere = 'web'\n"
    for toml, expected in (
        ("anwers = 'always'", "line 1: anwers is not a setting: did you mean answers?"),
        ("temperature = 1", "line 1: temperature is not a setting: TEMPERATURE belongs in .env"),
        (f"{rule}modle = 'echo'", "line 3: rules[1].modle is not a setting: did you mean model?"),
        (f"{rule}users = []", "line 3: rules[1].users is not a setting: did you mean allow?"),
        (
            f"{rule}answers = 'never'",
            "line 3: rules[1].answers is \"never\", but must be 'mention', 'thread' or 'always'",
        ),
        (f"{rule}limits = {{ concurent = 1 }}", "did you mean concurrent?"),
        (f"{rule}limits = {{ concurrent = 0 }}", "is 0, but must be 1 or more"),
        ("[[rules]]\nmodel = 'echo'", "line 1: rules[1].where is missing"),
        ("[[rules]]\nwhere = []\nmodel = 'echo'", "line 2: rules[1].where"),
        (rule, "line 1: the rule says nothing"),
        (f"{rule}profile = 'op'\n[profiles.ops]", "there is no [profiles.op]: did you mean ops?"),
        (
            f"{rule}profile = 'x'",
            "line 3: rules[1].profile: there is no [profiles.x]: there is none",
        ),
        (f"{rule}model = 'gpt'", "'gpt' is not a model: write PROVIDER/MODEL"),
        (
            f"{rule}budgets = [{{ period = 'day' }}]",
            "a budget needs exactly one of amount, dollars and tokens",
        ),
        (f"{rule}budgets = [{{ period = 'week', tokens = 1 }}]", "must be 'day' or 'month'"),
        (
            f"{rule}budgets = [{{ period = 'day', tokens = 1 }}, {{ period = 'day', tokens = 2 }}]",
            "another budget is called 'web person day tokens', too: give each a name",
        ),
        (
            "[[rules]]\nwhere = 'slack:T1/#ops'\nadmins = 'user:1'",
            "line 3: rules[1].admins: administrators belong to a workspace",
        ),
        ("[profiles.ops]\nadmins = 'user:1'", "administrators belong to a workspace"),
        (f"{rule}prompt = 'missing.md'", "missing.md: there is no such file"),
        (f"{rule}prompt = 'empty.md'", "empty.md: the file is empty"),
        (f"{rule}prompt = '.'", "this is a folder, not a file"),
        (f"{rule}prompt = 'large.md'", "large.md: the file has more than 100,000 characters"),
        (f"{rule}prompt = 'latin.md'", "latin.md: line 1 is not in UTF-8"),
        (f"{rule}prompt = 'wrong.md'", "wrong.md: line 1, column 1: this message is never closed"),
    ):
        (tmp_path / "empty.md").write_text(" \n")
        (tmp_path / "large.md").write_text("x" * 100_001)
        (tmp_path / "latin.md").write_bytes("Grüße".encode("latin-1"))
        (tmp_path / "wrong.md").write_text('<message role="system">Hi')
        assert any(expected in problem for problem in problems_of(tmp_path, toml)), toml


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    """Each is reported with its rule's line, even after another wrong rule."""
    toml = """
        [[rules]]
        where = "nowhere"
        [[rules]]
        where = "web"
        profile = "gone"
    """
    first, second = problems_of(tmp_path, toml)
    assert first.startswith("line 3: rules[1].where[1]: 'nowhere' is not a place")
    assert second.startswith("line 6: rules[2].profile: there is no [profiles.gone]")


def test_an_unknown_provider_of_a_profile_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "threadline.toml").write_text("[profiles.a]\nmodel = ['echo', 'opnai/x']")
    _, problems = examine(load({}, tmp_path / ".env"))
    assert "line 2: profiles.a.model: 'opnai/x' has an unknown provider" in problems[0][1]


# ── meaning ───────────────────────────────────────────────────────────────────────────────────
def test_a_rule_completes_and_replaces_its_profile(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("\ufeffBe kind.\n", "utf-8")
    toml = """
        [profiles.p]
        model = ["echo", "ollama/x"]
        prompt = "p.md"
        block = "guests"
        temperature = 0.1
        [[rules]]
        where = ["web", "web"]
        profile = "p"
        temperature = 0.2
        block = "@a"
        redact = ["email"]
    """
    [rule] = policy_of(tmp_path, toml).rules
    values = rule.values
    assert (values.model, values.prompt, values.temperature) == ("echo,ollama/x", "Be kind.", 0.2)
    assert [ref.text for ref in values.block] == ["@a", "guests"]
    assert values.redact == {"keys", "email"} and (rule.source, rule.profile) == ("line 7", "p")
    assert [place.text for place in rule.where] == ["web"]


def test_the_environment_counts_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("From the file.")
    toml = "prompt = 'p.md'\nadmins = 'user:1'"
    default = policy_of(tmp_path, toml).default
    assert default.prompt == "From the file."
    default = policy_of(tmp_path, toml, {"SYSTEM_PROMPT": "x", "ADMINS": "web:ann"}).default
    assert default.prompt is None and [ref.value for ref in default.admins] == ["1", "ann"]
    (tmp_path / "threadline.toml").unlink()
    assert resolve_policy(load({}, tmp_path / ".env")).is_empty


def test_prompts_that_are_templates() -> None:
    both = (
        '<message role="system">Be brief.</message><message role="user">Hi</message>'
        '<message role="user">{user}</message>'
    )
    prompt = read_prompt(both)
    assert prompt.system == "Be brief." and [each.content for each in prompt.opening] == ["Hi"]
    for text in ("Be brief.", "Write <message> in tags.", ""):
        assert read_prompt(text).system == text and not read_prompt(text).opening


def test_the_report_lists_rules_and_those_that_never_apply(tmp_path: Path) -> None:
    toml = """
        answers = "mention"
        [profiles.p]
        model = "echo"
        [[rules]]
        where = ["web", "slack:T1"]
        profile = "p"
        [[rules]]
        where = "discord:2"
        allow = "@a"
        [[rules]]
        where = "web"
        model = "echo"
        feedback = false
        instructions = false
        share = true
        [[rules]]
        where = "web"
        block = "@a"
    """
    environ = {"DISCORD_TOKEN": "x" * 20, "DISCORD_GUILDS": "1", "HTTP_PORT": "0", "LLM": "echo"}
    config = policy_of(tmp_path, toml, environ)
    assert list(describe_policy(load(environ, tmp_path / ".env"), config)) == [
        "everywhere: answers mention",
        "profile p: model echo",
        "rule in line 5: web, slack:T1: profile p",
        "rule in line 8: discord:2: allow @a",
        "rule in line 11: web: model echo, feedback off, instructions off, share on",
        "rule in line 17: web: block @a",
        "warning: line 5: part of it can never apply, because the bot is not in slack:T1 "
        "(SLACK_BOT_TOKEN: not set)",
        "warning: line 5: the rule can never apply, because a later one wins: line 11",
        "warning: line 8: the rule can never apply, because the bot is not in discord:2",
    ]


def test_doctor_asks_about_the_references_of_a_platform(tmp_path: Path) -> None:
    toml = """
        block = "@everywhere"
        admins = "discord:7"
        [[rules]]
        where = ["slack:T1/#ops", "discord:1"]
        allow = ["@a", "discord/@b"]
        [[rules]]
        where = "discord:1/5"
        allow = "@c"
    """
    config = policy_of(tmp_path, toml)
    found = [(ref.text, ref.workspace) for ref in references(config, "slack")]
    assert found == [("@everywhere", ""), ("slack:T1/#ops", "T1"), ("@a", "T1")]
    assert [ref.text for ref in references(config, "discord")] == [
        "@everywhere",
        "discord:7",
        "discord:1",
        "@a",
        "discord/@b",
        "discord:1/5",
        "@c",
    ]
