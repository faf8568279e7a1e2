"""The sample thread: in a new installation, the page shows one question and its answer.

The question goes through the inbox as a person's does, so the thread can be continued and deleted.
"""

from __future__ import annotations

import uuid

import structlog

from adapters.web.auth import LOCAL_USER
from adapters.web.chat import ChatService
from adapters.web.places import CHANNEL, PLATFORM, user_scope
from bot.domain import http_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address
from bot.domain.records import ConversationRecord, NewConversation, thread_id

log = structlog.stdlib.get_logger(__name__)

FIRST_CONVERSATION = 1
"""The row id of a database's first conversation.

Ids are never reused, so a deleted sample does not return at the next start.
"""

_CLIENT_ID = uuid.UUID("5d6a1f6e-6f0b-4d0e-9c53-2f1f7d8a3b10")


async def open_sample(chat: ChatService) -> None:
    """Ask the sample question, unless the database has or had a conversation. Never raises."""
    scope = user_scope(LOCAL_USER)
    try:
        if await chat.library.conversations(scope, before=None, limit=1):
            return
        record = await _create(chat)
        if record.conversation.id != FIRST_CONVERSATION:
            await chat.library.delete(record.uid, scope)
            return
        question = chat.incoming(
            record, LOCAL_USER, http_texts.SAMPLE_QUESTION, str(_CLIENT_ID), Address.REQUEST
        )
        await chat.require_inbox().receive(question)  # once, however many processes start
    except StoreUnavailable:
        log.warning("no sample thread: the database is not available")


async def _create(chat: ChatService) -> ConversationRecord:
    uid = thread_id(LOCAL_USER, _CLIENT_ID)
    return await chat.library.create(
        NewConversation(
            key=ConversationKey(PLATFORM, LOCAL_USER, CHANNEL, uid),
            uid=uid,
            name=http_texts.SAMPLE_QUESTION,
            began_by=Author(id=LOCAL_USER, name=LOCAL_USER),
        )
    )
