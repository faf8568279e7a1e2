"""Resolves what the rules say about a place; pure.

Invariant: each value comes from the most specific level that sets it; within a level, a value set
by command wins over the file, and a later rule over an earlier one. Rules are indexed by place, so
the cost of resolving a place does not depend on the number of rules elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bot.config.policy_references import fold
from bot.domain import policy_texts
from bot.domain.conversations import ConversationKey, Effort
from bot.domain.policy import (
    AnswerMode,
    Budget,
    Controllers,
    EffectivePolicy,
    Limits,
    Override,
    OverrideName,
    PlaceFacts,
    PlaceLevel,
    PlaceRef,
    PolicyConfig,
    PolicyValues,
    Redaction,
    Resolved,
)

T = TypeVar("T")

_Key = tuple[PlaceLevel, str, str, str, bool]
"""The level, platform, workspace and value of a reference, and whether the value is a name."""

ANSWERS = AnswerMode.THREAD
CONTROLS = Controllers.EVERYONE
REDACT = frozenset({Redaction.KEYS})


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one rule or command at one level, and their source."""

    values: PolicyValues
    source: str
    profile: str = ""


class RuleIndex:
    """The rules of a configuration, indexed by the places they name."""

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self._rules: dict[_Key, list[int]] = defaultdict(list)
        self._named: set[tuple[str, str]] = set()
        self._threads: set[tuple[str, str]] = set()
        self._named_always: set[tuple[str, str]] = set()
        for order, rule in enumerate(config.rules):
            for place in rule.where:
                self._add(order, place, always=rule.values.answers is AnswerMode.ALWAYS)
        values = (config.default, *(rule.values for rule in config.rules))
        self.has_always = any(each.answers is AnswerMode.ALWAYS for each in values)

    def _add(self, order: int, place: PlaceRef, *, always: bool) -> None:
        key = (place.level, place.platform, place.workspace, place.value, place.is_name)
        if self._rules[key][-1:] != [order]:
            self._rules[key].append(order)
        workspace = (place.platform, place.workspace)
        if place.is_name or place.level is PlaceLevel.CATEGORY:
            self._named.add(workspace)
        if place.is_name and always:
            self._named_always.add(workspace)
        if place.level is PlaceLevel.THREAD:
            self._threads.add(workspace)

    def needs_names(self, key: ConversationKey) -> bool:
        """Whether a rule for this workspace refers to a name or a category."""
        return (key.platform, key.workspace) in self._named

    def has_threads(self, key: ConversationKey) -> bool:
        """Whether a rule for this workspace refers to a single thread."""
        return (key.platform, key.workspace) in self._threads

    def named_may_be_always(self, key: ConversationKey) -> bool:
        """Whether a rule that refers to a name in this workspace may make all messages
        questions."""
        return (key.platform, key.workspace) in self._named_always

    def layers(self, facts: PlaceFacts, overrides: Sequence[Override] = ()) -> list[Layer]:
        """All layers that apply to a place, most specific first."""
        layers: list[Layer] = []
        for level in (
            PlaceLevel.THREAD,
            PlaceLevel.CHANNEL,
            PlaceLevel.CATEGORY,
            PlaceLevel.WORKSPACE,
            PlaceLevel.PLATFORM,
        ):
            if level is PlaceLevel.CHANNEL:
                layers += (_from_override(each, facts) for each in overrides)
            layers += self._of_level(level, facts)
        return [*layers, Layer(self.config.default, policy_texts.FILE_DEFAULT)]

    def _of_level(self, level: PlaceLevel, facts: PlaceFacts) -> Iterator[Layer]:
        """The rules for one level of the place, last first."""
        orders = {order for key in _keys(level, facts) for order in self._rules.get(key, ())}
        for order in sorted(orders, reverse=True):
            rule = self.config.rules[order]
            source = policy_texts.from_rule(level, facts, rule.source)
            yield Layer(rule.values, source, rule.profile)


def _keys(level: PlaceLevel, facts: PlaceFacts) -> Iterator[_Key]:
    """The references that match the place at this level."""
    key = facts.key
    workspace = "" if level is PlaceLevel.PLATFORM else key.workspace
    if level in (PlaceLevel.PLATFORM, PlaceLevel.WORKSPACE):
        yield level, key.platform, workspace, "", False
    elif level is PlaceLevel.THREAD:
        yield level, key.platform, workspace, f"{key.channel}/{key.thread}", False
    else:
        names = (key.channel, facts.channel_name)
        if level is PlaceLevel.CATEGORY:
            names = (facts.category, facts.category_name)
        for name, is_name in zip(names, (False, True), strict=True):
            if name:
                yield level, key.platform, workspace, fold(name) if is_name else name, is_name


# ── overrides ─────────────────────────────────────────────────────────────────────────────────
def _from_override(override: Override, facts: PlaceFacts) -> Layer:
    source = policy_texts.from_command(facts, override.set_by.name)
    return Layer(override_values(override), source)


def override_values(override: Override) -> PolicyValues:
    """The value that was set; none if this version of the program no longer accepts it."""
    value = override.value
    match override.name:
        case OverrideName.MODEL:
            return PolicyValues(model=value)
        case OverrideName.PROMPT:
            return PolicyValues(prompt=value)
        case OverrideName.EFFORT:
            return PolicyValues(effort=_member(Effort, value))
        case OverrideName.ANSWERS:
            return PolicyValues(answers=_member(AnswerMode, value))
        case OverrideName.CONTROLS:
            return PolicyValues(controls=_member(Controllers, value))


def _member(make: Callable[[str], T], value: str) -> T | None:
    try:
        return make(value)
    except ValueError:
        return None


# ── values ────────────────────────────────────────────────────────────────────────────────────
def resolve(layers: Sequence[Layer], *, feedback: bool = True) -> EffectivePolicy:
    """Merge the layers, most specific first, into a policy.

    `feedback` is the default for vote buttons on replies.
    """
    return EffectivePolicy(
        model=_first(layers, lambda values: values.model, None),
        effort=_first(layers, lambda values: values.effort, None),
        prompt=_first(layers, lambda values: values.prompt, None),
        temperature=_first(layers, lambda values: values.temperature, None),
        answers=_first(layers, lambda values: values.answers, ANSWERS),
        controls=_first(layers, lambda values: values.controls, CONTROLS),
        allow=_first(layers, lambda values: values.allow, None),
        block=tuple(
            Resolved(each.values.block, each.source) for each in layers if each.values.block
        ),
        admins=tuple(dict.fromkeys(ref for each in layers for ref in each.values.admins)),
        limits=_first(layers, lambda values: values.limits, Limits()),
        budgets=_budgets(layers),
        retention_days=_first(layers, lambda values: values.retention_days, 0),
        redact=_first(layers, lambda values: values.redact, REDACT),
        feedback=_first(layers, lambda values: values.feedback, feedback),
        instructions=_first(layers, lambda values: values.instructions, True),
        share=_first(layers, lambda values: values.share, True),
        profile=next((each.profile for each in layers if each.profile), ""),
    )


def _first(
    layers: Sequence[Layer], read: Callable[[PolicyValues], T | None], default: T
) -> Resolved[T]:
    for layer in layers:
        value = read(layer.values)
        if value is not None:
            return Resolved(value, layer.source)
    return Resolved(default, policy_texts.BUILT_IN)


def _budgets(layers: Sequence[Layer]) -> tuple[Resolved[Budget], ...]:
    """The budgets of all levels; a budget that two rules share through a profile counts once."""
    found: dict[str, Resolved[Budget]] = {}
    for layer in layers:
        for budget in layer.values.budgets:
            found.setdefault(budget.name, Resolved(budget, layer.source))
    return tuple(found.values())
