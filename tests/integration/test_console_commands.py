"""The terminal's commands about models, and Tab completion, in this process and with a running
bot."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.document import Document

from adapters.console.adapter import ConsoleAdapter
from adapters.console.lines import make_completer
from adapters.console.remote import RemoteChat, RemoteModels
from bot.common.clock import SystemClock
from bot.domain import command_texts, texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address, CommandReply, Incoming
from bot.wiring.terminal import _keyboard_lines
from tests.integration.test_console import Lines, chat
from tests.support.catalog import offering
from tests.support.discord_kit import until
from tests.support.fake_inbox import FakeInbox
from tests.support.web_kit import serving


async def complete(completer: Completer, line: str) -> list[str]:
    document = Document(line, len(line))
    found = completer.get_completions_async(document, CompleteEvent(completion_requested=True))
    return [each.text async for each in found]


async def list_names() -> Sequence[str]:
    return ["openai/gpt-5", "ollama/\x1b[31mred", *(f"p/{n}" for n in range(10_000))]


async def test_arguments_are_completed_after_their_command_only() -> None:
    completer = make_completer(("/model", "/reset"), {"/model": list_names})
    assert await complete(completer, "/mo") == ["/model"]
    assert await complete(completer, "/model GPT") == ["openai/gpt-5"]
    assert await complete(completer, "  /model  gpt") == ["openai/gpt-5"]
    assert len(await complete(completer, "/model ")) == 100
    assert await complete(completer, "/reset g") == []
    assert await complete(completer, "model gpt") == []


async def test_a_completion_shows_no_control_characters() -> None:
    completer = make_completer(("/model",), {"/model": list_names})
    document = Document("/model red")
    [found] = [each async for each in completer.get_completions_async(document, CompleteEvent())]
    assert "\x1b" not in found.display_text
    assert found.start_position == -len("red")


async def test_the_prompt_completes_models_and_efforts() -> None:
    lines = _keyboard_lines(list_names)
    completer = make_completer(lines._words, lines._arguments)  # type: ignore[attr-defined]
    assert await complete(completer, "/model defau") == ["default"]
    assert await complete(completer, "/effort ") == ["low", "medium", "high", "default"]
    assert await complete(completer, "/con") == ["/continue", "/context"]


async def test_commands_about_models_answer_each_line(tmp_path: Path) -> None:
    said = await chat(tmp_path, "/effort low", "hello", "/effort low", "/effort", "/model x")
    answers = [
        command_texts.NEEDS_CONVERSATION["effort"],
        "I only repeat",
        "for low effort",
        "You can choose `low`",
        command_texts.NO_MODEL_CHOICES,
    ]
    assert [said.index(text) for text in answers] == sorted(said.index(text) for text in answers)


async def test_a_reply_cannot_control_the_terminal() -> None:
    """A summary is the model's text, and only the person at the terminal sees it."""
    out = io.StringIO()
    console = ConsoleAdapter(
        conversation="main", lines=Lines(), clock=SystemClock(), models=offering(), out=out
    )
    key = ConversationKey("console", "local", "terminal", "main")
    incoming = Incoming(
        key=key,
        channel="main",
        message_id="1",
        position=1,
        author=Author("local", "me"),
        text="/context",
        address=Address.DIRECT,
        sent_at=0.0,
    )
    await console.say(incoming, CommandReply("numbers", private="red\x1b[31m roses"))
    assert out.getvalue() == "numbers\n\nred[31m roses\n"


async def test_ctrl_c_says_why_an_answer_cannot_be_stopped() -> None:
    """The database is gone; people see a sentence instead of a task's traceback."""
    out, raised = io.StringIO(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))

    async def interrupt(_incoming: Incoming) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: texts.STORE_DOWN in out.getvalue() or raised)

    inbox = FakeInbox(error=StoreUnavailable("closed"), before_receive=interrupt)
    console = ConsoleAdapter(
        conversation="main", lines=Lines("hello"), clock=SystemClock(), models=offering(), out=out
    )
    await console.run(inbox)
    gc.collect()  # asyncio logs a task's exception when the task is collected
    assert out.getvalue() == f"{texts.STORE_DOWN}\n" * 2
    assert raised == []


# ── with a running bot ────────────────────────────────────────────────────────────────────────
async def test_a_running_bots_commands_and_models(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS="echo") as site:
        out = io.StringIO()
        lines = Lines("hello", "/effort high", "/effort", "/model echo")
        chat_ = RemoteChat(
            origin=site.url, token=None, name="main", lines=lines, piped=False, out=out
        )
        await chat_.run()
        said = out.getvalue()
        assert "I ask the model for high effort." in said
        assert command_texts.model_chosen("echo") in said
        assert await RemoteModels(origin=site.url, token=None).list_names() == ["echo"]


@pytest.mark.parametrize("origin", ["http://127.0.0.1:1", "http://[::1]:1"])
async def test_without_a_bot_nothing_is_completed(origin: str) -> None:
    assert await RemoteModels(origin=origin, token="x").list_names() == ()
