"""`docs/reference/` matches the code."""

from __future__ import annotations

import re

import pytest

from bot.config.loader import load
from bot.config.settings import Settings
from bot.inbox import commands
from tests.support.reference import EXAMPLES, FOLDER, PAGES, commands_page, groups, settings_page


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_current(name: str) -> None:
    written = (FOLDER / name).read_text("utf-8")
    assert written == PAGES[name](), "run `make docs`"


def test_every_setting_is_explained_once() -> None:
    names = [name.lower() for group in groups() for name in group.names]
    assert sorted(names) == sorted(Settings.model_fields)
    assert all(group.lines for group in groups())
    page = settings_page()
    assert all(f"| `{name.upper()}` |" in page for name in Settings.model_fields)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_accepted(name: str) -> None:
    settings = load({name.upper(): EXAMPLES[name].replace("…", "0123456789")}, None)
    assert name in settings.model_fields_set


def test_every_setting_has_an_example() -> None:
    assert set(EXAMPLES) == set(Settings.model_fields)


def test_every_command_says_who_may_use_it() -> None:
    rows = [line for line in commands_page().splitlines() if line.startswith("| `/")]
    assert [re.findall(r"`/(\w+)`", row)[0] for row in rows] == list(commands.NAMES)
    assert all(row.split(" | ")[3].strip() for row in rows)
    takers = [name for name, row in zip(commands.NAMES, rows, strict=True) if row.split(" | ")[2]]
    assert set(takers) == set(commands.TAKE_ARGUMENT)


def test_the_pages_have_no_broken_links() -> None:
    for name in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (FOLDER / name).read_text("utf-8")):
            assert (FOLDER / target).exists(), f"{name}: {target}"
