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
    """Which messages of a channel are questions."""

    MENTION = "mention"  # those that mention the bot, also in its threads
    THREAD = "thread"  # mentions, and all messages in a thread that the bot answers in
    ALWAYS = "always"  # all messages of people, each answered in a new thread


class Controllers(StrEnum):
    """Who may press the buttons of a reply, and write their words, in a shared thread."""

    PARTICIPANTS = "participants"  # who wrote in the conversation, and administrators
    EVERYONE = "everyone"  # who can see it
    ADMINS = "admins"


class Standing(StrEnum):
    """A person's relation to the workspace."""

    MEMBER = "member"
    GUEST = "guest"  # Slack's single- and multi-channel guests; Discord has none
    STRANGER = "stranger"  # of another organization: Slack Connect


# ── places and people, as the platforms describe them ─────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """A conversation's place. `category` is Discord's; names are "" where they are unknown."""

    key: ConversationKey
    channel_name: str = ""
    category: str = ""  # the id
    category_name: str = ""


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """A person, as the platform describes them at this moment.

    `groups` are the ids of Discord roles or Slack user groups, `group_names` their names or handles
    without "@", casefolded; without `groups_are_known`, the person may be in others as well.
    `is_workspace_admin`: Discord's "Manage Server", Slack's admins and owners.
    """

    author: Author
    standing: Standing = Standing.MEMBER
    groups: frozenset[str] = frozenset()
    group_names: frozenset[str] = frozenset()
    is_workspace_admin: bool = False
    groups_are_known: bool = True


# ── references in the file ────────────────────────────────────────────────────────────────────
class PlaceLevel(IntEnum):
    """How specific a reference to a place is; a higher level wins."""

    ANYWHERE = 0
    PLATFORM = 1
    WORKSPACE = 2
    CATEGORY = 3
    CHANNEL = 4
    THREAD = 5


@dataclass(frozen=True, slots=True)
class PlaceRef:
    """A place in the file, such as `slack:T1/#ops`, `discord:123/456` or `slack`.

    `value` is an id, or a name if `is_name` (without "#", casefolded); "" for platforms and
    workspaces.
    """

    level: PlaceLevel
    platform: str = ""
    workspace: str = ""
    value: str = ""
    is_name: bool = False
    text: str = ""  # as written


class PersonKind(StrEnum):
    """What a reference to people names."""

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
    """People in the file, such as `@oncall`, `role:456`, `user:U1`, `channel:#ops` or `guests`.

    Without `platform` and `workspace` it is about the place where it is applied.
    """

    kind: PersonKind
    value: str = ""
    platform: str = ""
    workspace: str = ""
    text: str = ""  # as written


# ── limits, budgets, privacy ──────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Limits:
    """Fairness between people; None is no limit. Minutes are sliding ones."""

    questions_per_minute: int | None = None  # of one person
    channel_questions_per_minute: int | None = None  # of all people in one channel
    concurrent: int | None = None  # answers of one person that are being written
    channel_concurrent: int | None = None  # answers in one channel that are being written


class Period(StrEnum):
    """The time after which a budget is full again, in the time zone of the settings."""

    DAY = "day"
    MONTH = "month"


class BudgetScope(StrEnum):
    """Whose spending is counted together."""

    PERSON = "person"
    CHANNEL = "channel"
    WORKSPACE = "workspace"
    ALL = "all"  # everyone and everything that the rule applies to


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent in a period: an `amount` of money in `currency`, or tokens, one of them.

    `who` limits it to these people, each with a budget of their own if `scope` is PERSON; empty is
    everyone. `then` is the model that answers once it is spent; "" refuses. `name` identifies the
    budget in the ledger: it stays the same when the amount changes.
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
        """Whether it limits money, not tokens."""
        return self.tokens is None

    @property
    def limit(self) -> int:
        """The most that may be spent, in billionths of a US dollar or in tokens."""
        if self.tokens is not None:
            return self.tokens
        return self.currency.cost_of(self.amount or Decimal(0))


class Redaction(StrEnum):
    """Kinds of text that are replaced before text goes to a model or a log."""

    KEYS = "keys"  # always on
    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"
    IBAN = "iban"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValues:
    """What a profile, a rule or a command says; None: nothing, so that a wider level decides.

    `prompt` is the text, already read from its file. `block` and `budgets` of all levels count;
    everything else counts from the most specific level that has it.
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
    retention_days: int | None = None  # 0 keeps for good
    redact: frozenset[Redaction] | None = None
    feedback: bool | None = None
    instructions: bool | None = None
    share: bool | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the file: `values` apply in the places of `where`. `source` names it for people."""

    where: tuple[PlaceRef, ...]
    values: PolicyValues
    source: str
    profile: str = ""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Everything that `threadline.toml` says about policy; empty without a file."""

    default: PolicyValues = PolicyValues()
    rules: tuple[Rule, ...] = ()
    profiles: Mapping[str, PolicyValues] = field(default_factory=dict)
    currency: Currency = USD  # of budgets, and in which people see what they used

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set, so that no platform needs to be asked about anything."""
        return not self.rules and self.default == PolicyValues()

    @property
    def redactions(self) -> frozenset[Redaction]:
        """Everything that is redacted anywhere."""
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
    """A value that an administrator set by command. `channel` is a key without thread."""

    channel: ConversationKey
    name: OverrideName
    value: str
    set_by: Author
    set_at: float  # Unix seconds


# ── what applies at a place ───────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A value and where it comes from, in words for people: `channel #ops, rule in line 12`."""

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
    UNKNOWN = "unknown"  # the platform did not say who the person is: neither yes nor no


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a person may, and the reason in words for people; "" if nothing forbids it."""

    access: Access
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the answer is yes."""
        return self.access is Access.ALLOWED


ALLOWED = Verdict(Access.ALLOWED)
