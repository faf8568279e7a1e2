"""Runs the chat in the terminal: with a core in this process, or with a bot that already runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bot.common.clock import SystemClock
from bot.common.lifecycle import run_until, stop_signals
from bot.config.settings import Settings
from bot.core import build_core
from bot.domain import texts
from bot.domain.errors import AnswerFailed, InUse
from bot.domain.model_names import DEFAULT
from bot.domain.turns import Outcome
from bot.inbox import commands
from bot.inbox.model_commands import EFFORTS
from bot.resources import Resources, open_resources
from bot.turns.display import sentence_of

if TYPE_CHECKING:
    from adapters.console.adapter import ConsoleAdapter
    from adapters.console.attachments import Attachments
    from adapters.console.lines import LineReader, ListWords

    MakeLines = Callable[[ListWords], LineReader]

MAIN = "main"
"""The name of the terminal's conversation, unless another one is given."""

HISTORY_FILE = ".threadline_history"


@dataclass(frozen=True, slots=True)
class Terminal:
    """The parts that a chat in the terminal needs, with a core in this process or a running bot.

    `lines` creates the reader of the person's lines; its argument lists the models, for completion.
    """

    conversation: str
    lines: MakeLines
    attachments: Attachments
    piped: bool


async def chat(settings: Settings, word: str | None, conversation: str | None = None) -> None:
    """Run one conversation in the terminal until the input ends.

    At a keyboard, `word` is the conversation's name. In a pipe it is a question, and the input is
    the file that the question is about. If another process already has the database open, the
    terminal talks to that process over HTTP.
    """
    from adapters.console.attachments import Attachments, FileLimits

    limits = FileLimits(settings.attachments_per_message, settings.attachment_bytes)
    attachments = Attachments(limits)
    piped = not sys.stdin.isatty()
    lines: MakeLines = partial(_piped_lines, word, attachments) if piped else _keyboard_lines
    if not piped:
        conversation = conversation or word
    terminal = Terminal(conversation or MAIN, lines, attachments, piped=piped)
    try:
        await _chat_here(settings, terminal)
    except InUse:
        await _chat_remotely(settings, terminal)


async def _chat_here(settings: Settings, terminal: Terminal) -> None:
    from adapters.console.adapter import ConsoleAdapter

    clock = SystemClock()
    async with open_resources(settings, clock) as resources:
        console = ConsoleAdapter(
            conversation=terminal.conversation,
            lines=terminal.lines(resources.models.list_names),
            clock=clock,
            piped=terminal.piped,
            attachments=terminal.attachments,
            models=resources.models,
        )
        core = build_core(settings, resources, {console.name: console}, clock)
        drain = partial(core.drain, settings.drain_seconds)
        if terminal.piped:  # the process ends with the answer, and so would a summary
            core.compactor.stop()
        if not terminal.piped:
            console.greet(resources.models.default)
        with stop_signals(signal.SIGTERM) as stop:
            await run_until(stop, console.run(core.inbox), drain=drain)
        if terminal.piped:
            await _finish_pipe(console, resources)


async def _finish_pipe(console: ConsoleAdapter, resources: Resources) -> None:
    """Write the rest of the last answer. Raises AnswerFailed if the answer is incomplete."""
    if console.turn is None:
        return
    reply = await resources.store.library().reply(console.turn)
    if reply is None:
        return
    console.finish(reply.content)
    if reply.outcome is not Outcome.ANSWERED:
        raise AnswerFailed(sentence_of(reply.display, reply.content) or texts.INTERNAL)


async def _chat_remotely(settings: Settings, terminal: Terminal) -> None:
    from adapters.console.remote import RemoteChat, RemoteModels

    listens_everywhere = settings.http_host in ("0.0.0.0", "::")  # noqa: S104 - compared only
    host = "127.0.0.1" if listens_everywhere else settings.http_host
    origin = f"http://{f'[{host}]' if ':' in host else host}:{settings.web_port}"
    token = next(iter(settings.web_tokens.values()), None)
    await RemoteChat(
        origin=origin,
        token=token,
        name=terminal.conversation,
        lines=terminal.lines(RemoteModels(origin=origin, token=token).list_names),
        piped=terminal.piped,
        attachments=terminal.attachments,
    ).run()


# ── lines ─────────────────────────────────────────────────────────────────────────────────────
def _piped_lines(
    question: str | None, attachments: Attachments, _list_models: ListWords
) -> LineReader:
    """Read the input as a question or, if there is a `question`, as the file it is about."""
    from adapters.console.lines import PipedLines, QuestionAboutInput

    if question is None:
        return PipedLines()
    return QuestionAboutInput(question, attachments=attachments)


def _keyboard_lines(list_models: ListWords) -> LineReader:
    """Lines from the keyboard; `list_models` completes /model."""
    from adapters.console.lines import KeyboardLines

    async def list_names() -> Sequence[str]:
        return [*await list_models(), DEFAULT]

    async def list_efforts() -> Sequence[str]:
        return EFFORTS

    return KeyboardLines(
        history=Path(HISTORY_FILE),
        words=[f"/{name}" for name in commands.NAMES],
        arguments={f"/{commands.MODEL}": list_names, f"/{commands.EFFORT}": list_efforts},
    )
