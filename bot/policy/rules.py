"""Applies the rules to places and people: implements `bot.ports.policy.Policy`.

Invariants: platforms are only queried for facts that a rule needs. A fact that a platform does not
return within `DIRECTORY_SECONDS` is unknown, and an unknown fact lets no one in.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog
from cachetools import LRUCache

from bot.domain import policy_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.policy import (
    ALLOWED,
    Access,
    AnswerMode,
    Controllers,
    EffectivePolicy,
    Override,
    OverrideName,
    PersonFacts,
    PersonRef,
    PlaceFacts,
    PolicyConfig,
    Verdict,
)
from bot.domain.privacy import ERASED, Person
from bot.policy.people import Purpose
from bot.policy.person import KnownNames, PersonAt
from bot.policy.resolver import RuleIndex, resolve
from bot.policy.verdicts import judge, refused
from bot.ports.policy import Directory

log = structlog.stdlib.get_logger(__name__)

DIRECTORY_SECONDS = 2.0
"""The longest wait for all facts of one decision; Slack expects a response within 3 s."""

MAX_PLACES = 20_000
"""The most places whose policy is cached, at a few hundred bytes each."""

_Channel = tuple[str, str, str]
_Place = tuple[str, str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Description:
    """A person as the platform describes them (None if no rule needed this), and the references in
    the rules that match them."""

    facts: PersonFacts | None
    groups: Sequence[PersonRef]


class PolicyRules:
    """Implements `Policy`; `connect` provides the directories of the platforms.

    On the platforms in `calm`, replies have no vote buttons unless the file enables them. `changed`
    is called after a change by command, which the other processes have to load.
    """

    def __init__(
        self,
        config: PolicyConfig | None = None,
        *,
        calm: frozenset[str] = frozenset(),
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._changed = changed
        self._calm = calm
        self._index = RuleIndex(config or PolicyConfig())
        self._directory_of: Callable[[str], Directory | None] = lambda _platform: None
        self._overrides: dict[_Channel, tuple[Override, ...]] = {}
        self._effective: LRUCache[_Place, EffectivePolicy] = LRUCache(MAX_PLACES)
        self._places: LRUCache[_Channel, PlaceFacts] = LRUCache(MAX_PLACES)
        self._listens: LRUCache[tuple[_Channel, str], bool] = LRUCache(MAX_PLACES)
        self._names = KnownNames()

    # ── changes ───────────────────────────────────────────────────────────────────────────────
    def connect(self, directory_of: Callable[[str], Directory | None]) -> None:
        """Set the function that finds a platform's directory by name."""
        self._directory_of = directory_of

    @property
    def config(self) -> PolicyConfig:
        """The rules in effect."""
        return self._index.config

    async def reload(self, config: PolicyConfig) -> None:
        """Apply `config` from now on."""
        self._index = await asyncio.to_thread(RuleIndex, config)
        self._forget()

    def set_overrides(self, overrides: Iterable[Override]) -> None:
        """Load the overrides of all channels."""
        found: dict[_Channel, list[Override]] = defaultdict(list)
        for override in overrides:
            found[_channel(override.channel)].append(override)
        self._overrides = {channel: tuple(each) for channel, each in found.items()}
        self._forget()

    def override(self, channel: ConversationKey, name: OverrideName, new: Override | None) -> None:
        """Record that an administrator set an override of a channel, or removed it (None)."""
        place = _channel(channel)
        kept = [each for each in self._overrides.get(place, ()) if each.name is not name]
        self._overrides[place] = (*kept, new) if new is not None else tuple(kept)
        self._forget()
        self._changed()

    def forget_person(self, person: Person) -> None:
        """Update the cache after the person's erasure, because `/why` and `/channel` show who set a
        value."""
        known = [each for overrides in self._overrides.values() for each in overrides]
        own = (person.platform, person.id)  # the person's workspace on the page
        self.set_overrides(
            _without(each, person)
            for each in known
            if (each.channel.platform, each.channel.workspace) != own
        )
        self._changed()

    def overrides_of(self, channel: ConversationKey) -> Sequence[Override]:
        """The overrides that administrators have set for a channel."""
        return self._overrides.get(_channel(channel), ())

    def _forget(self) -> None:
        self._effective.clear()
        self._listens.clear()

    # ── places ────────────────────────────────────────────────────────────────────────────────
    def listens(self, key: ConversationKey, category: str = "") -> bool:
        """See the port. True if the answer depends on a name that is still unknown."""
        place = (_channel(key), category)
        known = self._listens.get(place)
        if known is None:
            known = self._listens[place] = self._may_listen(key, category)
        return known

    def _may_listen(self, key: ConversationKey, category: str) -> bool:
        if not self._index.has_always and not self._overrides.get(_channel(key)):
            return False
        if self._index.named_may_be_always(key):
            return True
        policy = self._policy_at(PlaceFacts(replace(key, thread=""), category=category))
        return policy.answers.value is AnswerMode.ALWAYS

    async def effective(self, key: ConversationKey) -> EffectivePolicy:
        """See the port. If the platform does not answer, the last known facts about the place
        apply."""
        return await self._effective_until(key, _deadline())

    def assigned(self, key: ConversationKey) -> str | None:
        """The model assigned to a place, judged without querying the platform; None means the
        default."""
        known = self._places.get(_channel(key), PlaceFacts(key))
        return self._policy_at(replace(known, key=key)).model.value

    async def _effective_until(self, key: ConversationKey, until: float) -> EffectivePolicy:
        try:
            facts = await self._facts(key, until)
        except (PlatformError, TimeoutError) as error:
            log.warning("the platform did not describe a place", error=repr(error))
            facts = replace(self._places.get(_channel(key), PlaceFacts(key)), key=key)
        return self._policy_at(facts)

    async def retention_days(self, key: ConversationKey) -> int | None:
        """How many days a place keeps messages; 0 means indefinitely.

        None if the platform does not describe the place now: an erasure cannot be undone, so a
        wider rule must not replace a rule that refers to the place by name.
        """
        try:
            facts = await self._facts(key, _deadline())
        except Gone:  # the channel was deleted, so the last known facts apply
            facts = replace(self._places.get(_channel(key), PlaceFacts(key)), key=key)
        except (PlatformError, TimeoutError):
            return None
        return self._policy_at(facts).retention_days.value

    async def _facts(self, key: ConversationKey, until: float) -> PlaceFacts:
        """The place, with its names if a rule needs them. Raises PlatformError or TimeoutError."""
        if not self._index.needs_names(key):
            return PlaceFacts(key)
        directory = self._directory_of(key.platform)
        if directory is None:
            raise PlatformError(f"{key.platform} has no directory")
        async with asyncio.timeout_at(until):
            facts = await directory.place(key)
        self._places[_channel(key)] = facts
        return facts

    def _policy_at(self, facts: PlaceFacts) -> EffectivePolicy:
        key = facts.key
        thread = key.thread if self._index.has_threads(key) else ""
        names = (facts.channel_name, facts.category, facts.category_name)
        place = (*_channel(key), thread, *names)
        found = self._effective.get(place)
        if found is None:
            layers = self._index.layers(facts, self._overrides.get(_channel(key), ()))
            found = self._effective[place] = resolve(
                layers, feedback=key.platform not in self._calm
            )
        return found

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def may_ask(self, key: ConversationKey, author: Author) -> Verdict:
        """See the port."""
        return await self._may_ask_until(key, author, _deadline())

    async def _may_ask_until(self, key: ConversationKey, author: Author, until: float) -> Verdict:
        try:
            facts = await self._facts(key, until)
        except (PlatformError, TimeoutError) as error:
            log.warning("the platform did not describe a place", error=repr(error))
            return Verdict(Access.UNKNOWN, policy_texts.PLACE_UNKNOWN)
        policy, person = self._policy_at(facts), self._person(key, author)
        return await _within(judge(policy, person), until)

    async def may_control(
        self, key: ConversationKey, author: Author, *, took_part: bool
    ) -> Verdict:
        """See the port. Administrators may always control, even where they may not ask."""
        until = _deadline()
        verdict = await self._may_ask_until(key, author, until)
        controls = (await self._effective_until(key, until)).controls
        if verdict.allowed and (
            controls.value is Controllers.EVERYONE
            or (controls.value is Controllers.PARTICIPANTS and took_part)
        ):
            return ALLOWED
        is_admin = await self._is_admin(key, author, until)
        if is_admin:
            return ALLOWED
        if not verdict.allowed:
            return verdict
        if is_admin is None:
            return Verdict(Access.UNKNOWN, policy_texts.DIRECTORY_SILENT)
        only_admins = controls.value is Controllers.ADMINS
        return refused(
            policy_texts.ADMINS_ONLY if only_admins else policy_texts.NOT_YOURS, controls.source
        )

    async def is_admin(self, key: ConversationKey, author: Author) -> bool:
        """See the port."""
        return bool(await self._is_admin(key, author, _deadline()))

    async def _is_admin(self, key: ConversationKey, author: Author, until: float) -> bool | None:
        """Whether the person is an administrator; None if unknown. Administrators belong to a
        workspace, so the name of the place does not matter."""
        admins = self._policy_at(PlaceFacts(key)).admins
        if not admins:
            return False
        person = self._person(key, author)
        try:
            async with asyncio.timeout_at(until):
                found = await person.is_one_of(admins, Purpose.ALLOW)
        except TimeoutError:
            return None
        return False if person.is_gone else found

    async def describe(
        self, key: ConversationKey, author: Author, refs: Sequence[PersonRef]
    ) -> Description:
        """Describe the person at this place, and find which of `refs` match them."""
        person, groups = self._person(key, author), []
        with suppress(TimeoutError):
            async with asyncio.timeout(DIRECTORY_SECONDS):
                for ref in refs:
                    if await person.is_one_of([ref], Purpose.BLOCK):  # membership alone decides
                        groups.append(ref)
        return Description(person.facts, groups)

    async def is_one_of(
        self, key: ConversationKey, author: Author, refs: Sequence[PersonRef]
    ) -> bool | None:
        """Whether one of `refs` matches the person by membership alone; None if unknown."""
        try:
            async with asyncio.timeout(DIRECTORY_SECONDS):
                return await self._person(key, author).is_one_of(refs, Purpose.BLOCK)
        except TimeoutError:
            return None

    def _person(self, key: ConversationKey, author: Author) -> PersonAt:
        return PersonAt(self._directory_of(key.platform), key, author, self._names)


def _deadline() -> float:
    """The latest end of a decision that begins now, in the event loop's time."""
    return asyncio.get_running_loop().time() + DIRECTORY_SECONDS


async def _within(judging: Coroutine[Any, Any, Verdict], until: float) -> Verdict:
    """Await the verdict; unknown if the platform takes too long."""
    try:
        async with asyncio.timeout_at(until):
            return await judging
    except TimeoutError:
        return Verdict(Access.UNKNOWN, policy_texts.DIRECTORY_SILENT)


def _channel(key: ConversationKey) -> _Channel:
    return key.platform, key.workspace, key.channel


def _without(override: Override, person: Person) -> Override:
    channel = override.channel
    is_theirs = override.set_by.id == person.id and channel.platform == person.platform
    if is_theirs and person.covers(channel.workspace):
        return replace(override, set_by=Author(ERASED, ""))
    return override
