"""Policies from the text of a file, and a directory whose facts a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.config.loader import load
from bot.config.policy_rules import resolve_policy
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.policy import PersonFacts, PersonRef, PlaceFacts, PlaceRef, PolicyConfig, Standing
from bot.domain.spending import Budget
from bot.policy.rules import PolicyRules


def policy_of(folder: Path, toml: str, environ: Mapping[str, str] | None = None) -> PolicyConfig:
    """The policy in a file's text. Raises SettingsError."""
    (folder / "threadline.toml").write_text(toml)
    return resolve_policy(load(environ or {}, folder / ".env"))


class FixedDirectory:
    """Implements `Directory` with `people`, `channels` and `readers`.

    `failing` makes every method raise; `held` people are described once their event is set; `calls`
    names the methods called.
    """

    def __init__(self, *, has_strangers: bool = True) -> None:
        self.has_strangers = has_strangers
        self.people: dict[str, PersonFacts | None] = {}
        self.channels: dict[str, str] = {}
        self.categories: dict[str, tuple[str, str]] = {}
        self.readers: dict[str, set[str]] = {}
        self.nobody: set[str] = set()  # references as written
        self.told: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.failing = False
        self.held: dict[str, asyncio.Event] = {}

    def add(
        self,
        user: str,
        *names: str,
        standing: Standing = Standing.MEMBER,
        admin: bool = False,
        groups: Sequence[str] = (),
    ) -> None:
        """Add a person with the names and ids of their groups."""
        self.people[user] = PersonFacts(
            Author(user, user), standing, frozenset(groups), frozenset(names), admin
        )

    async def place(self, key: ConversationKey) -> PlaceFacts:
        self._call("place")
        category, name = self.categories.get(key.channel, ("", ""))
        return PlaceFacts(key, self.channels.get(key.channel, ""), category, name)

    async def person(self, _key: ConversationKey, author: Author) -> PersonFacts:
        self._call("person")
        if author.id in self.held:
            await self.held[author.id].wait()
        found = self.people.get(author.id, PersonFacts(author))
        if found is None:
            raise Gone(author.id)
        return found

    async def is_stranger(self, _key: ConversationKey, author: Author) -> bool:
        self._call("is_stranger")
        found = self.people.get(author.id, PersonFacts(author))
        if found is None:
            raise Gone(author.id)
        return found.standing is Standing.STRANGER

    async def can_read(self, channel: ConversationKey, user: str) -> bool:
        self._call("can_read")
        return user in self.readers.get(channel.channel, ())

    async def unknown(self, refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        self._call("unknown")
        return [ref.text for ref in refs if ref.text in self.nobody]

    async def tell(self, _key: ConversationKey, author: Author, text: str) -> None:
        self._call("tell")
        self.told.append((author.id, text))

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.failing:
            raise PlatformError(f"{name} fails")


def rules_of(
    folder: Path,
    toml: str,
    directory: FixedDirectory | None = None,
    environ: Mapping[str, str] | None = None,
) -> PolicyRules:
    """The rules in a file's text, with one directory for all platforms."""
    rules = PolicyRules(policy_of(folder, toml, environ))
    rules.connect(lambda _platform: directory)
    return rules


class NoBudgets:
    """Implements `bot.ports.spending.BudgetSource` without any budgets."""

    async def budgets(self, key: ConversationKey, author: Author | None) -> Sequence[Budget]:
        """Returns none."""
        return ()
