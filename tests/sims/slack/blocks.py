"""Block Kit's limits on a message's blocks. A violation is `invalid_blocks`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.sims.slack.values import ApiError, Json

MAX_BLOCKS = 50
MAX_MARKDOWN = 12_000  # of all markdown blocks of a message together
_PLAIN = frozenset(("context", "divider", "file", "input", "plan", "rich_text", "table", "video"))
_LIMITED = frozenset(("actions", "context_actions", "header", "image", "markdown", "section"))
_KNOWN = _PLAIN | _LIMITED | {"task_card"}
# (block type, path to a text, maximum length): docs.slack.dev/reference/block-kit/blocks
_TEXTS = (
    ("section", ("text", "text"), 3_000),
    ("header", ("text", "text"), 150),
    ("image", ("alt_text",), 2_000),
)
_LISTS = (
    ("section", "fields", 10),
    ("actions", "elements", 25),
    ("context", "elements", 10),
    ("context_actions", "elements", 5),
)
CONTEXT_ACTIONS = ("feedback_buttons", "icon_button")  # allowed in `context_actions` only
FEEDBACK_BUTTONS = ("positive_button", "negative_button")
_ELEMENT = (("action_id", 255), ("value", 2_000), ("url", 3_000))
MAX_BLOCK_ID = 255
# docs.slack.dev/reference/block-kit/block-elements/select-menu-element and
# …/composition-objects/option-object, …/option-group-object
MAX_OPTIONS, MAX_OPTION_TEXT, MAX_OPTION_VALUE, MAX_PLACEHOLDER = 100, 75, 150, 150


def validate_blocks(blocks: Any) -> list[Json]:
    """The blocks, if Slack would accept them. Raises ApiError."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise ApiError("invalid_blocks_format")
    errors = list(_errors(blocks))
    if errors:
        messages = [f"[ERROR] {what} [json-pointer:{where}]" for where, what in errors]
        raise ApiError("invalid_blocks", errors=messages, response_metadata={"messages": messages})
    if sum(len(_at(block, ("text",)) or "") for block in _markdown(blocks)) > MAX_MARKDOWN:
        raise ApiError("msg_too_long")
    return [{"block_id": f"b{number}", **block} for number, block in enumerate(blocks)]


def _markdown(blocks: list[Json]) -> list[Json]:
    return [block for block in blocks if block.get("type") == "markdown"]


def _at(block: Json, path: tuple[str, ...]) -> Any:
    value: Any = block
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _errors(blocks: list[Json]) -> Iterator[tuple[str, str]]:
    if len(blocks) > MAX_BLOCKS:
        yield "/blocks", f"no more than {MAX_BLOCKS} items allowed"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    for number, block_id in enumerate(ids):
        if not 0 < len(str(block_id)) <= MAX_BLOCK_ID:
            yield f"/blocks/{number}/block_id", f"must be 1 to {MAX_BLOCK_ID} characters"
    if len(ids) != len(set(ids)):
        yield "/blocks", "`block_id` must be unique"
    for number, block in enumerate(blocks):
        where = f"/blocks/{number}"
        if block.get("type") not in _KNOWN:
            yield f"{where}/type", f"unsupported type: {block.get('type')}"
        yield from _text_errors(block, where)
        yield from _list_errors(block, where)
        yield from _element_errors(block, where)


def _text_errors(block: Json, where: str) -> Iterator[tuple[str, str]]:
    for kind, path, most in _TEXTS:
        if block.get("type") != kind or (text := _at(block, path)) is None:
            continue
        if not text:
            yield f"{where}/{'/'.join(path)}", "must be more than 0 characters"
        if len(text) > most:
            yield f"{where}/{'/'.join(path)}", f"must be less than {most + 1} characters"
    if block.get("type") == "section" and not (block.get("text") or block.get("fields")):
        yield where, "missing required field: text"
    if block.get("type") == "markdown" and not block.get("text"):
        yield f"{where}/text", "must be more than 0 characters"


def _list_errors(block: Json, where: str) -> Iterator[tuple[str, str]]:
    for kind, key, most in _LISTS:
        items = block.get(key)
        if block.get("type") != kind or (items is None and key == "fields"):
            continue
        if not isinstance(items, list) or not items:
            yield f"{where}/{key}", "must provide at least 1 item"
        elif len(items) > most:
            yield f"{where}/{key}", f"no more than {most} items allowed"
    for number, part in enumerate(block.get("fields") or []):
        if len(_at(part, ("text",)) or "") > 2_000:
            yield f"{where}/fields/{number}/text", "must be less than 2001 characters"


def _element_errors(block: Json, where: str) -> Iterator[tuple[str, str]]:
    elements = [*(block.get("elements") or []), *filter(None, [block.get("accessory")])]
    if block.get("type") == "context_actions":
        yield from _context_action_errors(elements, where)
    if block.get("type") not in ("actions", "section"):
        return
    ids = [element["action_id"] for element in elements if "action_id" in element]
    if len(ids) != len(set(ids)):
        yield f"{where}/elements", "`action_id` must be unique within a block"
    for number, element in enumerate(elements):
        for key, most in _ELEMENT:
            if len(str(element.get(key) or "")) > most:
                yield f"{where}/elements/{number}/{key}", f"must be less than {most + 1} characters"
        if element.get("type") in CONTEXT_ACTIONS:
            yield f"{where}/elements/{number}/type", f"unsupported element: {element['type']}"
        if element.get("type") == "static_select":
            yield from _select_errors(element, f"{where}/elements/{number}")
        if element.get("type") == "button":
            text = _at(element, ("text", "text")) or ""
            if not 0 < len(text) <= 75 or _at(element, ("text", "type")) != "plain_text":
                yield f"{where}/elements/{number}/text", "must be plain_text of 1 to 75 characters"


def _context_action_errors(elements: list[Json], where: str) -> Iterator[tuple[str, str]]:
    """docs.slack.dev/reference/block-kit/blocks/context-actions-block and
    …/block-elements/feedback-buttons-element."""
    ids = [element["action_id"] for element in elements if "action_id" in element]
    if len(ids) != len(set(ids)):
        yield f"{where}/elements", "`action_id` must be unique within a block"
    for number, element in enumerate(elements):
        here = f"{where}/elements/{number}"
        if element.get("type") not in CONTEXT_ACTIONS:
            yield f"{here}/type", f"unsupported element: {element.get('type')}"
        if len(str(element.get("action_id") or "")) > 255:
            yield f"{here}/action_id", "must be less than 256 characters"
        if element.get("type") == "feedback_buttons":
            for key in FEEDBACK_BUTTONS:
                yield from _feedback_button_errors(element.get(key), f"{here}/{key}")


def _feedback_button_errors(button: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(button, dict):
        yield where, "missing required field"
        return
    if unknown := button.keys() - {"text", "value", "accessibility_label"}:
        yield where, f"unknown fields: {sorted(unknown)}"
    yield from _plain_errors(button.get("text"), f"{where}/text", 75)
    if not isinstance(button.get("value"), str) or not 0 < len(button["value"]) <= 2_000:
        yield f"{where}/value", "must be 1 to 2000 characters"
    if len(str(button.get("accessibility_label") or "")) > 75:
        yield f"{where}/accessibility_label", "must be less than 76 characters"


def _select_errors(select: Json, where: str) -> Iterator[tuple[str, str]]:
    """Errors unless a menu has options or groups of them, and no two options with the same
    value."""
    if "placeholder" in select:
        yield from _plain_errors(select["placeholder"], f"{where}/placeholder", MAX_PLACEHOLDER)
    if ("options" in select) == ("option_groups" in select):
        yield where, "must provide either `options` or `option_groups`"
        return
    groups = select.get("option_groups", [{"options": select.get("options")}])
    if not isinstance(groups, list) or not 0 < len(groups) <= MAX_OPTIONS:
        yield f"{where}/option_groups", f"must provide 1 to {MAX_OPTIONS} items"
        return
    for number, group in enumerate(groups):
        there = f"{where}/option_groups/{number}" if "option_groups" in select else where
        if "option_groups" in select:
            yield from _plain_errors(group.get("label"), f"{there}/label", MAX_OPTION_TEXT)
        yield from _option_errors(group.get("options"), f"{there}/options")
    values = [option.get("value") for group in groups for option in group.get("options") or []]
    if len(values) != len(set(values)):
        yield where, "the values of options must be unique"


def _option_errors(options: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(options, list) or not 0 < len(options) <= MAX_OPTIONS:
        yield where, f"must provide 1 to {MAX_OPTIONS} items"
        return
    for number, option in enumerate(options):
        yield from _plain_errors(option.get("text"), f"{where}/{number}/text", MAX_OPTION_TEXT)
        value = option.get("value")
        if not isinstance(value, str) or not 0 < len(value) <= MAX_OPTION_VALUE:
            yield f"{where}/{number}/value", f"must be 1 to {MAX_OPTION_VALUE} characters"


def _plain_errors(text: Any, where: str, most: int) -> Iterator[tuple[str, str]]:
    shown = text.get("text") if isinstance(text, dict) else None
    is_plain = isinstance(text, dict) and text.get("type") == "plain_text"
    if not is_plain or not isinstance(shown, str) or not 0 < len(shown) <= most:
        yield where, f"must be plain_text of 1 to {most} characters"
