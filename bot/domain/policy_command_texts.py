"""The replies to /why, /whoami and /channel: see `bot.domain.texts`.

Invariants: a reply fits into a Discord message, which has the lowest limit (2,000 characters).
Names come from people and servers, so they are shown as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.domain import spending_texts
from bot.domain.command_texts import name
from bot.domain.conversations import Author
from bot.domain.model_names import DEFAULT, plain
from bot.domain.policy import (
    AnswerMode,
    Budget,
    Controllers,
    EffectivePolicy,
    Limits,
    Override,
    OverrideName,
    PersonRef,
    Redaction,
    Resolved,
    Standing,
    Verdict,
)
from bot.domain.policy_texts import MAX_NAME, says_so

MAX_REPLY = 1_900
"""The most characters of a reply; the rest is cut, with a note."""

MAX_LISTED = 8
"""The most people and groups that a line names."""

_MORE = "… and more: see threadline.toml"

ADMINS_ONLY = (
    "Only administrators of this workspace may do that. `/whoami` shows whether you are one."
)
ANSWERS = {
    AnswerMode.MENTION: "messages that mention me",
    AnswerMode.THREAD: "messages that mention me, and all in a thread that I answer in",
    AnswerMode.ALWAYS: "all messages, each answered in a thread",
}
CONTROLS = {
    Controllers.PARTICIPANTS: "people who wrote in the conversation, and administrators",
    Controllers.EVERYONE: "everyone who can see it",
    Controllers.ADMINS: "administrators",
}
_STANDINGS = {
    Standing.MEMBER: "a member",
    Standing.GUEST: "a guest",
    Standing.STRANGER: "from another organization",
}
CHANNEL_HELP = (
    "`/channel model NAME`, `/channel effort low|medium|high`, `/channel prompt TEXT` (or `none`), "
    "`/channel answers mention|thread|always`, `/channel controls participants|everyone|admins`; "
    f"`{DEFAULT}` as the value returns to threadline.toml."
)


# ── /why ──────────────────────────────────────────────────────────────────────────────────────
def why(policy: EffectivePolicy, *, chosen: str | None, answering: str, default: str) -> str:
    """The reply to /why. `chosen` is the conversation's choice of model, `answering` the model that
    will answer, and `default` the model if no rule applies."""
    lines = [
        f"Model: {_model(policy.model, chosen, answering, default)}",
        *_prompt(policy),
        _line("Questions", ANSWERS[policy.answers.value], policy.answers.source),
        *_who_may_ask(policy),
        _line("Buttons", CONTROLS[policy.controls.value], policy.controls.source),
        *_limits(policy.limits),
        *(_line("Budget", _budget(each.value), each.source) for each in policy.budgets),
        *_privacy(policy),
        *([f"Profile: {name(policy.profile)}"] if policy.profile else []),
    ]
    return _fit([f"- {line}" for line in lines])


def _line(title: str, text: str, source: str) -> str:
    return f"{title}: {text}, {says_so(source)}"


def _model(value: Resolved[str | None], chosen: str | None, answering: str, default: str) -> str:
    if chosen is not None and chosen == answering:
        return f"{name(chosen)}, because this conversation chose it with /model"
    if value.value is None:
        return f"{name(default)}, the default"
    if value.value == answering:
        return f"{name(answering)}, {says_so(value.source)}"
    said = f"{value.source} says {name(value.value)}, which is not configured"
    return f"{name(answering)}, although {said}"


def _prompt(policy: EffectivePolicy) -> Iterable[str]:
    prompt, effort, degree = policy.prompt, policy.effort, policy.temperature
    if prompt.value is None:
        yield "Prompt: the default"
    else:
        size = f"{len(prompt.value):,} characters" if prompt.value else "none"
        yield _line("Prompt", size, prompt.source)
    if effort.value is not None:
        yield _line("Effort", effort.value, effort.source)
    if degree.value is not None:
        yield _line("Temperature", f"{degree.value:g}", degree.source)


def _who_may_ask(policy: EffectivePolicy) -> Iterable[str]:
    allow = policy.allow
    if allow.value is None:
        yield "Who may ask: members and guests"
    else:
        yield _line("Who may ask", people(allow.value) or "no one", allow.source)
    for block in policy.block:
        yield _line("Who may not ask", people(block.value), block.source)


def people(refs: Sequence[PersonRef]) -> str:
    """References to people as they are written in the file."""
    shown = [f"`{plain(ref.text, MAX_NAME)}`" for ref in refs[:MAX_LISTED]]
    more = [f"{len(refs) - MAX_LISTED} more"] if len(refs) > MAX_LISTED else []
    return ", ".join([*shown, *more])


def _limits(limits: Resolved[Limits]) -> Iterable[str]:
    values = limits.value
    parts = [
        text.format(count)
        for text, count in (
            ("{} questions a minute per person", values.questions_per_minute),
            ("{} a minute in the channel", values.channel_questions_per_minute),
            ("{} answers at a time per person", values.concurrent),
            ("{} at a time in the channel", values.channel_concurrent),
        )
        if count is not None
    ]
    if parts:
        yield _line("Limits", ", ".join(parts), limits.source)


def _budget(budget: Budget) -> str:
    amount = spending_texts.amount_of(budget)
    scope = "in total" if budget.scope == "all" else f"per {budget.scope}"
    who = f" for {people(budget.who)}" if budget.who else ""
    then = f", then {name(budget.then)} answers" if budget.then else ""
    return f"{amount} a {budget.period} {scope}{who}{then}"


def _privacy(policy: EffectivePolicy) -> Iterable[str]:
    days, redact = policy.retention_days, policy.redact
    if days.value:
        yield _line("Kept", f"{days.value} days", days.source)
    if more := sorted(redact.value - {Redaction.KEYS}):
        yield _line("Hidden from models", ", ".join(["keys", *more]), redact.source)
    if not policy.feedback.value:
        yield _line("Votes", "off", policy.feedback.source)
    if not policy.instructions.value:
        yield _line("Instructions of a thread", "off", policy.instructions.source)
    if not policy.share.value:
        yield _line("Sharing", "off", policy.share.source)


def _fit(lines: Sequence[str]) -> str:
    """As many lines as fit, with a note if some are left out."""
    text, room = "", MAX_REPLY - len(_MORE)
    for line in lines:
        if len(text) + len(line) > room:
            return text + _MORE
        text += line + "\n"
    return text.rstrip()


# ── /whoami ───────────────────────────────────────────────────────────────────────────────────
def whoami(
    author: Author,
    *,
    standing: Standing | None,
    groups: Sequence[PersonRef],
    is_admin: bool,
    verdict: Verdict,
) -> str:
    """The reply to /whoami. `standing` is None if no rule needs it or the platform does not report
    it.

    `groups` are the references in this place's rules that match the person.
    """
    relation = f", {_STANDINGS[standing]} of this workspace" if standing is Standing.MEMBER else ""
    if standing in (Standing.GUEST, Standing.STRANGER):
        relation = f", {_STANDINGS[standing]}"
    lines = [f"You are {name(author.name)} (id {name(author.id)}){relation}."]
    if groups:
        lines.append(f"Rules here mean you by {people(groups)}.")
    lines.append(
        "You administer me here." if is_admin else "You are not one of my administrators here."
    )
    lines.append(_may_ask(verdict))
    return "\n".join(lines)


def _may_ask(verdict: Verdict) -> str:
    if verdict.allowed:
        return "You may ask me here."
    return f"You may not ask me: {verdict.reason}."


# ── /channel ──────────────────────────────────────────────────────────────────────────────────
def channel_described(overrides: Sequence[Override]) -> str:
    """The reply to /channel without a value."""
    if not overrides:
        return f"Nothing is set by command for this channel.\n{CHANNEL_HELP}"
    lines = [
        f"- {each.name}: {name(_shown(each))}, set by {name(each.set_by.name)}"
        for each in overrides
    ]
    return _fit(["Set for this channel:", *lines, CHANNEL_HELP])


def _shown(override: Override) -> str:
    if override.name is OverrideName.PROMPT:
        return f"{len(override.value):,} characters" if override.value else "none"
    return override.value


def channel_set(override: OverrideName, value: str) -> str:
    """The reply to /channel with a value."""
    shown = f"a text of {len(value):,} characters" if value else "none"
    value = shown if override is OverrideName.PROMPT else name(value)
    return f"From the next answer on, this channel's setting `{override}` is {value}."


def channel_cleared(override: OverrideName) -> str:
    """The reply to /channel with `default`."""
    return (
        f"From the next answer on, this channel's setting `{override}` comes from threadline.toml."
    )


def channel_refused(override: OverrideName, value: str, allowed: Sequence[str]) -> str:
    """The reply to /channel with an invalid value; `allowed` lists some valid ones."""
    options = ", ".join(f"`{plain(each)}`" for each in allowed[:MAX_LISTED])
    hint = f" Possible are {options} or `{DEFAULT}`." if options else ""
    return f"{name(value)} is no {override} that this channel can have.{hint}"


def prompt_refused(problem: str) -> str:
    """The reply to /channel prompt with a text that is too long or a template that has an error."""
    return f"This prompt cannot be used: {problem}."
