"""Builds a `PolicyConfig` from `threadline.toml`, and collects all problems.

ADMINS and SYSTEM_PROMPT from the environment or `.env` apply in addition to the file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from typing import Any

from bot.config import file_problems, policy_money
from bot.config.fields import split
from bot.config.file import Problem
from bot.config.policy_prompts import PromptFiles
from bot.config.policy_references import parse_person, parse_place
from bot.config.policy_schema import BudgetTable, RuleTable, Values
from bot.config.problems import quote, raise_any
from bot.config.settings import Settings
from bot.config.toml_document import Location
from bot.domain.errors import SettingsError
from bot.domain.policy import Budget, PlaceLevel, PolicyConfig, PolicyValues, Rule

# These values accumulate over all levels; for all others, the most specific level counts.
_TOGETHER = ("block", "admins", "budgets")


def resolve_policy(settings: Settings) -> PolicyConfig:
    """Build the policy. Raises one SettingsError for all problems, including those of the file."""
    config, problems = examine_policy(settings)
    raise_any(problems)
    return config


def examine_policy(settings: Settings) -> tuple[PolicyConfig, Sequence[Problem]]:
    """Build the policy from the valid parts, and collect all problems."""
    builder = _Builder(settings)
    config = builder.config()
    return config, (*settings.file.problems, *builder.problems)


def merge(own: PolicyValues, profile: PolicyValues) -> PolicyValues:
    """Complete a rule's own values with those of its profile."""
    changes: dict[str, Any] = {}
    for field in fields(PolicyValues):
        mine, other = getattr(own, field.name), getattr(profile, field.name)
        if field.name in _TOGETHER:
            changes[field.name] = (*mine, *(each for each in other if each not in mine))
        elif mine is None:
            changes[field.name] = other
    return replace(own, **changes)


class _Builder:
    """Builds the policy and collects problems on the way."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._file = settings, settings.file
        self._contents = settings.file.contents
        self._prompts = PromptFiles(settings.file.folder)
        self._budgets: dict[str, Budget] = {}
        self._currency = policy_money.currency_of(self._file)
        self.problems: list[Problem] = [*policy_money.find_problems(self._file)]

    def config(self) -> PolicyConfig:
        """Build the policy from the valid parts."""
        profiles = {
            name: self._values(("profiles", name), table, f"profile {name}")
            for name, table in self._contents.profiles.items()
        }
        for name in profiles:
            self._check_admins(("profiles", name), self._contents.profiles[name], ())
        rules = [self._rule(k, table, profiles) for k, table in self._file.numbered_rules()]
        return PolicyConfig(self._default(), tuple(rules), profiles, self._currency)

    def _default(self) -> PolicyValues:
        values = self._values((), self._contents, "")
        admins = tuple(parse_person(text) for text in split(self._settings.admins))
        if "system_prompt" in self._settings.model_fields_set:
            values = replace(values, prompt=None)
        return replace(values, admins=(*values.admins, *admins))

    def _rule(self, k: int, table: RuleTable, profiles: dict[str, PolicyValues]) -> Rule:
        location: Location = ("rules", k)
        values = self._values(location, table, ", ".join(sorted(table.where)))
        where = tuple(map(parse_place, dict.fromkeys(table.where)))
        if table.profile is not None:
            self._require_profile((*location, "profile"), table.profile)
            values = merge(values, profiles.get(table.profile, PolicyValues()))
        if values == PolicyValues() and table.profile is None and table.prompt is None:
            self._add(location, "the rule says nothing: it needs a profile, allow or another key")
        self._check_admins(location, table, [place.level for place in where])
        line = self._file.document.line(location)
        source = f"line {line}" if line is not None else f"rule {k + 1}"
        return Rule(where, values, source, table.profile or "")

    def _values(self, location: Location, table: Values, place: str) -> PolicyValues:
        prompt = None
        if table.prompt is not None:
            try:
                prompt = self._prompts.read(table.prompt)
            except SettingsError as error:
                where = file_problems.dotted((*location, "prompt"))
                self._add((*location, "prompt"), f"{where}: {error.setting}: {error.problem}")
        values = table.values(prompt=prompt, place=place, currency=self._currency)
        for k, budget in enumerate(values.budgets):
            self._require_name((*location, "budgets", k), budget)
            self._require_currency((*location, "budgets", k), table.budgets[k])
        return values

    # ── checks ────────────────────────────────────────────────────────────────────────────────
    def _require_profile(self, location: Location, name: str) -> None:
        known = self._profile_names()
        if name in known:
            return
        near = file_problems.suggestion(name, known)
        hint = f"did you mean {near}?" if near else f"there is {', '.join(known) or 'none'}"
        where = file_problems.dotted(location)
        self._add(location, f"{where}: there is no [profiles.{name}]: {hint}")

    def _profile_names(self) -> Collection[str]:
        """All profiles of the file, including invalid ones, which are already reported."""
        written = self._file.document.values.get("profiles")
        return sorted(written) if isinstance(written, dict) else ()

    def _require_name(self, location: Location, budget: Budget) -> None:
        """Report two budgets with the same name, because they would be counted as one."""
        if self._budgets.setdefault(budget.name, budget) is not budget:
            where = file_problems.dotted(location)
            sentence = f"another budget is called {quote(budget.name)}, too: give each a name"
            self._add(location, f"{where}: {sentence}")

    def _require_currency(self, location: Location, table: BudgetTable) -> None:
        """Report an amount in another currency than the file's."""
        for key, text in table.money():
            if problem := policy_money.find_wrong_amount(self._file, text):
                place = (*location, key)
                self._add(place, f"{file_problems.dotted(place)}: {problem}")

    def _check_admins(
        self, location: Location, table: Values, levels: Sequence[PlaceLevel]
    ) -> None:
        if not table.admins or (levels and max(levels) <= PlaceLevel.WORKSPACE):
            return
        where = file_problems.dotted((*location, "admins"))
        sentence = (
            "administrators belong to a workspace: write them at the top of the file, or in a "
            "rule whose where is a workspace or a platform"
        )
        self._add((*location, "admins"), f"{where}: {sentence}")

    def _add(self, location: Location, sentence: str) -> None:
        self.problems.append(self._file.problem(location, sentence))
