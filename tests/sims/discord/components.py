"""Validates a message's buttons, selects and layout components.

Without the Components V2 flag, only action rows are valid; with it, 40 components and 4,000
characters of text in total.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord import errors as e

JSON = dict[str, Any]
ROW, BUTTON, STRING_SELECT, SECTION, TEXT, CONTAINER = 1, 2, 3, 9, 10, 17
SELECTS = (3, 5, 6, 7, 8)
TOP_LEVEL_V2 = (ROW, SECTION, TEXT, 12, 13, 14, CONTAINER)
LINK_STYLE, PREMIUM_STYLE = 5, 6


def check_components(components: list[JSON], *, v2: bool) -> None:
    """Refuse the components that Discord refuses."""
    if v2:
        _check_v2(components)
    elif len(components) > 5:
        raise e.bad_length("components", 1, 5)
    for n, component in enumerate(components):
        allowed = TOP_LEVEL_V2 if v2 else (ROW,)
        if component.get("type") not in allowed:
            raise e.not_a_choice(f"components.{n}.type", allowed)
    for path, component in walk(components):
        _check_one(path, component)
    _check_unique([x["custom_id"] for _, x in walk(components) if "custom_id" in x])


def walk(components: list[JSON], path: str = "components") -> Iterator[tuple[str, JSON]]:
    """Every component with its path, parents first."""
    for n, component in enumerate(components):
        here = f"{path}.{n}"
        yield here, component
        yield from walk(component.get("components") or [], f"{here}.components")
        if component.get("accessory"):
            yield from walk([component["accessory"]], f"{here}.accessory")


def _check_v2(components: list[JSON]) -> None:
    everything = [component for _, component in walk(components)]
    if len(everything) > c.MAX_COMPONENTS:
        raise e.bad_length("components", 1, c.MAX_COMPONENTS)
    if sum(len(x.get("content", "")) for x in everything if x["type"] == TEXT) > c.MAX_V2_TEXT:
        message = f"The total text of all components must be at most {c.MAX_V2_TEXT} characters."
        raise e.InvalidForm("components", "COMPONENT_MAX_TOTAL_TEXT_LENGTH", message)


def _check_one(path: str, component: JSON) -> None:
    kind = component.get("type")
    if kind == ROW and not 1 <= len(component.get("components") or []) <= 5:
        raise e.bad_length(f"{path}.components", 1, 5)
    if kind == TEXT and not component.get("content"):
        raise e.required(f"{path}.content")
    if kind == BUTTON:
        _check_button(path, component)
    if kind in SELECTS:
        _check_custom_id(path, component)
    if kind == STRING_SELECT and not 1 <= len(component.get("options") or []) <= 25:
        raise e.bad_length(f"{path}.options", 1, 25)


def _check_button(path: str, button: JSON) -> None:
    style = button.get("style")
    if style not in range(1, 7):
        raise e.not_a_choice(f"{path}.style", (1, 2, 3, 4, 5, 6))
    if len(button.get("label") or "") > 80:
        raise e.too_long(f"{path}.label", 80)
    if style == LINK_STYLE:
        if not button.get("url") or "custom_id" in button:
            raise e.required(f"{path}.url")
    elif style != PREMIUM_STYLE:
        _check_custom_id(path, button)
        if not button.get("label") and not button.get("emoji"):
            raise e.required(f"{path}.label")


def _check_custom_id(path: str, component: JSON) -> None:
    custom_id = component.get("custom_id")
    if not custom_id:
        raise e.required(f"{path}.custom_id")
    if len(custom_id) > c.MAX_CUSTOM_ID:
        raise e.bad_length(f"{path}.custom_id", 1, c.MAX_CUSTOM_ID)


def _check_unique(custom_ids: list[str]) -> None:
    if len(set(custom_ids)) != len(custom_ids):
        message = "Component custom id cannot be duplicated"
        raise e.InvalidForm("components", "COMPONENT_CUSTOM_ID_DUPLICATED", message)
