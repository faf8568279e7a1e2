"""Builds a turn's TurnResult from the model's output and any interruption; pure.

Invariant: every way in which a turn can end is decided here, once, with the sentence that people
see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

from bot.domain import access_texts, spending_texts, texts
from bot.domain.context import RequestTokens
from bot.domain.errors import ContentRefused, ModelError, NoBudget, NotAllowed, PriceUnknown
from bot.domain.failures import FailureReason
from bot.domain.feedback import MadeWith
from bot.domain.model import Delta, Usage
from bot.domain.replies import Control
from bot.domain.turns import MAX_LONE_DEATHS, Claim, Outcome, TurnResult
from bot.replies.markdown.mend import close_marks
from bot.turns.display import ReplyParts
from bot.turns.reasoning import ReasoningView, split_reasoning

MAX_FAILURES = 4
"""Unexpected failures after which a turn is given up. Deploys do not count, and turns that kill the
process are handled by `bot.turns.quarantine`."""

MAX_DISPLAY_FAILURES = 24
"""Failures to show a stored result after which a sentence replaces it, so that the result stops
blocking its conversation. A platform outage causes one failure every eleven minutes, so this allows
four hours."""


@dataclass(slots=True)
class ReplyDraft:
    """The model's output so far in one attempt, by part. `notice` is shown above it."""

    notice: str
    reasoning: ReasoningView
    text: list[str] = field(default_factory=list)
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    first_token_at: float | None = None
    shortened: bool = False  # the questions were too long to be sent completely
    omissions: Sequence[str] = ()  # about attachments that were not or only partly read
    summarized: bool = False  # the request has a summary that no reply has mentioned yet
    request_tokens: RequestTokens | None = None  # of the newest request; None if it has images
    budget_notices: tuple[str, ...] = ()  # about budgets that are nearly spent
    made_with: MadeWith | None = None  # of the newest request
    unasked: bool = False  # there is only an attachment, and it cannot be read

    def add(self, delta: Delta, now: float) -> None:
        """Add a delta that arrived at `now`, in Unix seconds."""
        if delta.model:  # a new attempt, after a model failed
            self.model = delta.model
            self.finish_reason = self.usage = None
            self.reasoning.reset()
        if delta.reasoning and not self.text:
            self.reasoning.add(delta.reasoning)
        if delta.text:
            if self.first_token_at is None:
                self.first_token_at = now
            self.text.append(delta.text)
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage

    def add_notice(self, sentence: str) -> None:
        """Append a sentence to the notice above the answer; "" appends nothing."""
        self.notice = " ".join(filter(None, (self.notice, sentence)))

    @property
    def content(self) -> str:
        """The answer so far, without text that turned out to be reasoning."""
        return split_reasoning("".join(self.text))[1].strip()

    def _measured_estimate(self) -> int | None:
        """The estimate to compare with the provider's count; None if the two are not comparable."""
        tokens, usage = self.request_tokens, self.usage
        if tokens is None or usage is None or not tokens.measured_by(usage.input_tokens):
            return None
        return tokens.estimated

    def to_result(
        self, outcome: Outcome, sentence: str = "", failure: FailureReason | None = None
    ) -> TurnResult:
        """The turn's result: the model's answer with our `sentence` below it."""
        late_reasoning, content = split_reasoning("".join(self.text))
        content = content.strip()
        shortened = texts.SHORTENED if self.shortened and content else ""
        summarized = texts.OLDER_SUMMARIZED if self.summarized and content else ""
        parts = ReplyParts(
            notice=self.notice,
            reasoning=self.reasoning.text(late_reasoning, content),
            content=content if outcome is Outcome.ANSWERED else close_marks(content),
            sentences=tuple(
                filter(
                    None, (sentence, shortened, *self.omissions, summarized, *self.budget_notices)
                )
            ),
        )
        return TurnResult(
            outcome=outcome,
            content=content,
            display=parts.markdown(),
            model=self.model,
            finish_reason=self.finish_reason,
            usage=self.usage,
            failure=failure,
            first_token_at=self.first_token_at,
            estimated_tokens=self._measured_estimate(),
            tells_summary=bool(summarized),
            made_with=self.made_with,
        )


def notice_for(claim: Claim) -> str:
    """The sentence above the answer if a question was missed at first, else ""."""
    return texts.MISSED_EARLIER if any(question.late for question in claim.asked) else ""


def result_without_model(claim: Claim, draft: ReplyDraft) -> TurnResult | None:
    """The result of a turn that must not ask the model; None if the turn must ask it."""
    if claim.epoch != claim.conversation.epoch:  # reset while no process held the turn
        return draft.to_result(Outcome.RESET, texts.RESET_MEANWHILE)
    if not claim.asked:
        return draft.to_result(Outcome.STOPPED, texts.QUESTION_DELETED)
    if claim.stopping:
        return draft.to_result(Outcome.STOPPED, texts.STOPPED)
    if claim.lone_deaths >= MAX_LONE_DEATHS:
        return draft.to_result(Outcome.FAILED, texts.GAVE_UP, FailureReason.ENDS_PROCESS)
    if claim.failures >= MAX_FAILURES:
        return draft.to_result(Outcome.FAILED, texts.GAVE_UP, FailureReason.TOO_MANY_ATTEMPTS)
    if all(question.late for question in claim.asked):
        apology = ReplyParts(sentences=(texts.MISSED,)).markdown()
        return TurnResult(
            outcome=Outcome.FAILED, content="", display=apology, failure=FailureReason.MISSED
        )
    has_content = any(question.text or question.has_attachments for question in claim.asked)
    if has_content or claim.has_history:
        return None
    return TurnResult(outcome=Outcome.ANSWERED, content="", display=texts.NO_QUESTION)


def failed_result(draft: ReplyDraft, error: ModelError) -> TurnResult:
    """The result of a model's failure: the text so far, with a sentence about the failure."""
    outcome = Outcome.CUT_OFF if draft.content else Outcome.FAILED
    return draft.to_result(outcome, texts.model_failure(error), error.reason)


def refused_result(draft: ReplyDraft, error: NoBudget, zone: tzinfo | None) -> TurnResult:
    """The result of a request that a budget forbids; `zone` is the time zone of the sentence."""
    is_unknown = isinstance(error, PriceUnknown)
    reason = FailureReason.PRICE_UNKNOWN if is_unknown else FailureReason.BUDGET_SPENT
    outcome = Outcome.CUT_OFF if draft.content else Outcome.FAILED
    return draft.to_result(outcome, spending_texts.refused(error, zone), reason)


def not_allowed_result(draft: ReplyDraft, error: NotAllowed) -> TurnResult:
    """The result if no author may ask, or the platform did not say who they are."""
    if error.unknown:
        return draft.to_result(
            Outcome.FAILED, access_texts.ASKER_UNKNOWN, FailureReason.ASKER_UNKNOWN
        )
    return draft.to_result(Outcome.FAILED, access_texts.NO_LONGER, FailureReason.NOT_ALLOWED)


def interrupted_result(draft: ReplyDraft, reason: Outcome) -> TurnResult:
    """The result after people stopped the turn, reset its conversation or deleted its channel."""
    if reason is Outcome.GONE:
        return draft.to_result(reason)
    if reason is Outcome.RESET:
        return draft.to_result(reason, texts.RESET_MEANWHILE)
    return draft.to_result(reason, texts.STOPPED if draft.content else texts.STOPPED_EARLY)


def completed_result(draft: ReplyDraft) -> TurnResult:
    """The result of a stream that ended without an error, though not always with an answer."""
    if draft.finish_reason == "content_filter":
        return failed_result(draft, ContentRefused())
    if draft.unasked:
        return draft.to_result(Outcome.ANSWERED)
    if not draft.content:
        if draft.finish_reason == "length":
            return draft.to_result(
                Outcome.FAILED, texts.THOUGHT_TOO_LONG, FailureReason.OUTPUT_LIMIT
            )
        return draft.to_result(Outcome.FAILED, texts.EMPTY_ANSWER, FailureReason.EMPTY_ANSWER)
    if draft.finish_reason == "length":
        return draft.to_result(Outcome.ANSWERED, texts.LENGTH_LIMIT)
    return draft.to_result(Outcome.ANSWERED)


def result_to_show(claim: Claim, result: TurnResult) -> TurnResult:
    """`result`, or a sentence in its place if showing it failed too often or kills the process.

    The answer stays in the history, and people can ask for it again.
    """
    fails = claim.failures >= MAX_DISPLAY_FAILURES or claim.lone_deaths >= MAX_LONE_DEATHS
    if not fails or claim.result is None or not result.display:
        return result
    return replace(result, display=cannot_be_shown())


def cannot_be_shown() -> str:
    """The sentence in place of an answer that the platform does not take, as Markdown."""
    return ReplyParts(sentences=(texts.NOT_SHOWN,)).markdown()


def controls_for(result: TurnResult, *, rateable: bool = False) -> tuple[Control, ...]:
    """The buttons of a finished reply. They are part of its last edit and cost no request.

    `rateable`: people may vote here, on replies that have an answer.
    """
    controls = _actions(result)
    shown = result.display and result.outcome not in (Outcome.RESET, Outcome.GONE)
    return (*controls, Control.FEEDBACK) if rateable and result.content and shown else controls


def _actions(result: TurnResult) -> tuple[Control, ...]:
    outcome = result.outcome
    if outcome in (Outcome.RESET, Outcome.GONE) or not result.display:
        return ()
    if not result.content:  # no model was asked, so asking again would give the same hint
        return () if outcome is Outcome.ANSWERED else (Control.RETRY,)
    if outcome is Outcome.ANSWERED and result.finish_reason != "length":
        return (Control.RETRY,)
    return (Control.RETRY, Control.CONTINUE)
