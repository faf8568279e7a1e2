"""A person's instructions come after the operator's prompt."""

from __future__ import annotations

import pytest

from bot.context.window import fixed_messages
from bot.domain.conversations import Role
from bot.domain.prompts import (
    INSTRUCTIONS_LABEL,
    ONLY_INSTRUCTIONS_LABEL,
    Prompt,
    read_prompt,
    with_instructions,
)

TEMPLATE = (
    '<message role="system">Be brief.</message><message role="user">Hi</message>'
    '<message role="assistant">Yes?</message>'
)


@pytest.mark.parametrize(
    ("prompt", "own", "system"),
    [
        ("Be brief.", "", "Be brief."),
        ("Be brief.", "In verse.", f"Be brief.\n\n{INSTRUCTIONS_LABEL}\n\nIn verse."),
        ("", "In verse.", f"{ONLY_INSTRUCTIONS_LABEL}\n\nIn verse."),
        ("", "", ""),
        (TEMPLATE, "In verse.", f"Be brief.\n\n{INSTRUCTIONS_LABEL}\n\nIn verse."),
        # A person's text is never a template: it could put words into anyone's mouth.
        ("Be brief.", TEMPLATE, f"Be brief.\n\n{INSTRUCTIONS_LABEL}\n\n{TEMPLATE}"),
    ],
)
def test_instructions_are_added_and_replace_nothing(prompt: str, own: str, system: str) -> None:
    read = read_prompt(prompt)
    added = with_instructions(read, own)
    assert (added.system, added.opening) == (system, read.opening)


def test_the_prompt_stays_first_and_the_date_last() -> None:
    """This keeps the beginning in a provider's cache from one day to the next."""
    added = with_instructions(Prompt("Be brief."), "In verse.")
    first, last = fixed_messages(added, "Today is Monday.")
    assert first.content.startswith("Be brief.\n\n")
    assert (first.role, last.role, last.content) == (Role.SYSTEM, Role.SYSTEM, "Today is Monday.")
