"""Which messages are commands."""

from __future__ import annotations

import pytest

from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Address, Incoming
from bot.inbox.commands import parse

MODELS = ("openai:gpt-5", "echo")


def said(text: str, address: Address = Address.MENTION) -> Incoming:
    return Incoming(
        key=ConversationKey("sim", "w", "c", "t"),
        channel="c",
        message_id="1",
        position=1,
        author=Author("1", "Ann"),
        text=text,
        address=address,
        sent_at=0.0,
    )


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("reset", "reset", ""),
        ("/reset", "reset", ""),
        (" Stop ", "stop", ""),
        ("HELP", "help", ""),
        ("retry", "retry", ""),
        ("/continue", "continue", ""),
        ("undo", "undo", ""),
        ("model", "model", ""),
        ("model openai:gpt-5", "model", "openai:gpt-5"),
        ("model GPT-5", "model", "GPT-5"),
        ("model default", "model", "default"),
        ("/model nonsense", "model", "nonsense"),
        ("effort", "effort", ""),
        ("effort low", "effort", "low"),
        ("Effort Default", "effort", "Default"),
        ("/effort extreme", "effort", "extreme"),
        ("context", "context", ""),
    ],
)
def test_the_word_alone_is_a_command(text: str, name: str, argument: str) -> None:
    command = parse(said(text), MODELS)
    assert command is not None
    assert (command.name, command.argument) == (name, argument)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "reset the router please",
        "retry the build",
        "continue with the second",
        "undo it",
        "stop it",
        "model trains are fun",
        "effort was made",
        "effort extreme",
        "context matters",
        "/context of this",
        "how do I reset?",
        "resett",
    ],
)
def test_a_sentence_is_a_question(text: str) -> None:
    assert parse(said(text), MODELS) is None


def test_a_direct_message_needs_no_mention() -> None:
    assert parse(said("reset", Address.DIRECT), MODELS) is not None


@pytest.mark.parametrize("address", [Address.FOLLOW_UP, Address.ASIDE])
def test_the_word_is_not_a_command_unless_it_addresses_the_bot(address: Address) -> None:
    """People in a thread say "stop" to each other."""
    assert parse(said("stop", address), MODELS) is None
