"""`threadline config check` for policy: lists the profiles and rules in effect, and those that
never apply; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from bot.config.settings import Settings
from bot.domain import spending_texts
from bot.domain.money import USD
from bot.domain.policy import Budget, PersonRef, PlaceRef, PolicyConfig, PolicyValues, Rule

_TOGETHER = ("block", "admins", "budgets")
_TOKENS = {"discord": "DISCORD_TOKEN", "slack": "SLACK_BOT_TOKEN"}
MAX_RULES = 200
"""The most rules to list; further ones are only counted."""


def describe_policy(settings: Settings, config: PolicyConfig) -> Iterator[str]:
    """Write the lines of the report; none if there is no policy."""
    if config.currency != USD:
        yield f"money in {config.currency.code}: 1 US dollar costs {config.currency.usd_rate}"
    if config.is_empty:
        return
    if default := list(_said(config.default)):
        yield f"everywhere: {', '.join(default)}"
    used = {rule.profile for rule in config.rules}
    for name, values in config.profiles.items():
        note = "" if name in used else " (no rule uses it)"
        yield f"profile {name}{note}: {', '.join(_said(values)) or 'nothing'}"
    for rule in config.rules[:MAX_RULES]:
        places = ", ".join(place.text for place in rule.where)
        profile = [f"profile {rule.profile}"] if rule.profile else []
        yield f"rule in {rule.source}: {places}: {', '.join([*profile, *_own(rule, config)])}"
    if len(config.rules) > MAX_RULES:
        yield f"and {len(config.rules) - MAX_RULES:,} more rules"
    for line, sentence in never_applied(settings, config):
        yield f"warning: {line}: {sentence}"


def _own(rule: Rule, config: PolicyConfig) -> Iterator[str]:
    """The values that a rule adds to its profile."""
    profile = config.profiles.get(rule.profile, PolicyValues())
    already = set(_said(profile))
    return (text for text in _said(rule.values) if text not in already)


def _said(values: PolicyValues) -> Iterator[str]:
    """Describe the values in words, without the texts of prompts."""
    for name in ("model", "effort", "temperature", "answers", "controls"):
        if (value := getattr(values, name)) is not None:
            yield f"{name} {value}"
    if values.prompt is not None:
        yield f"prompt of {len(values.prompt):,} characters"
    if values.allow is not None:
        yield f"allow {_people(values.allow)}"
    for name in ("block", "admins"):
        if refs := getattr(values, name):
            yield f"{name} {_people(refs)}"
    if values.limits is not None:
        yield "limits"
    yield from map(_budget, values.budgets)
    if values.retention_days is not None:
        yield f"kept {values.retention_days} days" if values.retention_days else "kept for good"
    if values.redact is not None:
        yield f"redact {' '.join(sorted(values.redact))}"
    for name in ("feedback", "instructions", "share"):
        if (is_on := getattr(values, name)) is not None:
            yield f"{name} on" if is_on else f"{name} off"


def _people(refs: Iterable[PersonRef]) -> str:
    return " ".join(ref.text for ref in refs) or "no one"


def _budget(budget: Budget) -> str:
    return f"budget {budget.name!r} of {spending_texts.amount_of(budget)} a {budget.period}"


# ── rules that never apply ────────────────────────────────────────────────────────────────────
def never_applied(settings: Settings, config: PolicyConfig) -> Iterator[tuple[str, str]]:
    """Find the rules that can never apply, in order: their lines, and the reason for each.

    They are not mistakes: a platform may be connected later.
    """
    order = {rule.source: k for k, rule in enumerate(config.rules)}
    return iter(sorted(_never_applied(settings, config), key=lambda found: order[found[0]]))


def _never_applied(settings: Settings, config: PolicyConfig) -> Iterator[tuple[str, str]]:
    served = _served(settings)
    later: dict[tuple[PlaceRef, str], str] = {}
    for rule in reversed(config.rules):
        reachable = [place for place in rule.where if _is_served(place, served, settings)]
        missing = [place for place in rule.where if place not in reachable]
        if missing:
            whole = "the rule can never apply" if not reachable else "part of it can never apply"
            places = ", ".join(place.text for place in missing)
            why = _unset(place.platform for place in missing if place.platform not in served)
            yield rule.source, f"{whole}, because the bot is not in {places}{why}"
        names = _names(rule.values)
        keys = [(_place(place), name) for place in reachable for name in names]
        if keys and all(key in later for key in keys) and not _is_together(rule.values):
            others = ", ".join(sorted({later[key] for key in keys}))
            yield rule.source, f"the rule can never apply, because a later one wins: {others}"
        for key in keys:
            later.setdefault(key, rule.source)


def _unset(platforms: Iterable[str]) -> str:
    """The settings that would connect the platforms, as the end of a sentence."""
    names = dict.fromkeys(_TOKENS[name] for name in platforms if name in _TOKENS)
    return f" ({', '.join(names)}: not set)" if names else ""


def _served(settings: Settings) -> frozenset[str]:
    names = {"console"}
    if settings.discord_token is not None:
        names.add("discord")
    if settings.has_slack:
        names.add("slack")
    if settings.serves_site:
        names.add("web")
    return frozenset(names)


def _is_served(place: PlaceRef, served: frozenset[str], settings: Settings) -> bool:
    if place.platform not in served:
        return False
    servers = settings.discord_servers
    if place.platform != "discord" or not place.workspace.isdecimal() or not servers:
        return True
    return place.workspace in servers


def _place(place: PlaceRef) -> PlaceRef:
    """The place without its original spelling."""
    return PlaceRef(place.level, place.platform, place.workspace, place.value, place.is_name)


def _names(values: PolicyValues) -> list[str]:
    """The names of the values for which the most specific level counts."""
    names = (field.name for field in fields(values) if field.name not in _TOGETHER)
    return [name for name in names if getattr(values, name) is not None]


def _is_together(values: PolicyValues) -> bool:
    return any(getattr(values, name) for name in _TOGETHER)


def money_budgets(config: PolicyConfig) -> list[str]:
    """The names of all budgets in money, which need the price of every model."""
    values = (config.default, *config.profiles.values(), *(rule.values for rule in config.rules))
    found = (budget for each in values for budget in each.budgets if budget.tokens is None)
    return list(dict.fromkeys(budget.name for budget in found))
