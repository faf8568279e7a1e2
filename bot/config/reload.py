"""Applies changes of `threadline.toml`, `.env` and the prompt files while the bot runs.

Invariant: only complete and valid files replace the configuration. After any other change the
previous configuration stays, and one log line says why.

Editors replace, truncate or delete a file while they save it. So a change counts once two
successive checks agree, and a file that becomes missing or empty counts as a mistake: the bot
continues with its previous contents. Only a restart runs without the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog

from bot.config.consistency import require_consistent
from bot.config.models import resolve
from bot.config.policy_rules import resolve_policy
from bot.config.problems import raise_any, require_all
from bot.config.providers import ModelsConfig
from bot.config.settings import Settings
from bot.domain import http_texts
from bot.domain.errors import SettingsError
from bot.domain.health import Health
from bot.domain.policy import PolicyConfig
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 2.0
"""Seconds between two checks of the files. A change takes effect after one or two of them."""

Fingerprint = tuple[int, int, int] | None
"""The modification time in ns, size and inode of a file; None if it is missing."""


InBackground = Callable[..., Awaitable[Any]]
"""Calls a function with arguments without blocking the event loop, like `asyncio.to_thread`."""


class ReloadablePolicy(Protocol):
    """An object that uses the rules; `bot.policy.rules.PolicyRules` implements it."""

    async def reload(self, config: PolicyConfig) -> None:
        """Use `config` from now on."""
        ...


class Reloadable(Protocol):
    """An object that uses the configuration; `bot.llm.registry.ModelRegistry` implements it."""

    async def reload(self, config: ModelsConfig) -> None:
        """Use `config` from now on. If that fails, raises SettingsError and changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The source from which settings can be read again.

    `load` raises SettingsError. `redact` keeps values out of the log.
    """

    load: Callable[[], Settings]
    redact: Callable[[Iterable[str]], None]


class ConfigWatcher:
    """Watches the files of `settings`, which `target` and `policy` currently use.

    `changed` is called after `target` has received another configuration. `in_background` runs a
    function that takes up to a second if there are thousands of rules.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        source: ConfigSource,
        target: Reloadable,
        clock: Clock,
        policy: ReloadablePolicy | None = None,
        changed: Callable[[], None] = lambda: None,
        in_background: InBackground = asyncio.to_thread,
    ) -> None:
        self._source, self._target, self._clock = source, target, clock
        self._policy, self._in_background, self._changed = policy, in_background, changed
        self._config, self._rules = resolve(settings), resolve_policy(settings)
        self._paths = settings.files
        self._filled = _filled(settings)
        # Nothing counts as seen, because the files may have changed since `settings` was loaded.
        self._seen: Sequence[Fingerprint] | None = None
        self._pending: Sequence[Fingerprint] | None = None
        self._asked = False
        self._problems: Sequence[tuple[str, str]] = ()

    async def run(self) -> None:
        """Check the files until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    def ask(self) -> None:
        """Read the files at the next check, whether they have changed or not."""
        self._asked = True

    def health(self) -> Health:
        """Always healthy, even if the files are invalid: a restart would only stop the bot."""
        details = {"kept": http_texts.CONFIGURATION_KEPT} if self._problems else {}
        return Health(ok=True, details=details)

    async def look(self) -> None:
        """Read the files if they have changed, but not since the previous check."""
        now = [_fingerprint(path) for path in self._paths]
        if not self._asked:
            if now == self._seen:
                self._pending = None
                return
            if now != self._pending:
                self._pending = now
                return
        self._seen, self._pending, self._asked = now, None, False
        try:
            await self._reload()
        except SettingsError as error:
            self._keep(error.problems)

    async def _reload(self) -> None:
        settings: Settings = await self._in_background(self._source.load)
        self._source.redact(settings.secrets())
        self._watch(settings)
        self._require_contents(settings.files)
        config, rules = await self._in_background(_resolve_all, settings)
        if self._seen != [_fingerprint(path) for path in self._paths]:
            self._seen = None  # read while it was being written: the next checks decide
            return
        await self._apply(config, rules)
        seen = dict(zip(self._paths, self._seen, strict=True))
        self._paths = settings.files
        self._seen = [seen[path] for path in self._paths]
        self._filled = _filled(settings)

    def _require_contents(self, paths: Sequence[Path]) -> None:
        """Raise SettingsError for files that had contents before and are now missing or empty."""
        lost = [path for path in paths if path in self._filled and _size(_fingerprint(path)) == 0]
        raise_any((str(path), "the file is missing or empty") for path in sorted(lost))

    def _watch(self, settings: Settings) -> None:
        """Also watch the files that an invalid configuration names: one of them may be the missing
        one."""
        new = [path for path in settings.files if path not in self._paths]
        self._paths = (*self._paths, *new)
        self._seen = [*(self._seen or ()), *map(_fingerprint, new)]

    async def _apply(self, config: ModelsConfig, rules: PolicyConfig) -> None:
        changed, was_wrong = config != self._config, bool(self._problems)
        if changed:
            await self._target.reload(config)
            self._config = config
        if rules != self._rules and self._policy is not None:
            await self._policy.reload(rules)
            self._rules, changed = rules, True
        self._problems = ()
        if changed:
            model, choices = ",".join(config.chain), ",".join(config.choices)
            log.info("the configuration was reloaded", model=model, choices=choices)
            self._changed()
        elif was_wrong:
            log.info("the configuration is valid again, and unchanged")

    def _keep(self, problems: Sequence[tuple[str, str]]) -> None:
        """Report the problems, unless the previous check found the same ones."""
        if tuple(problems) == tuple(self._problems):
            return
        self._problems = tuple(problems)
        why = "; ".join(f"{setting}: {problem}" for setting, problem in problems)
        log.warning("the configuration is invalid: the previous one stays in effect", why=why)


def _filled(settings: Settings) -> set[Path]:
    """The settings files that have contents. A prompt file may be removed with its profile."""
    prompts = settings.file.prompt_paths()
    return {
        path for path in settings.files if path not in prompts and _size(_fingerprint(path)) > 0
    }


def _resolve_all(settings: Settings) -> tuple[ModelsConfig, PolicyConfig]:
    """Resolve both parts. Raises one SettingsError for the problems of both."""
    configs: list[ModelsConfig] = []
    policies: list[PolicyConfig] = []
    require_all(
        partial(require_consistent, settings),
        lambda: configs.append(resolve(settings)),
        lambda: policies.append(resolve_policy(settings)),
    )
    return configs[0], policies[0]


def _fingerprint(path: Path) -> Fingerprint:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _size(fingerprint: Fingerprint) -> int:
    return 0 if fingerprint is None else fingerprint[1]
