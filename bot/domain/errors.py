"""One error tree. Errors carry data; the sentences that people see are in `bot.domain.texts`.

ThreadlineError
├── SettingsError              a setting is wrong: named, in one line, exit code 2
├── AnswerFailed               a question in a pipe was not answered: exit code 1
├── StoreError                 the database
│   ├── CommandDone            the message that asks for it was taken in before
│   ├── LostOwnership          a newer attempt holds the turn
│   ├── MigrationError         the schema cannot be brought up to date
│   ├── InUse                  another process has the database
│   ├── RecordHeld             a turn holds the record: it cannot be changed so now
│   └── StoreUnavailable       locked, full, read-only or corrupt
├── ModelError                 a language model, translated at the edge of bot.llm
│   ├── RateLimited            too many requests; carries the wait
│   ├── Overloaded             5xx; carries the wait
│   │   ├── ModelLoading       the server is up, and reads the model into memory
│   │   └── Unreachable        no connection; carries the address
│   ├── KeyRefused             401, 403
│   │   └── NoCredit           402: the account is used up
│   ├── UnknownModel           404
│   ├── WrongAddress           what answers is no model server
│   ├── ContextTooLong         the request is longer than the model takes; carries the window
│   ├── ContentRefused         a filter refused the question or the answer
│   ├── CutOff                 the stream ended before the answer did
│   ├── TimedOut               no first token, or none for too long
│   └── ModelFailed            anything else
├── QueueFull                  no more turns may wait
├── TemplateError              a conversation template cannot be read: carries the place
└── PlatformError              a platform, translated at the edge of an adapter
    ├── Throttled              429; carries the wait
    ├── Gone                   the place or the permission is gone: the turn ends
    ├── Unsettled              nobody knows whether the request was carried out
    ├── Refused                the platform will never take this request
    │   └── FilesRefused       the place takes no files, or not this one: text may do
    ├── Down                   the platform's adapter does not run: the turn waits for it
    └── CannotStart            a token, an intent or a scope is missing
"""

from __future__ import annotations

from collections.abc import Sequence


class ThreadlineError(Exception):
    """Everything that Threadline raises by itself."""


class SettingsError(ThreadlineError):
    """A setting is wrong. `setting` is its name in the environment.

    `others` are further wrong settings, each with its problem: people see all of them at once.
    """

    def __init__(
        self, setting: str, problem: str, *, others: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(f"{setting}: {problem}")
        self.setting = setting
        self.problem = problem
        self.problems = ((setting, problem), *others)


class AnswerFailed(ThreadlineError):
    """A question that a program asked through a pipe was not answered, or not to the end."""


class QueueFull(ThreadlineError):
    """No more turns may wait; `own` tells that the person's own questions are the reason."""

    def __init__(self, *, own: bool) -> None:
        super().__init__("too many of one person" if own else "too many of all")
        self.own = own


# ── the store ─────────────────────────────────────────────────────────────────────────────────
class StoreError(ThreadlineError):
    """The database could not do what was asked."""


class CommandDone(StoreError):
    """The message was carried out before, was deleted, or is stored as something else."""


class LostOwnership(StoreError):
    """The turn was claimed anew, or has ended: whoever holds this fence must stop."""


class MigrationError(StoreError):
    """The schema cannot be brought up to date; the message says what to do."""


class InUse(StoreError):
    """Another process has the database; the message says which, and what to do."""


class RecordHeld(StoreError):
    """A turn holds the record; the message is a sentence for people."""


class StoreUnavailable(StoreError):
    """The database is locked, full, read-only or corrupt; the message says which."""


class TemplateError(ThreadlineError):
    """A conversation template cannot be read. `line` and `column` count from 1."""

    def __init__(self, problem: str, *, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.problem, self.line, self.column = problem, line, column


# ── models ────────────────────────────────────────────────────────────────────────────────────
class ModelError(ThreadlineError):
    """A language model failed. `model` is its name; the cause is for the log only.

    `retry_after` is the wait in seconds that the provider asks for, None when it did not say.
    `said` are the provider's own words, for the log only.
    """

    said = ""

    def __init__(
        self, message: str = "", *, model: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.model, self.retry_after = model, retry_after


class RateLimited(ModelError):
    """The provider asks to wait."""


class Overloaded(ModelError):
    """The provider is overloaded."""


class ModelLoading(Overloaded):
    """The server reads the model into memory: it will answer in a while."""


class Unreachable(Overloaded):
    """No connection to the provider. `address` is its host and port."""

    def __init__(
        self,
        message: str = "",
        *,
        model: str = "",
        retry_after: float | None = None,
        address: str = "",
    ) -> None:
        super().__init__(message, model=model, retry_after=retry_after)
        self.address = address


class KeyRefused(ModelError):
    """The provider refused the key."""


class NoCredit(KeyRefused):
    """The account behind the key has no credit left."""


class UnknownModel(ModelError):
    """The provider does not know the model, or the key may not use it."""


class WrongAddress(ModelError):
    """The address answers with something that is no model's answer, such as a web page."""


class ContextTooLong(ModelError):
    """The request is longer than the model takes.

    `window` is what the provider says it takes and `asked` what it counted in the request, both in
    its own tokens; None where it does not say.
    """

    def __init__(
        self,
        message: str = "",
        *,
        model: str = "",
        retry_after: float | None = None,
        window: int | None = None,
        asked: int | None = None,
    ) -> None:
        super().__init__(message, model=model, retry_after=retry_after)
        self.window, self.asked = window, asked


class ContentRefused(ModelError):
    """The provider's filter refused the question or the answer."""


class CutOff(ModelError):
    """The stream ended without a finish reason."""


class TimedOut(ModelError):
    """Nothing came for too long. `started` tells whether some text had come before."""

    def __init__(self, message: str = "", *, model: str = "", started: bool = False) -> None:
        super().__init__(message, model=model)
        self.started = started


class ModelFailed(ModelError):
    """The provider failed in another way."""


# ── platforms ─────────────────────────────────────────────────────────────────────────────────
class PlatformError(ThreadlineError):
    """A platform did not do what was asked."""


class Throttled(PlatformError):
    """The platform answered 429. `retry_after` is in seconds; `scopes` are those it concerns."""

    def __init__(self, retry_after: float, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(f"wait {retry_after} s")
        self.retry_after = retry_after
        self.scopes = scopes


class Gone(PlatformError):
    """The channel, thread, message or permission that the reply needs is gone."""


class Unsettled(PlatformError):
    """A time limit or a lost connection: the request may or may not have been carried out."""


class Refused(PlatformError):
    """The platform will never take this request: sending it again is useless."""


class FilesRefused(Refused):
    """The place takes no files, or not this one: what it holds can still go as text."""


class Down(PlatformError):
    """The adapter of the turn's platform does not run now: its next connection takes it up."""


class CannotStart(PlatformError):
    """The adapter cannot run. The message is one sentence that says what to do."""
