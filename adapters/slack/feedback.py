"""Slack's own feedback element below a reply, and the modal for a comment.

Documented: docs.slack.dev/reference/block-kit/blocks/context-actions-block and
…/block-elements/feedback-buttons-element; docs.slack.dev/surfaces/modals for views.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog

from adapters.slack.payloads import Payload, ident, mapping, text
from bot.domain import feedback_texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Refused
from bot.domain.feedback import MAX_COMMENT, Vote
from bot.domain.replies import Control
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

VOTE = "threadline_vote"  # the element's action_id
CALLBACK = "threadline_comment"  # the modal's callback_id
COMMENT_BLOCK, _INPUT = "comment", "text"
# Slack's error codes for an unknown block type, or one not allowed in this place.
_BLOCKS = frozenset({"invalid_arguments", "invalid_blocks", "invalid_blocks_format"})


REFUSED_SECONDS = 3_600.0
"""How long a refusal counts: Slack may have refused the element by mistake."""


class FeedbackButtons:
    """Builds one workspace's element, unless the workspace has refused it.

    A refusal is remembered for a while, so that few other replies lose time to it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._refused_until = clock, float("-inf")

    @property
    def _is_refused(self) -> bool:
        return self._clock.monotonic() < self._refused_until

    def block(self, turn: int) -> list[dict[str, Any]]:
        """The block for a reply."""
        if self._is_refused:
            return []
        element = {
            "type": "feedback_buttons",
            "action_id": VOTE,
            "positive_button": _button(feedback_texts.GOOD, Vote.UP, turn),
            "negative_button": _button(feedback_texts.BAD, Vote.DOWN, turn),
        }
        return [{"type": "context_actions", "elements": [element]}]

    async def send(self, controls: Sequence[Control], send: Callable[[], Awaitable[T]]) -> T:
        """Call `send()`, which builds the blocks itself; once more without the element if Slack
        refuses it.

        If Slack refuses the second attempt too, the text is the cause, and Refused is raised.
        """
        try:
            return await send()
        except Refused as error:
            if self._is_refused or Control.FEEDBACK not in controls or error.code not in _BLOCKS:
                raise
        self._refused_until = self._clock.monotonic() + REFUSED_SECONDS
        try:
            sent = await send()
        except Refused:
            self._refused_until = float("-inf")
            raise
        log.warning("Slack refuses feedback buttons: replies are shown without them")
        return sent


def _button(label: str, vote: Vote, turn: int) -> dict[str, Any]:
    return {
        "text": {"type": "plain_text", "text": label},
        "value": json.dumps({"a": f"{vote.value} {turn}"}, separators=(",", ":")),
        "accessibility_label": label,
    }


# ── the modal ─────────────────────────────────────────────────────────────────────────────────
def comment_view(key: ConversationKey, turn: int) -> dict[str, Any]:
    """The modal that asks for a comment.

    Its metadata identifies the reply, so it works after a restart.
    """
    element = {
        "type": "plain_text_input",
        "action_id": _INPUT,
        "multiline": True,
        "max_length": MAX_COMMENT,
        "placeholder": _plain(feedback_texts.MODAL_HINT),
    }
    block = {
        "type": "input",
        "block_id": COMMENT_BLOCK,
        "optional": True,
        "label": _plain(feedback_texts.MODAL_LABEL),
        "element": element,
    }
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": json.dumps({"k": str(key), "t": turn}),
        "title": _plain(feedback_texts.MODAL_TITLE),
        "submit": _plain(feedback_texts.MODAL_SEND),
        "close": _plain(feedback_texts.MODAL_CLOSE),
        "blocks": [block],
    }


def parse_comment(body: Payload) -> tuple[ConversationKey, int, str, str] | None:
    """The conversation, turn, person and text from a submitted modal; None if it is not ours."""
    view, user = mapping(body, "view"), ident(mapping(body, "user"), "id")
    if text(view, "callback_id") != CALLBACK or not user:
        return None
    values = mapping(mapping(view, "state"), "values")
    said = text(mapping(mapping(values, COMMENT_BLOCK), _INPUT), "value")
    try:
        carried = json.loads(text(view, "private_metadata"))
        parts, turn = str(carried["k"]).split("/", 3), carried["t"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if len(parts) != 4 or type(turn) is not int:
        return None
    return ConversationKey(*parts), turn, user, said


def _plain(words: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": words}
