"""The policy resolver agrees with a naive reference, and stays cheap with many rules."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import (
    AnswerMode,
    Budget,
    BudgetScope,
    Controllers,
    Override,
    OverrideName,
    Period,
    PersonKind,
    PersonRef,
    PlaceFacts,
    PlaceLevel,
    PlaceRef,
    PolicyConfig,
    PolicyValues,
    Rule,
)
from bot.policy.resolver import RuleIndex, override_values, resolve
from bot.policy.rules import PolicyRules
from tests.support.policy_kit import FixedDirectory

ADMIN = Author("U9", "Ada")
GROUPS = [(PersonRef(PersonKind.NAME, name),) for name in ("oncall", "interns")]
BUDGETS = [
    (Budget(name=name, scope=BudgetScope.ALL, period=Period.DAY, tokens=1),) for name in "ab"
]


def maybe(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from((None, *values))


VALUES = st.builds(
    PolicyValues,
    model=maybe("echo", "a/b"),
    prompt=maybe("Be brief.", ""),
    temperature=maybe(0.0, 1.0),
    answers=maybe(*AnswerMode),
    controls=maybe(*Controllers),
    allow=maybe((), *GROUPS),
    block=st.sampled_from(((), *GROUPS)),
    admins=st.sampled_from(((), *GROUPS)),
    budgets=st.sampled_from(((), *BUDGETS)),
    retention_days=maybe(0, 30),
    feedback=maybe(True, False),
    instructions=maybe(True, False),
    share=maybe(True, False),
)
PLACES = st.builds(
    PlaceFacts,
    st.builds(
        ConversationKey,
        st.sampled_from(("slack", "discord")),
        st.sampled_from(("T1", "T2")),
        st.sampled_from(("C1", "C2")),
        st.sampled_from(("1", "2")),
    ),
    channel_name=st.sampled_from(("", "Ops", "ops", "hr")),
    category=st.sampled_from(("", "7")),
    category_name=st.sampled_from(("", "Support")),
)
REFS = st.one_of(
    st.builds(PlaceRef, st.just(PlaceLevel.PLATFORM), st.sampled_from(("slack", "discord"))),
    *(
        st.builds(
            PlaceRef,
            st.just(level),
            st.sampled_from(("slack", "discord")),
            st.sampled_from(("T1", "T2")),
            st.sampled_from(values),
            st.just(is_name),
        )
        for level, values, is_name in (
            (PlaceLevel.WORKSPACE, ("",), False),
            (PlaceLevel.CATEGORY, ("7", "8"), False),
            (PlaceLevel.CATEGORY, ("support",), True),
            (PlaceLevel.CHANNEL, ("C1", "C2"), False),
            (PlaceLevel.CHANNEL, ("ops", "hr"), True),
            (PlaceLevel.THREAD, ("C1/1", "C2/2"), False),
        )
    ),
)
OVERRIDES = st.lists(
    st.sampled_from(
        [
            Override(ConversationKey("slack", "T1", "C1", ""), name, value, ADMIN, 0.0)
            for name, value in (
                (OverrideName.MODEL, "set"),
                (OverrideName.PROMPT, "Set."),
                (OverrideName.ANSWERS, "always"),
                (OverrideName.CONTROLS, "outdated value"),
            )
        ]
    ),
    unique_by=lambda each: each.name,
)
CONFIGS = st.builds(
    PolicyConfig,
    VALUES,
    st.lists(
        st.builds(
            Rule,
            st.lists(REFS, min_size=1, max_size=3).map(tuple),
            VALUES,
            st.uuids().map(str),
            st.sampled_from(("", "ops")),
        ),
        max_size=8,
    ).map(tuple),
)
SINGLE = ("model", "prompt", "temperature", "answers", "controls", "allow", "retention_days")


def is_at(ref: PlaceRef, facts: PlaceFacts) -> bool:
    """Whether a reference names the place, checked rule by rule."""
    key = facts.key
    if ref.platform != key.platform:
        return False
    if ref.level is PlaceLevel.PLATFORM:
        return True
    if ref.workspace != key.workspace:
        return False
    if ref.level is PlaceLevel.WORKSPACE:
        return True
    if ref.level is PlaceLevel.THREAD:
        return ref.value == f"{key.channel}/{key.thread}"
    if ref.level is PlaceLevel.CHANNEL:
        return ref.value == (facts.channel_name.casefold() if ref.is_name else key.channel)
    return ref.value == (facts.category_name.casefold() if ref.is_name else facts.category)


def candidates(
    config: PolicyConfig, facts: PlaceFacts, overrides: list[Override]
) -> list[tuple[tuple[int, int, int], PolicyValues]]:
    """All values set for the place, each with its rank: the level, a command, the order."""
    found: list[tuple[tuple[int, int, int], PolicyValues]] = [((-1, 0, 0), config.default)]
    for order, rule in enumerate(config.rules):
        found += [
            ((level, 0, order), rule.values)
            for level in {int(ref.level) for ref in rule.where if is_at(ref, facts)}
        ]
    found += [((int(PlaceLevel.CHANNEL), 1, 0), override_values(each)) for each in overrides]
    return found


@settings(max_examples=200, deadline=None)
@given(config=CONFIGS, facts=PLACES, overrides=OVERRIDES)
def test_the_most_specific_level_wins_then_commands_then_later_rules(
    config: PolicyConfig, facts: PlaceFacts, overrides: list[Override]
) -> None:
    found = candidates(config, facts, overrides)
    policy = resolve(RuleIndex(config).layers(facts, overrides))
    for name in SINGLE:
        said = [(rank, getattr(values, name)) for rank, values in found]
        said = [(rank, value) for rank, value in said if value is not None]
        if said:
            assert getattr(policy, name).value == max(said, key=lambda each: each[0])[1], name
        else:
            assert getattr(policy, name).source == "the default"
    assert {ref for each in policy.block for ref in each.value} == {
        ref for _, values in found for ref in values.block
    }
    assert set(policy.admins) == {ref for _, values in found for ref in values.admins}
    assert {each.value.name for each in policy.budgets} == {
        budget.name for _, values in found for budget in values.budgets
    }


HERE = ConversationKey("slack", "T1", "C1", "1")
CHANGES = st.lists(
    st.one_of(
        CONFIGS,
        OVERRIDES,
        st.sampled_from(("", "ops", "hr")),
        st.sampled_from((("", ""), ("7", "x"))),
    ),
    min_size=3,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
async def test_a_cached_policy_equals_the_current_one(changes: list[Any]) -> None:
    """Rules, overrides, and the channel's name or category may change between two lookups."""
    rules, directory = PolicyRules(), FixedDirectory()
    rules.connect(lambda _platform: directory)
    config, overrides = PolicyConfig(), list[Override]()
    for change in changes:
        if isinstance(change, PolicyConfig):
            config = change
            await rules.reload(change)
        elif isinstance(change, list):
            overrides = change
            rules.set_overrides(change)
        elif isinstance(change, str):
            directory.channels["C1"] = change
        else:
            directory.categories["C1"] = change
        index = RuleIndex(config)
        facts = await directory.place(HERE) if index.needs_names(HERE) else PlaceFacts(HERE)
        assert await rules.effective(HERE) == resolve(index.layers(facts, overrides))


def test_ten_thousand_rules_elsewhere_add_no_layer() -> None:
    """The cost for a place depends only on its own rules."""
    rules = [
        Rule(
            (PlaceRef(PlaceLevel.CHANNEL, "slack", "T1", f"C{k}"),),
            PolicyValues(model=f"m/{k}"),
            f"line {k}",
        )
        for k in range(10_000)
    ]
    index = RuleIndex(PolicyConfig(rules=tuple(rules)))
    layers = index.layers(PlaceFacts(ConversationKey("slack", "T1", "C77", ""), "ops"))
    assert [each.source for each in layers] == [
        "channel #ops (rule in line 77)",
        "the top of threadline.toml",
    ]
