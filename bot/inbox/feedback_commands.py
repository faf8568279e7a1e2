"""Votes on replies and comments on them, from the buttons below a reply."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.domain import feedback_texts as texts
from bot.domain.feedback import Vote, VoteEffect
from bot.domain.inbox import Command, CommandReply
from bot.inbox.commands import Handler
from bot.ports.feedback import FeedbackStore
from bot.ports.policy import Policy

VOTE, COMMENT = "vote", "comment"
"""Only buttons and modals send these commands; in a message the words are part of a question."""

_VOTE = re.compile(r"(up|down) (\d{1,18})")
_COMMENT = re.compile(r"(\d{1,18}) ?(.*)", re.DOTALL)


class FeedbackCommands:
    """Executes votes and comments. Adapters send them only for people who can see the reply."""

    def __init__(self, *, store: FeedbackStore, policy: Policy) -> None:
        self._store, self._policy = store, policy

    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by command name."""
        return {VOTE: self.vote, COMMENT: self.comment}

    async def vote(self, command: Command) -> CommandReply:
        """Record a vote; the argument is the vote and the turn, such as `down 12`."""
        found = _VOTE.fullmatch(command.argument)
        if found is None:
            return CommandReply(texts.NO_SUCH_REPLY)
        if not await self._is_on(command):
            return CommandReply(texts.SWITCHED_OFF)
        vote, turn = Vote(found[1]), int(found[2])
        effect = await self._store.press(command.key, turn, command.author.id, vote)
        if effect is VoteEffect.UNKNOWN:
            return CommandReply(texts.NO_SUCH_REPLY)
        if effect is VoteEffect.TAKEN_BACK:
            return CommandReply(texts.TAKEN_BACK)
        if vote is Vote.UP:
            return CommandReply(texts.THANKS_UP)
        return CommandReply(texts.THANKS_DOWN, comment_on=turn)

    async def comment(self, command: Command) -> CommandReply:
        """Store a comment; the argument is the turn and the text."""
        found = _COMMENT.fullmatch(command.argument)
        if found is None:
            return CommandReply(texts.NO_SUCH_REPLY)
        person, key = command.author.id, command.key
        stored = await self._store.set_comment(key, int(found[1]), person, found[2])
        return CommandReply(texts.COMMENT_STORED if stored else texts.NO_VOTE)

    async def _is_on(self, command: Command) -> bool:
        return (await self._policy.effective(command.key)).feedback.value
