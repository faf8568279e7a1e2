"""The replies to /model, /effort and /context: see `bot.domain.texts`.

Invariants: a reply fits into a Discord message, which has the lowest limit (2,000 characters).
Names come from servers, so they are shown as plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.context import ContextPart, ContextPartKind, ContextReport
from bot.domain.conversations import Effort
from bot.domain.model_names import DEFAULT, group, plain
from bot.domain.texts import WHICH_THREAD

MAX_BULLETS = 20
"""Up to this many names get a line each; more are grouped by provider."""

MAX_LISTED = 1_400
"""The most characters for a list of names; the surrounding sentences take less than 500."""

MAX_SUMMARY = 800
"""The most characters of a summary that a reply shows."""

NO_MODEL_CHOICES = "There is only one model here, chosen by the people who run this bot."
NEEDS_CONVERSATION: Mapping[str, str] = {
    "model": "Ask me something first, then choose the model inside that conversation.",
    "effort": "Ask me something first, then choose the effort inside that conversation.",
    "context": "There is no conversation here yet: ask me something first.",
}
_SEARCH = "`/model` with a part of a name lists the models that contain it."


def name(text: str) -> str:
    """Show a model's name, or what a person typed, as plain text."""
    return f"`{plain(text)}`"


# ── /model ────────────────────────────────────────────────────────────────────────────────────
def model_chosen(model: str) -> str:
    """The reply to /model with a name."""
    return f"From the next answer on, this conversation uses {name(model)}."


def default_model_chosen(default: str) -> str:
    """The reply to /model default."""
    return f"From the next answer on, this conversation uses the default model, {name(default)}."


def models_offered(chosen: str | None, answering: str, default: str, names: Sequence[str]) -> str:
    """The reply to /model without a name.

    `chosen` is the conversation's choice. `answering` is the model that will answer; it differs
    from `chosen` if that model is no longer offered.
    """
    in_use = _model_in_use(chosen, answering)
    if not names:
        return f"{in_use}\n\n{NO_MODEL_CHOICES}"
    back = f"\n\n`/model default` returns to {name(default)}." if chosen else ""
    return f"{in_use} You can choose:\n{_listed(names)}{back}"


def _model_in_use(chosen: str | None, answering: str) -> str:
    if chosen in (None, answering):
        return f"This conversation uses {name(answering)}."
    return (
        f"This conversation chose {name(chosen or '')}, which is no longer offered, so "
        f"{name(answering)} answers."
    )


def model_refused(typed: str, similar: Sequence[str]) -> str:
    """The reply to /model with a name that is not offered; `similar` lists models that are."""
    refused = f"{name(typed)} is not offered here."
    if not similar:
        return f"{refused} `/model` lists the models that are."
    return f"{refused} You may have meant:\n{_listed(similar)}"


def _listed(names: Sequence[str]) -> str:
    """List as many names as fit: a line for each if they are few, otherwise grouped by provider."""
    bullets = "\n".join(f"- {name(each)}" for each in names[:MAX_BULLETS])
    if len(names) <= MAX_BULLETS and len(bullets) <= MAX_LISTED:
        return bullets
    groups = sorted(group(names).items(), key=lambda item: -len(item[1]))
    lines, room = [], MAX_LISTED
    for number, (provider, members) in enumerate(groups):
        line = _group_line(provider, members, room // (len(groups) - number))
        if len(line) >= room:
            lines.append(f"- and {_count(len(groups) - number, 'more provider')}")
            break
        lines.append(line)
        room -= len(line) + 1
    return "\n".join([*lines, "", _SEARCH])


def _group_line(provider: str, names: Sequence[str], room: int) -> str:
    """List one provider's models in about `room` characters; at least one is always listed."""
    line = f"- {name(provider)}: " if provider else "- "
    for number, each in enumerate(names):
        left = len(names) - number
        if number and len(line) + len(name(each)) + len(f", and {left:,} more") > room:
            return f"{line} and {left:,} more"
        line += (", " if number else "") + name(each)
    return line


# ── /effort ───────────────────────────────────────────────────────────────────────────────────
_LEVELS = ", ".join([f"`{effort}`" for effort in Effort]) + f" or `{DEFAULT}`"


def effort_chosen(effort: Effort | None, model: str, takes_effort: bool | None) -> str:
    """The reply to /effort with a level; None means the default."""
    chosen = f"From the next answer on, I ask the model for {_effort(effort)}."
    return f"{chosen}{_effort_note(model, takes_effort)}"


def effort_in_use(effort: Effort | None, model: str, takes_effort: bool | None) -> str:
    """The reply to /effort without a level."""
    in_use = f"I ask the model for {_effort(effort)}.{_effort_note(model, takes_effort)}"
    return f"{in_use}\nYou can choose {_LEVELS}: `/effort low`, for example."


def effort_refused(typed: str) -> str:
    """The reply to /effort with an unknown level."""
    return f"{name(typed)} is no effort that I know. Choose {_LEVELS}."


def _effort(effort: Effort | None) -> str:
    return f"{effort} effort" if effort else "its default effort"


def _effort_note(model: str, takes_effort: bool | None) -> str:
    if takes_effort:
        return ""
    if takes_effort is None:
        return f" I do not know whether {name(model)} has such a setting, so I will try."
    return f" But {name(model)} has no such setting, so that changes nothing while it answers."


# ── which conversation ────────────────────────────────────────────────────────────────────────
def which_conversation(command: str, argument: str) -> str:
    """The question above the buttons with which a person picks one of the recent conversations."""
    if command == "reset":
        return WHICH_THREAD
    if command == "context":
        return "The context of which conversation?"
    if command == "effort":
        level = "its default" if argument == DEFAULT else plain(argument)
        return f"Which conversation should use {level} effort?"
    if argument == DEFAULT:
        return "Which conversation should use the default model?"
    return f"Which conversation should use {name(argument)}?"


# ── /context ──────────────────────────────────────────────────────────────────────────────────
BAR = 20
"""The width of the bar in characters: 5 % each."""


def context_described(report: ContextReport) -> str:
    """The reply to /context. It contains only numbers, so anyone may see it."""
    window = f"; its window has {report.window:,}" if report.window is not None else ""
    return "\n\n".join(
        [
            f"With the next question, {name(report.model)} gets about {_tokens(report.tokens)} of "
            f"at most {report.budget:,}{window}.",
            *_shares(report),
            *_outside(report),
        ]
    )


def summary_shown(summary: str) -> str:
    """The summary (or its beginning) as plain text, appended to a private reply."""
    text = summary.strip().replace("```", "'''")
    is_cut = len(text) > MAX_SUMMARY
    beginning = text[:MAX_SUMMARY].rstrip() + "…" if is_cut else text
    title = "The summary begins:" if is_cut else "The summary:"
    return f"{title}\n```\n{beginning}\n```"


def _shares(report: ContextReport) -> list[str]:
    """The bar, and a line for each part with its share of the budget. The shares add up to 100
    %."""
    parts = [part for part in report.parts if part.count or part.tokens]
    free = max(0, report.budget - report.tokens)
    percents = percentages([*(part.tokens for part in parts), free])
    used = round(sum(percents[:-1]) * BAR / 100)
    used = min(max(used, 1 if report.tokens else 0), BAR - 1 if free else BAR)
    lines = [
        f"- {_part(part)}: {_tokens(part.tokens)} ({percent} %)"
        for part, percent in zip(parts, percents, strict=False)
    ]
    lines.append(f"- Free: {_tokens(free)} ({percents[-1]} %)")
    return [f"`{'█' * used}{'░' * (BAR - used)}`", "\n".join(lines)]


def percentages(amounts: Sequence[int]) -> list[int]:
    """Percentages of the total that add up to 100; every amount above 0 gets at least 1."""
    total = sum(amounts)
    if not total:
        return [0 for _ in amounts]
    percents = [max(amount * 100 // total, 1 if amount else 0) for amount in amounts]
    rest = 100 - sum(percents)
    if rest < 0:  # small amounts were rounded up to 1
        percents[percents.index(max(percents))] += rest
    rounded_down = [n for n, amount in enumerate(amounts) if amount * 100 >= total]
    by_remainder = sorted(rounded_down, key=lambda n: -(amounts[n] * 100 % total))
    for position in by_remainder[: max(rest, 0)]:
        percents[position] += 1
    return percents


def _part(part: ContextPart) -> str:
    match part.kind:
        case ContextPartKind.PROMPT:
            return "Instructions (system prompt)"
        case ContextPartKind.INSTRUCTIONS:
            return "Your instructions for this thread"
        case ContextPartKind.SUMMARY:
            return "Summary of earlier messages"
        case ContextPartKind.MESSAGES:
            return _count(part.count, "message")
        case ContextPartKind.FILES:
            return _count(part.count, "file")


def _outside(report: ContextReport) -> list[str]:
    """Sentences about messages left out of the request, and about the cache."""
    sentences = []
    if report.summarized:
        sentences.append(f"{_older(report.summarized)} only in the summary.")
    if report.left_out:
        sentences.append(f"{_older(report.left_out)} left out.")
    if report.cached_tokens is not None:
        cached = _tokens(report.cached_tokens)
        sentences.append(f"Of the last request, {cached} came from the provider's cache.")
    return [" ".join(sentences)] if sentences else []


def _older(number: int) -> str:
    return f"{_count(number, 'older message')} {'is' if number == 1 else 'are'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _tokens(number: int) -> str:
    return _count(number, "token")
