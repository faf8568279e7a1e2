"""Changes of the configuration files reach the models; wrong and half-written files do not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing
from structlog.typing import EventDict

from bot.config.loader import load
from bot.config.providers import ModelsConfig
from bot.config.reload import LOOK_SECONDS, ConfigSource, ConfigWatcher
from bot.config.settings import Settings
from bot.domain.errors import SettingsError
from bot.domain.policy import PolicyConfig
from tests.support.clock import ManualClock

FIRST = 'llm = ["ollama/first"]\nchoices = ["echo"]\n'
SECOND = 'llm = ["ollama/second"]\n'
WRONG = 'llm = ["ollama/second"]\nmodles = 1\n'


class Models:
    """Collects the configurations; `refusal` is raised in place of the next one."""

    def __init__(self) -> None:
        self.configs: list[ModelsConfig] = []
        self.refusal: Exception | None = None

    async def reload(self, config: ModelsConfig) -> None:
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal
        self.configs.append(config)

    @property
    def chains(self) -> list[str]:
        return [",".join(config.chain) for config in self.configs]


class Policies:
    """Collects the rules."""

    def __init__(self) -> None:
        self.configs: list[PolicyConfig] = []

    async def reload(self, config: PolicyConfig) -> None:
        self.configs.append(config)

    @property
    def prompts(self) -> list[str | None]:
        return [config.rules[0].values.prompt for config in self.configs]


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in the test's own thread, so that it has ended when the clock has moved."""
    return function(*arguments)


class Bench:
    """A folder with the files, and a watcher whose checks the test triggers."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.toml, self.dotenv = folder / "threadline.toml", folder / ".env"
        self.environ, self.clock, self.models = environ, ManualClock(), Models()
        self.policies = Policies()
        self.secrets: list[str] = []
        self.after_load: Callable[[], None] = lambda: None
        self._written = 0

    def write(self, text: str, path: Path | None = None) -> None:
        """Write in place, as a simple editor does."""
        path = path or self.toml
        path.write_text(text)
        self._written += 1  # two writes may share a tick of the system's clock
        os.utime(path, ns=(self._written * 10**9, self._written * 10**9))

    def replace(self, text: str) -> None:
        """Write a new file and rename it, as most editors do."""
        other = self.toml.with_suffix(".new")
        self.write(text, other)
        other.replace(self.toml)

    def delete(self, path: Path) -> None:
        path.unlink()

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def load(self) -> Settings:
        settings = load(self.environ, self.dotenv)
        self.after_load()
        return settings

    def watcher(self) -> ConfigWatcher:
        source = ConfigSource(load=self.load, redact=self.secrets.extend)
        return ConfigWatcher(
            settings=self.load(),
            source=source,
            target=self.models,
            policy=self.policies,
            clock=self.clock,
            in_background=call,
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[ConfigWatcher]:
        """A watcher that runs on the manual clock and has checked the unchanged files."""
        watcher = self.watcher()
        running = asyncio.create_task(watcher.run())
        await self.pass_looks(2)
        yield watcher
        assert not running.done(), "the watcher must survive"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def pass_looks(self, count: int) -> None:
        await self.clock.advance(count * LOOK_SECONDS)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, {})
    bench.write(FIRST)
    return bench


@pytest.fixture
def events() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as events:
        yield events


def said(events: list[EventDict]) -> list[str]:
    """The log lines since the last call."""
    lines = [f"{event['log_level']}: {event['event']}; {event.get('why', '')}" for event in events]
    events.clear()
    return lines


RELOADED = ["info: the configuration was reloaded; "]


def kept(why: str) -> list[str]:
    return [f"warning: the configuration is invalid: the previous one stays in effect; {why}"]


# ── changes ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("save", [Bench.write, Bench.replace])
async def test_a_saved_change_is_in_effect_after_two_looks(
    bench: Bench, events: list[EventDict], save: Callable[[Bench, str], None]
) -> None:
    """The first check only notices that the file is changing."""
    async with bench.watching():
        save(bench, SECOND)
        await bench.pass_looks(1)
        assert bench.models.chains == []
        await bench.pass_looks(1)
        assert bench.models.chains == ["ollama/second"]
        assert said(events) == RELOADED
        await bench.pass_looks(5)
        assert bench.models.chains == ["ollama/second"] and said(events) == []


async def test_a_file_that_appears_is_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {})
    async with bench.watching():
        bench.write(SECOND)
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/second"]


async def test_a_change_between_the_start_and_the_first_look_is_not_lost(bench: Bench) -> None:
    watcher = bench.watcher()
    bench.write(SECOND)
    for _ in range(2):
        await watcher.look()
    assert bench.models.chains == ["ollama/second"]


async def test_what_means_the_same_changes_nothing(bench: Bench, events: list[EventDict]) -> None:
    async with bench.watching():
        bench.write(f"# a comment\n{FIRST}")
        await bench.pass_looks(2)
        assert bench.models.configs == [] and said(events) == []


async def test_keys_and_models_of_dotenv_are_read_again(bench: Bench) -> None:
    """New keys are kept out of the log before anything can use them."""
    bench.write(SECOND + "choices = ['groq/m']\n")
    bench.write("GROQ_API_KEY=first-secret\n", bench.dotenv)
    async with bench.watching():
        bench.write("GROQ_API_KEY=second-secret\nLLM=ollama/third\n", bench.dotenv)
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/third"]
        key = bench.models.configs[0].providers["groq"].key
        assert key is not None and key.get_secret_value() == "second-secret"
        assert bench.secrets[-1] == "second-secret"


async def test_a_request_reads_the_files_at_the_next_look(bench: Bench) -> None:
    """This is for file systems that do not update modification times."""
    async with bench.watching() as watcher:
        found = bench.toml.stat()
        bench.toml.write_text(FIRST.replace("first", "other"))
        os.utime(bench.toml, ns=(found.st_atime_ns, found.st_mtime_ns))
        await bench.pass_looks(3)
        assert bench.models.chains == []
        watcher.ask()
        await bench.pass_looks(1)
        assert bench.models.chains == ["ollama/other"]


# ── wrong files ───────────────────────────────────────────────────────────────────────────────
async def test_a_wrong_file_is_reported_once_and_changes_nothing(
    bench: Bench, events: list[EventDict]
) -> None:
    """It is not reported again if saved with the same mistake; /healthz reports it without
    details."""
    why = f"{bench.toml}: line 2: modles is not a setting: did you mean models?"
    async with bench.watching() as watcher:
        for comment in ("", "# saved again\n"):
            bench.write(WRONG + comment)
            await bench.pass_looks(5)
        assert bench.models.configs == []
        assert said(events) == kept(why)
        assert watcher.health().ok and "modles" not in str(watcher.health().details)
        assert "kept" in watcher.health().details
        bench.write(FIRST)
        await bench.pass_looks(2)
        assert said(events) == ["info: the configuration is valid again, and unchanged; "]
        assert watcher.health().details == {}
        bench.write(WRONG)
        await bench.pass_looks(2)
        assert said(events) == kept(why), "after a right file, it is news again"
        bench.write(SECOND)
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/second"] and said(events) == RELOADED


async def test_a_missing_key_is_a_mistake_until_dotenv_has_it(
    bench: Bench, events: list[EventDict]
) -> None:
    async with bench.watching():
        bench.write("llm = ['groq/m']")
        await bench.pass_looks(2)
        assert said(events) == kept("GROQ_API_KEY: set it to your key for groq/m")
        bench.write("GROQ_API_KEY=key\n", bench.dotenv)
        await bench.pass_looks(2)
        assert bench.models.chains == ["groq/m"]


async def test_a_platform_keeps_its_model(bench: Bench, events: list[EventDict]) -> None:
    """Without LLM, echo would answer everyone; the next start would refuse that too."""
    bench.environ["DISCORD_TOKEN"] = "t" * 20
    async with bench.watching():
        bench.write("choices = ['echo']\n")
        await bench.pass_looks(2)
        assert bench.models.configs == [] and len(said(events)) == 1


async def test_models_that_refuse_a_configuration_keep_theirs(
    bench: Bench, events: list[EventDict]
) -> None:
    async with bench.watching():
        bench.models.refusal = SettingsError("LLM", "no")
        bench.write(SECOND)
        await bench.pass_looks(2)
        assert said(events) == kept("LLM: no") and bench.models.configs == []
        bench.write(SECOND + "# again\n")
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/second"]


async def test_a_mistake_in_a_file_that_dotenv_names_newly_can_be_corrected(
    bench: Bench, events: list[EventDict]
) -> None:
    other = bench.toml.with_name("other.toml")
    async with bench.watching():
        bench.write(WRONG, other)
        bench.write(f"THREADLINE_CONFIG={other}\n", bench.dotenv)
        await bench.pass_looks(2)
        assert said(events) == kept(
            f"{other}: line 2: modles is not a setting: did you mean models?"
        )
        bench.write(SECOND, other)
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/second"] and said(events) == RELOADED


async def test_the_file_may_move(bench: Bench, events: list[EventDict]) -> None:
    """A file that the settings no longer name does not count as missing."""
    other = bench.toml.with_name("other.toml")
    async with bench.watching():
        bench.write(SECOND, other)
        bench.write(f"THREADLINE_CONFIG={other}\n", bench.dotenv)
        bench.delete(bench.toml)
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/second"] and said(events) == RELOADED


@pytest.mark.parametrize("path", ["toml", "dotenv"])
async def test_a_folder_in_place_of_a_file_changes_nothing(
    bench: Bench, events: list[EventDict], path: str
) -> None:
    bench.write("MODELS=ollama/x\n", bench.dotenv)
    file: Path = getattr(bench, path)
    async with bench.watching():
        bench.delete(file)
        bench.make_folder(file)
        await bench.pass_looks(3)
        assert bench.models.configs == []
        (line,) = said(events)
        assert f"{file}: this is a folder" in line


# ── files that are being saved ────────────────────────────────────────────────────────────────
async def test_a_file_is_not_read_while_it_grows(bench: Bench, events: list[EventDict]) -> None:
    """The beginning of a file may be valid, but mean something else."""
    async with bench.watching():
        text = 'llm = ["ollama/second"]\nchoices = ["ollama/a", "ollama/b"]\nmodles'
        for end in range(5, len(text), 7):
            bench.write(text[:end])
            await bench.pass_looks(1)
        bench.write(SECOND)
        await bench.pass_looks(2)
        assert bench.models.chains == ["ollama/second"] and said(events) == RELOADED


@pytest.mark.parametrize("path", ["toml", "dotenv"])
async def test_an_emptied_or_deleted_file_changes_nothing(
    bench: Bench, events: list[EventDict], path: str
) -> None:
    """No matter how long the file is gone: only a restart runs without it."""
    texts = {"toml": FIRST, "dotenv": "MODELS=ollama/x\n"}
    bench.write(texts["dotenv"], bench.dotenv)
    file: Path = getattr(bench, path)
    async with bench.watching():
        bench.write("", file)
        await bench.pass_looks(10)
        bench.delete(file)
        await bench.pass_looks(10)
        assert said(events) == kept(f"{file}: the file is missing or empty")
        bench.write(texts[path], file)
        await bench.pass_looks(2)
        assert bench.models.configs == []
        assert said(events) == ["info: the configuration is valid again, and unchanged; "]


async def test_a_file_that_changes_while_it_is_read_is_read_again(bench: Bench) -> None:
    watcher = bench.watcher()
    bench.write(SECOND)
    await watcher.look()
    bench.after_load = lambda: bench.write(SECOND.replace("second", "third"))
    await watcher.look()
    assert bench.models.chains == []
    bench.after_load = lambda: None
    for _ in range(2):
        await watcher.look()
    assert bench.models.chains == ["ollama/third"]


# ── rules and prompts ─────────────────────────────────────────────────────────────────────────
WITH_PROMPT = FIRST + "[[rules]]\nwhere = 'web'\nprompt = 'ops.md'\n"


async def test_a_changed_prompt_is_a_change(bench: Bench, events: list[EventDict]) -> None:
    """If a prompt disappears, the old one is kept; its file may disappear together with its
    rule."""
    prompt = bench.toml.with_name("ops.md")
    bench.write("One.", prompt)
    bench.write(WITH_PROMPT)
    async with bench.watching():
        bench.write("Two.", prompt)
        await bench.pass_looks(2)
        assert bench.policies.prompts == ["Two."] and not bench.models.configs
        assert said(events) == RELOADED
        bench.delete(prompt)
        await bench.pass_looks(3)
        assert said(events) == kept(
            f"{bench.toml}: line 5: rules[1].prompt: {prompt}: there is no such file "
            "(a prompt is the name of a file with the text)"
        )
        bench.write(FIRST)
        await bench.pass_looks(2)
        assert bench.policies.configs[-1].is_empty and said(events) == RELOADED


async def test_a_missing_prompt_that_appears_is_read(bench: Bench, events: list[EventDict]) -> None:
    prompt = bench.toml.with_name("ops.md")
    async with bench.watching():
        bench.write(WITH_PROMPT)
        await bench.pass_looks(5)
        assert not bench.policies.configs and "there is no such file" in said(events)[0]
        bench.write("One.", prompt)
        await bench.pass_looks(2)
        assert bench.policies.prompts == ["One."] and said(events) == RELOADED
