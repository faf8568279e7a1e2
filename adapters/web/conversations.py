"""Conversations for programs: create, ask, read, change and delete one's own.

Paths and schemas follow small chat backends that already have clients.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from adapters.web import schemas, serializers
from adapters.web.answers import answer_events, answer_or_raise
from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.choices import ChoicePorts
from adapters.web.limits import StreamLimit
from adapters.web.models import PlacedModels, require_offered
from adapters.web.openapi import ASKING, add_route, field_error
from adapters.web.places import API_CHANNEL, PLATFORM, is_shared, scope_of, user_scope
from adapters.web.size_limit import MOST_CHARACTERS, message_size, read_newest
from adapters.web.sse import EventStream
from adapters.web.uploads import Received, reads
from bot.domain import http_texts
from bot.domain.conversations import ConversationKey, Effort, Role
from bot.domain.errors import TemplateError
from bot.domain.records import UNCHANGED, ConversationRecord, MessageRecord
from bot.domain.templates import Said, parse
from bot.ports.context import ContextReporter

MOST_MESSAGES = 1_000
"""The newest messages returned with a conversation, up to MOST_CHARACTERS; list its messages to
read the others."""

_ANSWER_EVENTS = {
    "type": "object",
    "properties": {
        "event": {"enum": ["message", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}

Question = Annotated[
    Received[schemas.Question | schemas.QuestionForm],
    Depends(reads("message", schemas.Question, schemas.QuestionForm)),
]
Before = Annotated[UUID | None, Query(description="the id of the last one that was read")]
Limit = Annotated[int, Query(ge=1, le=200)]
Archived = Annotated[
    bool | None, Query(description="only archived ones, or only the others; without it, all")
]


class ConversationRoutes:
    """The routes under /conversation."""

    def __init__(
        self,
        *,
        chat: ChatService,
        streams: StreamLimit,
        models: PlacedModels,
        reporter: ContextReporter,
        choices: ChoicePorts | None = None,
    ) -> None:
        self._choices = choices
        self._chat, self._library, self._streams = chat, chat.library, streams
        self._models, self._reporter = models, reporter

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/conversation", tags=["conversations"])
        details = schemas.ConversationDetails
        add_route(router, "POST", "", self.create, gives=schemas.Conversation)
        add_route(router, "GET", "", self.all, gives=list[schemas.Conversation])
        add_route(
            router,
            "POST",
            "/completion/{conversation_id}",
            self.complete,
            gives=schemas.Message,
            refuses=ASKING,
            streams={EventStream.media_type: _ANSWER_EVENTS},
            takes=(schemas.Question, schemas.QuestionForm),
        )
        one = "/{conversation_id}"
        add_route(router, "GET", one, self.read, gives=details, refuses=(404,))
        add_route(router, "PATCH", one, self.change, gives=details, refuses=(403, 404))
        add_route(router, "DELETE", one, self.delete, status=204, refuses=(403, 404))
        context = f"{one}/context"
        add_route(router, "GET", context, self.context, gives=schemas.Context, refuses=(404,))
        return router

    # ── the routes ────────────────────────────────────────────────────────────────────────────
    async def create(
        self, user: User, new: schemas.NewConversation | None = None
    ) -> dict[str, Any]:
        """Start a conversation."""
        wanted = new or schemas.NewConversation()
        await self._chat.require_may_ask(ConversationKey(PLATFORM, user, API_CHANNEL, ""), user)
        await require_offered(self._models, wanted.model)
        record = await self._chat.begin(
            user,
            name=wanted.name or "",
            model=wanted.model,
            effort=_effort(wanted.effort),
            opening=_opening(wanted),
        )
        return serializers.api_conversation(record, await self._messages(record))

    async def all(
        self,
        request: Request,
        response: Response,
        user: User,
        before: Before = None,
        limit: Limit = 100,
        archived: Archived = None,
    ) -> list[dict[str, Any]]:
        """List your conversations, newest first; the `Link` header has the address of the next
        page."""
        found = await self._library.conversations(
            user_scope(user),
            before=str(before) if before else None,
            limit=limit,
            archived=archived,
        )
        listed: list[dict[str, Any]] = []
        left = MOST_CHARACTERS
        for record in found:
            if left <= 0:
                break
            said = await self._messages(record, left)
            left -= sum(map(message_size, said))
            listed.append(serializers.api_conversation(record, said, serializers.timestamp_bare))
        if len(found) == limit or len(listed) < len(found):
            more = request.url.include_query_params(before=found[len(listed) - 1].uid)
            response.headers["Link"] = f'<{more.path}?{more.query}>; rel="next"'
        return listed

    async def complete(self, user: User, conversation_id: UUID, question: Question) -> Any:
        """Ask a question and get the answer, as one message or as a stream.

        Files come as parts of the message, as in OpenAI's chat API, or in a form.

        The data of each streamed event is `{"content": "…"}` with new text. The last event
        is `done` with the whole message, or `error` with `{"error": "…", "status": 502}`.
        """
        with contextlib.ExitStack() as place:
            place.enter_context(self._streams.hold(user))
            record = await self.readable(user, conversation_id)
            with question.attachments() as attachments:
                turn = await self._chat.ask(record, user, question.text, attachments)
            if not question.body.streams:
                return answer_or_raise(await self._chat.outcome(turn))
            return EventStream(answer_events(self._chat, turn), place.pop_all())

    async def read(self, user: User, conversation_id: UUID) -> dict[str, Any]:
        """Return one conversation with its messages, name, model and owner."""
        return await self._details(await self.readable(user, conversation_id))

    async def change(
        self, user: User, conversation_id: UUID, change: schemas.ConversationChange
    ) -> dict[str, Any]:
        """Rename, pin or archive the conversation, or choose its model, effort, instructions or
        temperature from the next answer on."""
        record, fields = await self.own(user, conversation_id), change.model_fields_set
        if fields & {"model", "effort", "instructions", "temperature"}:
            await self._chat.require_may_ask(record.conversation.key, user)
        await self._require_allowed(record, change)
        await require_offered(self._models, change.model)
        changed = await self._library.update(
            record.uid,
            scope_of(record.conversation.key),
            name=change.name or UNCHANGED,
            model=change.model if "model" in fields else UNCHANGED,
            effort=_effort(change.effort) if "effort" in fields else UNCHANGED,
            instructions=(change.instructions or "") if "instructions" in fields else UNCHANGED,
            temperature=change.temperature if "temperature" in fields else UNCHANGED,
            pinned=UNCHANGED if change.pinned is None else change.pinned,
            archived=UNCHANGED if change.archived is None else change.archived,
        )
        if changed is None:
            raise HTTPException(404, http_texts.NO_SUCH_CONVERSATION)
        self._chat.push_refresh(changed)
        return await self._details(changed)

    async def _require_allowed(
        self, record: ConversationRecord, change: schemas.ConversationChange
    ) -> None:
        """Raises HTTPException 403 for a change that the rules forbid; removing a choice is
        always allowed."""
        wanted = bool((change.instructions or "").strip()) or change.temperature is not None
        if wanted and self._choices is not None:
            key = record.conversation.key
            if not await self._choices.allows_instructions(key):
                raise HTTPException(403, http_texts.NO_INSTRUCTIONS)

    async def delete(self, user: User, conversation_id: UUID) -> None:
        """Delete the conversation with all its messages; a running answer stops."""
        record = await self.own(user, conversation_id)
        await self._library.delete(record.uid, scope_of(record.conversation.key))
        if self._chat.inbox is not None:
            await self._chat.inbox.gone(record.conversation.key)
        self._chat.hub.wake_all()
        self._chat.push_refresh(record)

    async def context(self, user: User, conversation_id: UUID) -> dict[str, Any]:
        """Describe what the model will get with the next question."""
        record = await self.readable(user, conversation_id)
        report = await self._reporter.report(record.conversation.key)
        if report is None:
            raise HTTPException(404, http_texts.NO_SUCH_CONVERSATION)
        return serializers.api_context(report)

    # ── parts ─────────────────────────────────────────────────────────────────────────────────
    async def readable(self, user: str, conversation_id: UUID) -> ConversationRecord:
        """A conversation that the user may read and continue. Raises HTTPException 404 if there is
        none."""
        record = await self._chat.places.find(str(conversation_id), user)
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_CONVERSATION)
        return record

    async def own(self, user: str, conversation_id: UUID) -> ConversationRecord:
        """A conversation that the user may change: their own, or one that they began in a shared
        channel.

        Raises HTTPException 404 if there is none, 403 if another user began it.
        """
        record = await self.readable(user, conversation_id)
        began_by = record.conversation.began_by
        if is_shared(record) and (began_by is None or began_by.id != user):
            raise HTTPException(403, http_texts.BEGAN_BY_ANOTHER)
        return record

    async def _messages(
        self, record: ConversationRecord, left: int = MOST_CHARACTERS
    ) -> Sequence[MessageRecord]:
        return await read_newest(
            lambda limit: self._library.latest(record.conversation.id, limit=limit),
            message_size,
            most=MOST_MESSAGES,
            left=left,
        )

    async def _details(self, record: ConversationRecord) -> dict[str, Any]:
        return serializers.api_details(record, await self._messages(record), self._models)


def _effort(chosen: schemas.EffortName | None) -> Effort | None:
    return None if chosen is None else Effort(chosen)


def _opening(new: schemas.NewConversation) -> Said:
    """The opening messages. Raises HTTPException 422 naming the field, and the line of a
    template."""
    said = tuple((Role(message.role), message.content) for message in new.messages or ())
    if new.template is None:
        return said
    try:
        template = parse(new.template)
        opening = template.opening() if new.input is None else template.messages(new.input)
    except TemplateError as error:
        raise field_error(("body", "template"), str(error), "template") from error
    return (*said, *opening)
