"""One error tree. Errors carry data; the sentences that people see are in `bot.domain.texts`.

ThreadlineError
├── SettingsError              a setting is wrong: exit code 2
├── AnswerFailed               a question from a pipe was not answered: exit code 1
├── StoreError                 the database
│   ├── CommandDone            the command's message was handled before
│   ├── LostOwnership          the fence is stale
│   ├── MigrationError         the schema cannot be brought up to date
│   ├── InUse                  another process has the database
│   ├── RecordHeld             a turn is using the record
│   └── StoreUnavailable       locked, full, read-only or corrupt
├── ModelError                 a language model, translated at the edge of bot.llm
│   ├── RateLimited            429; carries the wait
│   ├── Overloaded             5xx; carries the wait
│   │   ├── ModelLoading       the server is still loading the model
│   │   └── Unreachable        no connection; carries the address
│   ├── KeyRefused             401, 403
│   │   └── NoCredit           402
│   ├── UnknownModel           404
│   ├── WrongAddress           the server at that address is not a model server
│   ├── ContextTooLong         the request exceeds the context window; carries the window
│   ├── ContentRefused         a content filter
│   ├── CannotSee              the model takes no images
│   ├── ImageRefused           this image, or the number of images; carries the limit
│   ├── CutOff                 the stream ended early
│   ├── TimedOut               no first token, or no further token, in time
│   └── ModelFailed            anything else
├── AttachmentError            a file or link cannot be used; carries the reason, and the wait
├── QueueFull                  too many turns are waiting
├── NoBudget                   a request must not be sent; carries the budget
│   ├── BudgetSpent            the budget is used up until its period ends
│   ├── BudgetHeld             the rest is reserved by requests that run: wait for them
│   └── PriceUnknown           the budget is one of money, and a model has no known price
├── NoFile                     a command's file cannot be made; carries the sentence for people
├── TooEarly                   a person has had the same a short while ago; carries the wait
├── NotAllowed                 no author of a turn's questions may ask
├── TemplateError              a conversation template has a syntax error; carries its position
└── PlatformError              a platform, translated at the edge of an adapter; carries the code
    ├── Throttled              429; carries the wait
    ├── Gone                   the channel, message or permission is gone: the turn ends
    ├── Unsettled              it is unknown whether the request was executed
    ├── Refused                the platform will never accept this request
    │   └── FilesRefused       the channel does not accept the file: text may work
    ├── Down                   the platform's adapter is not running: the turn waits for it
    └── CannotStart            a token, an intent or a scope is missing
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

from bot.domain.attachments import Omission
from bot.domain.failures import FailureReason
from bot.domain.spending import BudgetLine


class ThreadlineError(Exception):
    """Base class of Threadline's own errors."""


class SettingsError(ThreadlineError):
    """A setting is wrong. `setting` is its name in the environment.

    `others` lists further wrong settings with their problems, so that one start reports all of
    them.
    """

    def __init__(
        self, setting: str, problem: str, *, others: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(f"{setting}: {problem}")
        self.setting = setting
        self.problem = problem
        self.problems = ((setting, problem), *others)


class AnswerFailed(ThreadlineError):
    """A question from a pipe got no complete answer."""


class AttachmentError(ThreadlineError):
    """A file or link cannot be used, because of `omission`.

    `retry_after` is the number of seconds after which another attempt may succeed; None if none
    will.
    """

    def __init__(
        self, omission: Omission, detail: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{omission.value}: {detail}" if detail else omission.value)
        self.omission, self.retry_after = omission, retry_after


class QueueFull(ThreadlineError):
    """Too many turns are waiting. `own` is set if the person has reached their own limit."""

    def __init__(self, *, own: bool) -> None:
        super().__init__("too many turns of one person wait" if own else "too many turns wait")
        self.own = own


class NoFile(ThreadlineError):
    """A command's file cannot be made; `sentence` tells the person why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class TooEarly(ThreadlineError):
    """The person did this a short while ago, and may do it again in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:.0f} s")
        self.seconds = seconds


class NoBudget(ThreadlineError):
    """A request must not be sent because the budget of `line` does not allow it."""

    def __init__(self, line: BudgetLine) -> None:
        super().__init__(f"budget {line.budget.name} of {line.account} in {line.period.name}")
        self.line = line


class BudgetSpent(NoBudget):
    """The budget is used up until its period ends."""


class BudgetHeld(NoBudget):
    """The rest of the budget is reserved for requests that are currently running."""


class PriceUnknown(NoBudget):
    """The budget limits money, and the prices of `models` are unknown."""

    def __init__(self, line: BudgetLine, models: Sequence[str]) -> None:
        super().__init__(line)
        self.models = models


class NotAllowed(ThreadlineError):
    """No author of the turn's questions may ask. `unknown`: the platform did not say who they
    are."""

    def __init__(self, *, unknown: bool) -> None:
        super().__init__("the authors are unknown" if unknown else "the authors may not ask")
        self.unknown = unknown


# ── the store ─────────────────────────────────────────────────────────────────────────────────
class StoreError(ThreadlineError):
    """The database did not execute an operation."""


class CommandDone(StoreError):
    """The command's message was already executed or deleted, or is stored as a question."""


class LostOwnership(StoreError):
    """The fence is stale: the turn was claimed again, was reopened, or has ended."""


class MigrationError(StoreError):
    """The schema cannot be brought up to date. The message says what to do."""


class InUse(StoreError):
    """Another process has the database open. The message says which one, and what to do."""


class RecordHeld(StoreError):
    """A turn is using the record. The message is a sentence for people."""


class StoreUnavailable(StoreError):
    """The database is locked, full, read-only, corrupt or closed. The message says which.

    `code` is SQLite's primary result code or PostgreSQL's SQLSTATE, None if the database reported
    none.
    """

    def __init__(self, message: str, *, code: int | str | None = None) -> None:
        super().__init__(message)
        self.code = code


class TemplateError(ThreadlineError):
    """A conversation template has a syntax error. `line` and `column` count from 1."""

    def __init__(self, problem: str, *, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.problem, self.line, self.column = problem, line, column


# ── models ────────────────────────────────────────────────────────────────────────────────────
@dataclass(eq=False)
class ModelError(ThreadlineError):
    """A language model failed. `model` is its name.

    `retry_after` is the wait in seconds that the provider asked for, or None. `reason` is stored
    with the turn's result. `provider_message` is the provider's own text, for the log only.
    """

    reason: ClassVar[FailureReason] = FailureReason.MODEL_FAILED
    message: str = ""
    _: KW_ONLY
    model: str = ""
    retry_after: float | None = None
    provider_message: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        super().__init__(self.message)


class RateLimited(ModelError):
    """The account sends too many requests."""

    reason = FailureReason.RATE_LIMITED


class Overloaded(ModelError):
    """The provider is overloaded."""

    reason = FailureReason.OVERLOADED


class ModelLoading(Overloaded):
    """The server is still loading the model."""

    reason = FailureReason.MODEL_LOADING


@dataclass(eq=False, kw_only=True)
class Unreachable(Overloaded):
    """The bot cannot connect to the provider. `address` is its host and port.

    `certificate` says why the server's certificate is not trusted; it is empty if that was not the
    problem.
    """

    reason = FailureReason.UNREACHABLE
    address: str = ""
    certificate: str = ""


class KeyRefused(ModelError):
    """The provider refused the key."""

    reason = FailureReason.KEY_REFUSED


class NoCredit(KeyRefused):
    """The account behind the key has no credit left."""

    reason = FailureReason.NO_CREDIT


class UnknownModel(ModelError):
    """The provider does not have the model, or the key may not use it."""

    reason = FailureReason.UNKNOWN_MODEL


class WrongAddress(ModelError):
    """The address does not belong to a model server; it may serve a web page, for example."""

    reason = FailureReason.WRONG_ADDRESS


@dataclass(eq=False, kw_only=True)
class ContextTooLong(ModelError):
    """The request exceeds the model's context window.

    `window` (the context window) and `asked` (the request's size) are in tokens as the provider
    counts them; None if it does not say.
    """

    reason = FailureReason.CONTEXT_TOO_LONG
    window: int | None = None
    asked: int | None = None


class ContentRefused(ModelError):
    """The provider's content filter rejected the question or the answer."""

    reason = FailureReason.CONTENT_REFUSED


class CannotSee(ModelError):
    """The model does not accept images; it may answer the same request without them."""

    reason = FailureReason.CANNOT_SEE


@dataclass(eq=False, kw_only=True)
class ImageRefused(ModelError):
    """The server rejected an image of the request; it may answer without the image.

    `limit` is the most images that it accepts in one request, None if the reason was another.
    """

    reason = FailureReason.IMAGE_REFUSED
    limit: int | None = None


class CutOff(ModelError):
    """The stream ended without a finish reason."""

    reason = FailureReason.CUT_OFF


@dataclass(eq=False, kw_only=True)
class TimedOut(ModelError):
    """No token arrived in time. `started` is set if some text had arrived before."""

    reason = FailureReason.TIMED_OUT
    started: bool = False


class ModelFailed(ModelError):
    """The provider failed for any other reason."""


# ── platforms ─────────────────────────────────────────────────────────────────────────────────
class PlatformError(ThreadlineError):
    """A request to a platform failed.

    `code` is the platform's own error code: Discord's JSON error code in decimal digits, or the
    `error` field of Slack's Web API. "" if the platform sent none.
    """

    def __init__(self, message: str = "", *, code: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class Throttled(PlatformError):
    """HTTP 429. `retry_after` is in seconds; `scopes` are the exhausted rate limits."""

    def __init__(self, retry_after: float, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(f"wait {retry_after} s")
        self.retry_after = retry_after
        self.scopes = scopes


class Gone(PlatformError):
    """The channel, thread, message or permission that a request needs no longer exists."""


class Unsettled(PlatformError):
    """A timeout or lost connection: the platform may or may not have executed the request."""


class Refused(PlatformError):
    """The platform will never accept this request; do not send it again."""


class FilesRefused(Refused):
    """The channel does not accept files, or not this one; the content can be sent as text."""


class Down(PlatformError):
    """The adapter of the turn's platform is not running; the turn resumes once it reconnects."""


class CannotStart(PlatformError):
    """The adapter cannot start. The message says in one sentence what to do."""
