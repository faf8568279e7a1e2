"""Texts about feedback: on buttons, in the modal, and after a press."""

from __future__ import annotations

GOOD, BAD = "Good answer", "Bad answer"

THANKS_UP = "Thanks: noted as a good answer. Press again to take it back."
THANKS_DOWN = "Thanks: noted as a bad answer. Press again to take it back."
TAKEN_BACK = "Your vote is taken back."
COMMENT_STORED = "Thanks, your comment is noted."
NO_SUCH_REPLY = "This reply can no longer be rated."
NO_VOTE = "Your vote was taken back, or the reply was written again, so the comment is not kept."
SWITCHED_OFF = "Feedback is switched off here."

MODAL_TITLE = "What was wrong?"
MODAL_LABEL = "Comment"
MODAL_HINT = "Optional: wrong, outdated, too long, not what I asked…"
MODAL_SEND, MODAL_CLOSE = "Send", "Close"
