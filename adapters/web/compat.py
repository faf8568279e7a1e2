"""Routes that take a whole task in one request: prompts, conversations, templates."""

from __future__ import annotations

import uuid

from fastapi import APIRouter

from adapters.web import models
from adapters.web.auth import User
from adapters.web.chat import PLATFORM, ChatService, user_scope
from adapters.web.limits import StreamSlots
from adapters.web.openapi import ASKING, add_route, field_error
from adapters.web.results import answer
from adapters.web.templates import (
    Said,
    Template,
    parse,
    template_of,
    write_handlebars,
    write_tags,
)
from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.errors import TemplateError
from bot.domain.records import ConversationRecord, NewConversation

CHAT_CHANNEL = "chat"
"""The channel of conversations whose ids clients chose."""


class CompatRoutes:
    """The routes under /api."""

    def __init__(self, *, chat: ChatService, streams: StreamSlots) -> None:
        self._chat, self._library, self._streams = chat, chat.library, streams

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/api", tags=["one request"])
        add_route(router, "POST", "/chat", self.chat, gives=models.ChatAnswer, refuses=ASKING)
        add_route(
            router,
            "POST",
            "/conversational",
            self.conversational,
            gives=models.ConversationalAnswer,
            refuses=ASKING,
        )
        add_route(router, "POST", "/template", self.template, gives=models.TemplateAnswer)
        return router

    async def chat(self, user: User, prompt: models.Prompt) -> models.ChatAnswer:
        """Answer a prompt; an id continues that conversation, or starts it."""
        with self._streams.hold(user):
            record = await self._conversation(user, prompt)
            said = answer(await self._chat.complete(record, user, prompt.prompt))
        message = models.AssistantMessage(role="assistant", content=said["content"])
        return models.ChatAnswer(assistantMessage=message)

    async def _conversation(self, user: str, prompt: models.Prompt) -> ConversationRecord:
        if prompt.id is None:
            return await self._chat.begin(user)
        known = await self._library.find(prompt.id.lower(), user_scope(user))
        if known is not None:
            return known
        return await self._library.create(
            NewConversation(
                key=ConversationKey(PLATFORM, user, CHAT_CHANNEL, prompt.id),
                uid=str(uuid.uuid4()),
                name=prompt.prompt,
                began_by=Author(id=user, name=user),
            )
        )

    async def conversational(
        self, user: User, asked: models.Conversational
    ) -> models.ConversationalAnswer:
        """Continue a conversation that the request contains, in pairs."""
        inputs = asked.inputs
        with self._streams.hold(user):
            record = await self._chat.begin(user, name=inputs.text, opening=_pairs(inputs))
            said = answer(await self._chat.complete(record, user, inputs.text))["content"]
        history = models.ConversationalHistory(
            past_user_inputs=[*inputs.past_user_inputs, inputs.text],
            generated_responses=[*inputs.generated_responses, said],
        )
        option = models.ConversationalOption(generated_text=said, conversation=history)
        return models.ConversationalAnswer(options=[option])

    async def template(
        self, _user: User, asked: models.TemplateText | models.TemplateMessages
    ) -> models.TemplateAnswer:
        """Parse a template or messages, fill in the input, and write both notations."""
        template = _template(asked)
        if asked.input is not None:
            template = _filled(template, asked.input)
        return models.TemplateAnswer(
            messages=[
                models.CompletionMessage(role=role.value, content=text)
                for role, text in template.messages()
            ],
            handlebars=write_handlebars(template),
            tags=write_tags(template),
        )


def _pairs(inputs: models.ConversationalInputs) -> Said:
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


def _template(asked: models.TemplateText | models.TemplateMessages) -> Template:
    if isinstance(asked, models.TemplateMessages):
        return template_of((Role(one.role), one.content) for one in asked.messages)
    try:
        return parse(asked.template)
    except TemplateError as error:
        raise field_error(("body", "template"), str(error), "template") from error
