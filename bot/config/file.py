"""Reads `threadline.toml`: providers, models and their facts, profiles and rules.

Reading an invalid file never raises an error: the result has the valid parts and, with their lines,
all problems, so that one error can report them together with those of the other settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bot.config import file_problems, model_names, text_file, toml_document
from bot.config.file_schema import Contents
from bot.config.policy_schema import RuleTable
from bot.config.toml_document import Location, TomlDocument, TomlProblem
from bot.domain.errors import SettingsError

DEFAULT_NAME = "threadline.toml"

MAX_PROBLEMS = 50
"""The most problems to describe: a file with more is probably not meant for this program."""

Problem = tuple[str, str]
"""A setting or file, and a sentence about the error in it."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The contents of the file; without a file, nothing is set. If `path` is None, no file is read.

    `problems` are those found in the file alone. `mentioned` has all providers that it describes,
    including invalid ones. `wrong_rules` are the positions of the [[rules]] that `contents` leaves
    out because of their problems.
    """

    path: Path | None = field(default=None, compare=False)
    exists: bool = False
    contents: Contents = field(default_factory=Contents.model_construct)
    problems: Sequence[Problem] = ()
    mentioned: frozenset[str] = frozenset()
    wrong_rules: frozenset[int] = frozenset()
    document: TomlDocument = field(default_factory=TomlDocument, repr=False)

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent if self.path is not None else Path()

    def numbered_rules(self) -> Iterator[tuple[int, RuleTable]]:
        """The rules, each with its position in the file."""
        count = len(self.contents.rules) + len(self.wrong_rules)
        positions = (k for k in range(count) if k not in self.wrong_rules)
        return zip(positions, self.contents.rules, strict=False)

    def prompt_paths(self) -> list[Path]:
        """The prompt files that the file names, whether they exist or not."""
        contents = self.contents
        tables = (contents, *contents.profiles.values(), *contents.rules)
        written = dict.fromkeys(table.prompt for table in tables if table.prompt is not None)
        return [self.folder / name for name in written]

    def locate(self, key: str, element: str) -> Location:
        """The location of an element of a top-level list, or of the string that replaces the
        list."""
        written = self.document.values.get(key)
        if isinstance(written, list) and element in written:
            return key, written.index(element)
        return (key,)

    def problem(self, location: Location, sentence: str) -> Problem:
        """Create a problem for the value at `location`."""
        line = self.document.line(location)
        return str(self.path), sentence if line is None else f"line {line}: {sentence}"

    def variables(self) -> list[str]:
        """The environment variables that the file refers to."""
        providers = self.contents.providers.values()
        return [name for provider in providers for name in provider.variables()]

    @property
    def is_unreadable(self) -> bool:
        """Whether the file or its TOML could not be read; it may then contain any setting."""
        return bool(self.problems) and not self.document.values

    def sets(self, name: str) -> bool:
        """Whether the file has this top-level key, with a valid value or not."""
        return name in self.document.values


def read(path: Path, *, required: bool, settings: Collection[str]) -> ConfigFile:
    """Read the file at `path`.

    If it is `required`, a missing file is a problem. `settings` are the names that belong in
    `.env`.
    """
    try:
        text = text_file.read(path)
        if text is None:
            return _without_contents(path, "there is no such file" if required else "")
        document = toml_document.parse(text)
    except SettingsError as error:
        return _without_contents(path, error.problem)
    except TomlProblem as error:
        return _without_contents(path, _place(error) + error.problem)
    contents, errors = _validate(document.values)
    errors.sort(key=lambda each: document.line(file_problems.location_of(each)) or 0)
    described = [file_problems.describe(each, Contents, settings) for each in errors[:MAX_PROBLEMS]]
    file = ConfigFile(
        path,
        exists=True,
        contents=contents,
        mentioned=_mentioned(document.values),
        wrong_rules=_wrong_rules(errors),
        document=document,
    )
    problems = [file.problem(location, sentence) for location, sentence in described]
    if more := len(errors) - len(described):
        problems.append((str(path), f"there are {more:,} further mistakes"))
    return replace(file, problems=tuple(problems))


def _without_contents(path: Path, problem: str) -> ConfigFile:
    return ConfigFile(
        path, exists=bool(problem), problems=((str(path), problem),) if problem else ()
    )


def _place(error: TomlProblem) -> str:
    return "" if error.line is None else f"line {error.line}, column {error.column}: "


def _mentioned(values: Mapping[str, Any]) -> frozenset[str]:
    providers = values.get("providers")
    if not isinstance(providers, dict):
        return frozenset()
    return frozenset(name for name in providers if model_names.PROVIDER_NAME.fullmatch(name))


def _wrong_rules(errors: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    places = (error["loc"][:2] for error in errors)
    return frozenset(k for top, k in (p for p in places if len(p) == 2) if top == "rules")


# ── validation ────────────────────────────────────────────────────────────────────────────────
def _validate(values: Mapping[str, Any]) -> tuple[Contents, list[Mapping[str, Any]]]:
    """The valid parts, and all errors in the others."""
    try:
        return Contents.model_validate(values), []
    except ValidationError as error:
        errors: list[Mapping[str, Any]] = [*error.errors(include_url=False)]
    wrong = {error["loc"][:2] for error in errors}
    try:
        return Contents.model_validate(_without(values, wrong)), errors
    except ValidationError:
        return Contents(), errors


def _without(values: Mapping[str, Any], wrong: Collection[Location]) -> dict[str, Any]:
    """The values without the invalid providers, models, list elements and top-level keys."""
    tops = {location[0] for location in wrong}
    sound: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and (name,) not in wrong:
            sound[name] = {key: each for key, each in value.items() if (name, key) not in wrong}
        elif isinstance(value, list) and (name,) not in wrong:
            elements = [each for k, each in enumerate(value) if (name, k) not in wrong]
            if elements or not value:
                sound[name] = elements
        elif name not in tops:
            sound[name] = value
    return sound
