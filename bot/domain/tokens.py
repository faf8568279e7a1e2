"""Offline token estimates."""

from __future__ import annotations

from bot.domain.conversations import Message

# The chat format adds a few tokens to every message (role, separators); 4 is OpenAI's figure.
TOKENS_PER_MESSAGE = 4
# English prose has about 4 characters to a token, code about 3: 3 keeps the estimate on the safe
# side for both. Other scripts come to about a token for a character, and emoji to two or three.
ASCII_CHARACTERS_PER_TOKEN = 3
ASTRAL_TOKENS = 3


def count_tokens(text: str) -> int:
    """An estimate that is rather too high: real tokenizers need tables from the internet."""
    ascii_count = len(text.encode("ascii", "ignore"))
    astral = sum(character > "\uffff" for character in text) if ascii_count < len(text) else 0
    others = len(text) - ascii_count - astral
    return -(-ascii_count // ASCII_CHARACTERS_PER_TOKEN) + others + ASTRAL_TOKENS * astral


def message_tokens(message: Message) -> int:
    """What one message costs of the budget."""
    return count_tokens(message.content) + TOKENS_PER_MESSAGE
