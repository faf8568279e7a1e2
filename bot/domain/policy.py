"""Policy: places, people, and what the rules of `threadline.toml` say about them.

Values are resolved from the most specific to the most general: the conversation (`/model`), its
thread, channel, category, workspace, platform, and the default. Within one level a value that an
administrator set by command wins over the file, and a later rule over an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Generic, TypeVar

from bot.domain.conversations import Author, ConversationKey, Effort
from bot.domain.money import USD, Currency

T = TypeVar("T")


class AnswerMode(StrEnum):
    """Which messages of a channel count as questions."""

    MENTION = "mention"  # only mentions of the bot, including in its threads
    THREAD = "thread"  # mentions, and all messages in a thread in which the bot answers
    ALWAYS = "always"  # all messages by people; each is answered in a new thread


class Controllers(StrEnum):
    """Who may press the buttons of a reply, or write their command words, in a shared thread."""

    PARTICIPANTS = "participants"  # people who wrote in the conversation, and administrators
    EVERYONE = "everyone"  # everyone who can see it
    ADMINS = "admins"


class Standing(StrEnum):
    """A person's relation to the workspace."""

    MEMBER = "member"
    GUEST = "guest"  # Slack's single- and multi-channel guests; Discord has none
    STRANGER = "stranger"  # from another organization (Slack Connect)


# ── places and people, as the platforms describe them ─────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """The place of a conversation. `category` is Discord's; a name is "" if unknown."""

    key: ConversationKey
    channel_name: str = ""
    category: str = ""  # the id
    category_name: str = ""


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """A person, as the platform currently describes them.

    `groups` are the ids of Discord roles or Slack user groups; `group_names` are their names or
    handles without "@", casefolded. Unless `groups_are_known`, the person may be in further groups.
    `is_workspace_admin` means "Manage Server" on Discord, an admin or owner on Slack.
    """

    author: Author
    standing: Standing = Standing.MEMBER
    groups: frozenset[str] = frozenset()
    group_names: frozenset[str] = frozenset()
    is_workspace_admin: bool = False
    groups_are_known: bool = True


# ── references in the file ────────────────────────────────────────────────────────────────────
class PlaceLevel(IntEnum):
    """How specific a reference to a place is; higher levels win."""

    ANYWHERE = 0
    PLATFORM = 1
    WORKSPACE = 2
    CATEGORY = 3
    CHANNEL = 4
    THREAD = 5


@dataclass(frozen=True, slots=True)
class PlaceRef:
    """A place as written in the file, such as `slack:T1/#ops`, `discord:123/456` or `slack`.

    `value` is an id, or a name if `is_name` is set (without "#", casefolded); "" for platforms and
    workspaces.
    """

    level: PlaceLevel
    platform: str = ""
    workspace: str = ""
    value: str = ""
    is_name: bool = False
    text: str = ""  # as written


class PersonKind(StrEnum):
    """What a reference to people refers to."""

    USER = "user"  # an id
    GROUP = "group"  # the id of a role or user group
    NAME = "name"  # "@oncall": a role, or a user group's handle
    CHANNEL = "channel"  # everyone who can read that channel
    GUESTS = "guests"
    STRANGERS = "strangers"
    MEMBERS = "members"
    EVERYONE = "everyone"
    WORKSPACE_ADMINS = "workspace-admins"


@dataclass(frozen=True, slots=True)
class PersonRef:
    """People as written in the file, such as `@oncall`, `role:456`, `user:U1`, `channel:#ops` or
    `guests`.

    Without `platform` and `workspace`, the reference applies to the place where it is evaluated.
    """

    kind: PersonKind
    value: str = ""
    platform: str = ""
    workspace: str = ""
    text: str = ""  # as written


# ── limits, budgets, privacy ──────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that keep usage fair between people; None means no limit. Minutes are sliding
    windows."""

    questions_per_minute: int | None = None  # of one person
    channel_questions_per_minute: int | None = None  # of all people in one channel
    concurrent: int | None = None  # answers being written for one person
    channel_concurrent: int | None = None  # answers being written in one channel


class Period(StrEnum):
    """The period after which a budget is renewed, in the configured time zone."""

    DAY = "day"
    MONTH = "month"


class BudgetScope(StrEnum):
    """Whose spending is added up in one account."""

    PERSON = "person"
    CHANNEL = "channel"
    WORKSPACE = "workspace"
    ALL = "all"  # everyone and everything that the rule applies to


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent in a period: either an `amount` of money in `currency`, or tokens.

    `who` restricts the budget to these people; empty means everyone. If `scope` is PERSON, each of
    them has a separate budget. Once it is spent, the model `then` answers; "" refuses the question.
    `name` identifies the budget in the ledger and stays the same when the amount changes.
    """

    name: str
    scope: BudgetScope
    period: Period
    amount: Decimal | None = None
    currency: Currency = USD
    tokens: int | None = None
    who: tuple[PersonRef, ...] = ()
    then: str = ""

    @property
    def in_money(self) -> bool:
        """Whether the budget limits money rather than tokens."""
        return self.tokens is None

    @property
    def limit(self) -> int:
        """The most that may be spent, in billionths of a US dollar or in tokens."""
        if self.tokens is not None:
            return self.tokens
        return self.currency.cost_of(self.amount or Decimal(0))


class Redaction(StrEnum):
    """Kinds of text that are redacted before text goes to a model or a log."""

    KEYS = "keys"  # always on
    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValues:
    """The values that a profile, rule or command sets; None leaves the decision to a wider level.

    `prompt` is the text, already read from its file. `block` and `budgets` accumulate over all
    levels; for every other field, the most specific level that sets it wins.
    """

    model: str | None = None
    effort: Effort | None = None
    prompt: str | None = None
    temperature: float | None = None
    answers: AnswerMode | None = None
    controls: Controllers | None = None
    allow: tuple[PersonRef, ...] | None = None
    block: tuple[PersonRef, ...] = ()
    admins: tuple[PersonRef, ...] = ()
    limits: Limits | None = None
    budgets: tuple[Budget, ...] = ()
    retention_days: int | None = None  # 0 keeps conversations indefinitely
    redact: frozenset[Redaction] | None = None
    feedback: bool | None = None
    instructions: bool | None = None
    share: bool | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the file: `values` apply in the places `where`. `source` names the rule for
    people."""

    where: tuple[PlaceRef, ...]
    values: PolicyValues
    source: str
    profile: str = ""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Everything that `threadline.toml` says about policy; empty if there is no file."""

    default: PolicyValues = PolicyValues()
    rules: tuple[Rule, ...] = ()
    profiles: Mapping[str, PolicyValues] = field(default_factory=dict)
    currency: Currency = USD  # of budgets, and of the amounts shown to people

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set; then there is no need to query the platforms."""
        return not self.rules and self.default == PolicyValues()

    @property
    def redactions(self) -> frozenset[Redaction]:
        """Every kind of redaction that applies in any place."""
        everywhere = (self.default, *self.profiles.values(), *(rule.values for rule in self.rules))
        return frozenset().union(*(values.redact or () for values in everywhere))


class OverrideName(StrEnum):
    """A value that administrators can set for a channel by command."""

    MODEL = "model"
    EFFORT = "effort"
    PROMPT = "prompt"
    ANSWERS = "answers"
    CONTROLS = "controls"


@dataclass(frozen=True, slots=True)
class Override:
    """A value that an administrator set by command. `channel` is a key without a thread."""

    channel: ConversationKey
    name: OverrideName
    value: str
    set_by: Author
    set_at: float  # Unix seconds


# ── what applies at a place ───────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A value and its source, in words for people: `channel #ops, rule in line 12`."""

    value: T
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """The policy of one place, each value with its source."""

    model: Resolved[str | None]
    effort: Resolved[Effort | None]
    prompt: Resolved[str | None]  # None: SYSTEM_PROMPT
    temperature: Resolved[float | None]
    answers: Resolved[AnswerMode]
    controls: Resolved[Controllers]
    allow: Resolved[tuple[PersonRef, ...] | None]  # None: members and guests, no strangers
    block: tuple[Resolved[tuple[PersonRef, ...]], ...] = ()
    admins: tuple[PersonRef, ...] = ()
    limits: Resolved[Limits]
    budgets: tuple[Resolved[Budget], ...] = ()
    retention_days: Resolved[int]
    redact: Resolved[frozenset[Redaction]]
    feedback: Resolved[bool]
    instructions: Resolved[bool]  # whether people may give a thread instructions and a temperature
    share: Resolved[bool]
    profile: str = ""


class Access(StrEnum):
    """The answer to "may this person do this here?"."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # the platform did not say who the person is, so there is no answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a person may do something, and the reason in words for people; "" if nothing forbids
    it."""

    access: Access
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the answer is yes."""
        return self.access is Access.ALLOWED


ALLOWED = Verdict(Access.ALLOWED)
