"""Routes that take a whole task in one request: prompts, conversations, templates."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from adapters.web import schemas
from adapters.web.answers import answer_or_raise
from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.limits import StreamLimit
from adapters.web.openapi import ASKING, add_route, field_error
from adapters.web.places import API_CHANNEL, PLATFORM, user_scope
from adapters.web.uploads import Received, reads
from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.errors import TemplateError
from bot.domain.records import ConversationRecord, NewConversation
from bot.domain.templates import (
    Said,
    Template,
    parse,
    template_of,
    write_handlebars,
    write_tags,
)

Prompt = Annotated[
    Received[schemas.Prompt | schemas.PromptForm],
    Depends(reads("prompt", schemas.Prompt, schemas.PromptForm)),
]

CHAT_CHANNEL = "chat"
"""The channel for conversations with ids that clients chose."""


class SingleRequestRoutes:
    """The routes under /api."""

    def __init__(self, *, chat: ChatService, streams: StreamLimit) -> None:
        self._chat, self._library, self._streams = chat, chat.library, streams

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/api", tags=["one request"])
        add_route(
            router,
            "POST",
            "/chat",
            self.chat,
            gives=schemas.ChatAnswer,
            refuses=ASKING,
            takes=(schemas.Prompt, schemas.PromptForm),
        )
        add_route(
            router,
            "POST",
            "/conversational",
            self.conversational,
            gives=schemas.ConversationalAnswer,
            refuses=ASKING,
        )
        add_route(router, "POST", "/template", self.template, gives=schemas.TemplateAnswer)
        return router

    async def chat(self, user: User, prompt: Prompt) -> schemas.ChatAnswer:
        """Answer a prompt; an id continues that conversation, or starts it.

        Files come as parts of the prompt, as in OpenAI's chat API, or in a form.
        """
        with self._streams.hold(user):
            record = await self._conversation(user, prompt.body.id, prompt.name)
            with prompt.attachments() as attachments:
                turn = await self._chat.ask(record, user, prompt.text, attachments)
            said = answer_or_raise(await self._chat.outcome(turn))
        message = schemas.AssistantMessage(role="assistant", content=said["content"])
        return schemas.ChatAnswer(assistantMessage=message)

    async def _conversation(self, user: str, chosen: str | None, name: str) -> ConversationRecord:
        if chosen is None:
            await self._chat.require_may_ask(ConversationKey(PLATFORM, user, API_CHANNEL, ""), user)
            return await self._chat.begin(user)
        known = await self._library.find(chosen.lower(), user_scope(user))
        if known is not None:
            return known
        await self._chat.require_may_ask(ConversationKey(PLATFORM, user, CHAT_CHANNEL, ""), user)
        return await self._library.create(
            NewConversation(
                key=ConversationKey(PLATFORM, user, CHAT_CHANNEL, chosen),
                uid=str(uuid.uuid4()),
                name=name,
                began_by=Author(id=user, name=user),
            )
        )

    async def conversational(
        self, user: User, asked: schemas.Conversational
    ) -> schemas.ConversationalAnswer:
        """Continue a conversation that the request contains, in pairs."""
        inputs = asked.inputs
        with self._streams.hold(user):
            await self._chat.require_may_ask(ConversationKey(PLATFORM, user, API_CHANNEL, ""), user)
            record = await self._chat.begin(user, name=inputs.text, opening=_pairs(inputs))
            said = answer_or_raise(await self._chat.complete(record, user, inputs.text))["content"]
        history = schemas.ConversationalHistory(
            past_user_inputs=[*inputs.past_user_inputs, inputs.text],
            generated_responses=[*inputs.generated_responses, said],
        )
        option = schemas.ConversationalOption(generated_text=said, conversation=history)
        return schemas.ConversationalAnswer(options=[option])

    async def template(
        self, _user: User, asked: schemas.TemplateText | schemas.TemplateMessages
    ) -> schemas.TemplateAnswer:
        """Parse a template or messages, fill in the input, and write both notations."""
        template = _template(asked)
        if asked.input is not None:
            template = _filled(template, asked.input)
        return schemas.TemplateAnswer(
            messages=[
                schemas.CompletionMessage(role=role.value, content=text)
                for role, text in template.messages()
            ],
            handlebars=write_handlebars(template),
            tags=write_tags(template),
        )


def _pairs(inputs: schemas.ConversationalInputs) -> Said:
    """The earlier messages in order. Raises HTTPException 422 if the lists do not match."""
    people, answers = inputs.past_user_inputs, inputs.generated_responses
    if len(people) != len(answers):
        problem = (
            f"{len(people)} past_user_inputs need as many generated_responses, not {len(answers)}"
        )
        raise field_error(("body", "inputs", "generated_responses"), problem, "unequal_lists")
    said: list[tuple[Role, str]] = []
    for person, assistant in zip(people, answers, strict=True):
        said += [(Role.USER, person), (Role.ASSISTANT, assistant)]
    return tuple(said)


def _filled(template: Template, given: str) -> Template:
    """The template with its input. Raises HTTPException 422 if that is too long."""
    try:
        return template.render(given)
    except TemplateError as error:
        raise field_error(("body", "input"), str(error.problem), "too_long") from error


def _template(asked: schemas.TemplateText | schemas.TemplateMessages) -> Template:
    if isinstance(asked, schemas.TemplateMessages):
        return template_of((Role(one.role), one.content) for one in asked.messages)
    try:
        return parse(asked.template)
    except TemplateError as error:
        raise field_error(("body", "template"), str(error), "template") from error
