"""Routes that take what there is to say in one request: prompts, whole conversations, templates."""

from __future__ import annotations

import uuid

from fastapi import APIRouter

from adapters.web import models
from adapters.web.auth import User
from adapters.web.chat import PLATFORM, ChatService, place_of
from adapters.web.limits import Streams
from adapters.web.openapi import ASKING, add, wrong
from adapters.web.results import answer
from adapters.web.templates import (
    Said,
    Template,
    parse,
    said_so,
    write_handlebars,
    write_tags,
)
from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.errors import TemplateError
from bot.domain.records import ConversationRecord, NewConversation

CHAT_CHANNEL = "chat"
"""Where conversations are whose ids programs made up themselves."""


class OneShot:
    """The routes under /api."""

    def __init__(self, *, talk: ChatService, streams: Streams) -> None:
        self._talk, self._library, self._streams = talk, talk.library, streams

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/api", tags=["one request"])
        add(router, "POST", "/chat", self.chat, gives=models.ChatAnswer, refuses=ASKING)
        add(
            router,
            "POST",
            "/conversational",
            self.conversational,
            gives=models.ConversationalAnswer,
            refuses=ASKING,
        )
        add(router, "POST", "/template", self.template, gives=models.TemplateAnswer)
        return router

    async def chat(self, user: User, prompt: models.Prompt) -> models.ChatAnswer:
        """Answer a prompt; with an id it goes on with that conversation, which may be new."""
        with self._streams.hold(user):
            record = await self._conversation(user, prompt)
            said = answer(await self._talk.complete(record, user, prompt.prompt))
        message = models.AssistantMessage(role="assistant", content=said["content"])
        return models.ChatAnswer(assistantMessage=message)

    async def _conversation(self, user: str, prompt: models.Prompt) -> ConversationRecord:
        if prompt.id is None:
            return await self._talk.begin(user)
        known = await self._library.find(prompt.id.lower(), place_of(user))
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
        """Go on with a conversation that the request brings along, pair by pair."""
        inputs = asked.inputs
        with self._streams.hold(user):
            record = await self._talk.begin(user, name=inputs.text, opening=_pairs(inputs))
            said = answer(await self._talk.complete(record, user, inputs.text))["content"]
        history = models.ConversationalHistory(
            past_user_inputs=[*inputs.past_user_inputs, inputs.text],
            generated_responses=[*inputs.generated_responses, said],
        )
        option = models.ConversationalOption(generated_text=said, conversation=history)
        return models.ConversationalAnswer(options=[option])

    async def template(
        self, _user: User, asked: models.TemplateText | models.TemplateMessages
    ) -> models.TemplateAnswer:
        """Read a template, or messages, fill in the input, and write it in both notations."""
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
    """What was said before, in order. Raises 422 where the lists do not fit together."""
    people, answers = inputs.past_user_inputs, inputs.generated_responses
    if len(people) != len(answers):
        problem = (
            f"{len(people)} past_user_inputs need as many generated_responses, not {len(answers)}"
        )
        raise wrong(("body", "inputs", "generated_responses"), problem, "unequal_lists")
    said: list[tuple[Role, str]] = []
    for person, assistant in zip(people, answers, strict=True):
        said += [(Role.USER, person), (Role.ASSISTANT, assistant)]
    return tuple(said)


def _filled(template: Template, given: str) -> Template:
    """The template with its input. Raises 422 where that becomes too long."""
    try:
        return template.render(given)
    except TemplateError as error:
        raise wrong(("body", "input"), str(error.problem), "too_long") from error


def _template(asked: models.TemplateText | models.TemplateMessages) -> Template:
    if isinstance(asked, models.TemplateMessages):
        return said_so((Role(one.role), one.content) for one in asked.messages)
    try:
        return parse(asked.template)
    except TemplateError as error:
        raise wrong(("body", "template"), str(error), "template") from error
