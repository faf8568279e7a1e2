"""All routes of the page and the API, by their subjects."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter

from adapters.web.admin import AdminRoutes
from adapters.web.attachments import AttachmentRoutes
from adapters.web.choices import ChoiceRoutes
from adapters.web.connect import ConnectRoutes
from adapters.web.conversations import ConversationRoutes
from adapters.web.exports import ExportRoutes
from adapters.web.feedback import FeedbackRoutes
from adapters.web.models import ModelRoutes
from adapters.web.ports import WebParts
from adapters.web.records import RecordRoutes
from adapters.web.search import SearchRoutes
from adapters.web.sessions import SessionRoutes
from adapters.web.sharing import ShareRoutes
from adapters.web.single_request import SingleRequestRoutes
from adapters.web.usage import UsageRoutes
from adapters.web.versions import VersionRoutes
from adapters.web.workspace import Workspace


def routers(parts: WebParts) -> Iterator[APIRouter]:
    """The routers, in the order in which paths are tried."""
    yield from _conversations(parts)
    yield from _people(parts)
    yield from _page(parts)


def _conversations(parts: WebParts) -> Iterator[APIRouter]:
    """The routes by which programs use conversations."""
    chat, models, streams, ports = parts.chat, parts.models, parts.streams, parts.ports
    conversations = ConversationRoutes(
        chat=chat,
        streams=streams,
        models=models,
        reporter=ports.reporter,
        choices=ports.choices,
    )
    readable = conversations.readable
    yield SearchRoutes(ports.search, chat.places).router()  # before /conversation/{id}
    yield conversations.router()
    yield RecordRoutes(conversations=conversations, chat=chat).router()
    yield VersionRoutes(
        conversations=conversations, chat=chat, streams=streams, models=models
    ).router()
    yield ExportRoutes(chat=chat, readable=readable, models=models, streams=streams).router()
    yield FeedbackRoutes(ports=ports.feedback, places=chat.places, readable=readable).router()
    yield SingleRequestRoutes(chat=chat, streams=streams).router()
    yield AttachmentRoutes(chat.places).router()
    yield ModelRoutes(models).router()


def _people(parts: WebParts) -> Iterator[APIRouter]:
    """The routes that concern a person, or are for administrators."""
    ports, audit = parts.ports, parts.ports.privacy.audit_log
    yield AdminRoutes(library=ports.library, models=parts.models, audit=audit).router()
    yield UsageRoutes(ports.usage, audit=audit).router()
    yield ports.privacy.router()
    if parts.sessions is not None:
        yield SessionRoutes(parts.sessions).router()


def _page(parts: WebParts) -> Iterator[APIRouter]:
    """The routes that only the page uses."""
    ports, chat = parts.ports, parts.chat
    if ports.connector is not None:
        yield ConnectRoutes(ports.connector).router()
    yield ChoiceRoutes(ports=ports.choices, chat=chat, models=parts.models).router()
    if parts.options.access.needs_token:  # without tokens there is no one to share with
        yield ShareRoutes(ports=ports.choices, chat=chat).router()
    yield Workspace(parts).router()
