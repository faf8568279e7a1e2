"""How a turn ends: from what a model said, and what happened, to the turn's conclusion; pure.

Invariant: every way a turn can end is here once, with the sentence that people see of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bot.domain import texts
from bot.domain.errors import ContentRefused, ModelError
from bot.domain.model import Delta, Usage
from bot.domain.replies import Control
from bot.domain.turns import LONE_DEATHS, Claim, Outcome, TurnResult
from bot.replies.markdown.mend import close_open
from bot.turns.reasoning import Thoughts, parted

# A turn that failed this often in unforeseen ways is given up. `bot.turns.quarantine` finds a turn
# that ends the process; deploys and deaths that other turns cause do not count.
MAX_FAILURES = 4
# What was concluded is tried to be shown far more often: an outage of the platform costs a try
# every eleven minutes, so this is four hours. Then a sentence of ours takes its place, and what
# comes after it in the conversation is not held up for ever.
MAX_SHOWINGS = 24


@dataclass(slots=True)
class Draft:
    """What the model has said so far, in one attempt."""

    notice: str
    thoughts: Thoughts
    text: list[str] = field(default_factory=list)
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    first_token_at: float | None = None
    shortened: bool = False  # the questions were too long to be sent whole

    def take(self, delta: Delta, now: float) -> None:
        """Add what came at `now`, in Unix seconds."""
        if delta.model:
            self.model = delta.model
            self.thoughts.forget()
        if delta.reasoning and not self.text:
            self.thoughts.take(delta.reasoning)
        if delta.text:
            if self.first_token_at is None:
                self.first_token_at = now
            self.text.append(delta.text)
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage

    @property
    def content(self) -> str:
        """The answer so far, without what turned out to be reasoning."""
        return parted("".join(self.text))[1].strip()

    def conclude(
        self, outcome: Outcome, sentence: str = "", error: str | None = None
    ) -> TurnResult:
        """The end: the model's words, and a sentence of ours below them."""
        thought, content = parted("".join(self.text))
        content = content.strip()
        parts = (
            self.notice,
            self.thoughts.above(thought, content),
            close_open(content),
            texts.note(sentence) if sentence else "",
            texts.note(texts.SHORTENED) if self.shortened and content else "",
        )
        return TurnResult(
            outcome=outcome,
            content=content,
            display="\n\n".join(part for part in parts if part),
            model=self.model,
            finish_reason=self.finish_reason,
            usage=self.usage,
            error=error,
            first_token_at=self.first_token_at,
        )


def notice_of(claim: Claim) -> str:
    """What is said before the answer: that it comes late, or what of the question is not read."""
    kinds = [kind for question in claim.asked for kind in question.unusable]
    late = any(question.late for question in claim.asked)
    sentences = [texts.MISSED_EARLIER] if late else []
    sentences += [texts.unusable(kinds)] if kinds else []
    return texts.note(" ".join(sentences)) if sentences else ""


def without_model(claim: Claim, draft: Draft) -> TurnResult | None:
    """The outcome of a turn that needs no model: nothing was asked, or it failed too often."""
    if claim.epoch != claim.conversation.epoch:
        # Started over while nobody held the turn: what it would answer is no longer looked at.
        return draft.conclude(Outcome.RESET, texts.RESET_MEANWHILE)
    if not claim.asked:
        return draft.conclude(Outcome.STOPPED, texts.QUESTION_DELETED)
    if claim.stopping:
        return draft.conclude(Outcome.STOPPED, texts.STOPPED)
    if claim.lone_deaths >= LONE_DEATHS:
        return draft.conclude(Outcome.FAILED, texts.GAVE_UP, "it ends the process")
    if claim.failures >= MAX_FAILURES:
        return draft.conclude(Outcome.FAILED, texts.GAVE_UP, "too many attempts")
    if all(question.late for question in claim.asked):
        apology = texts.note(texts.MISSED)
        return TurnResult(outcome=Outcome.FAILED, content="", display=apology, error="missed")
    asked = any(question.text for question in claim.asked)
    if asked or (claim.has_history and not draft.notice):
        return None
    if draft.notice:
        return draft.conclude(Outcome.ANSWERED)
    return TurnResult(outcome=Outcome.ANSWERED, content="", display=texts.NO_QUESTION)


def failed(draft: Draft, error: ModelError) -> TurnResult:
    """The model failed: what it said stays, with a sentence about the failure."""
    outcome = Outcome.CUT_OFF if draft.content else Outcome.FAILED
    return draft.conclude(outcome, texts.model_failure(error), type(error).__name__)


def interrupted(draft: Draft, reason: Outcome) -> TurnResult:
    """Somebody ended it: stopped it, started over, or took its place away."""
    if reason is Outcome.GONE:
        return draft.conclude(reason)
    if reason is Outcome.RESET:
        return draft.conclude(reason, texts.RESET_MEANWHILE)
    return draft.conclude(reason, texts.STOPPED if draft.content else texts.STOPPED_EARLY)


def ended(draft: Draft) -> TurnResult:
    """The model has ended by itself, which is not always an answer."""
    if draft.finish_reason == "content_filter":
        return failed(draft, ContentRefused())
    if not draft.content:
        if draft.finish_reason == "length":
            return draft.conclude(Outcome.FAILED, texts.THOUGHT_TOO_LONG, "length limit")
        return draft.conclude(Outcome.FAILED, texts.EMPTY_ANSWER, "empty answer")
    if draft.finish_reason == "length":
        return draft.conclude(Outcome.ANSWERED, texts.LENGTH_LIMIT)
    return draft.conclude(Outcome.ANSWERED)


def showable(claim: Claim, conclusion: TurnResult) -> TurnResult:
    """The end as it is to be shown: a sentence, where showing it fails or ends the process.

    The answer stays in the history, and may be asked for once more.
    """
    fails = claim.failures >= MAX_SHOWINGS or claim.lone_deaths >= LONE_DEATHS
    if not fails or claim.conclusion is None or not conclusion.display:
        return conclusion
    return replace(conclusion, display=texts.note(texts.NOT_SHOWN))


def controls_for(conclusion: TurnResult) -> tuple[Control, ...]:
    """What people may do with a finished reply; they ride on its last edit, and cost nothing."""
    outcome = conclusion.outcome
    if outcome in (Outcome.RESET, Outcome.GONE) or not conclusion.display:
        return ()
    if not conclusion.content:  # a hint of ours is the same every time
        return () if outcome is Outcome.ANSWERED else (Control.RETRY,)
    if outcome is Outcome.ANSWERED and conclusion.finish_reason != "length":
        return (Control.RETRY,)
    return (Control.RETRY, Control.CONTINUE)
