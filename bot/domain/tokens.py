"""Token estimates without a tokenizer."""

from __future__ import annotations

from bot.domain.conversations import ImagePart, Message

# The chat format adds tokens to each message (role, separators); 4 is OpenAI's figure.
TOKENS_PER_MESSAGE = 4
# English prose has about 4 characters per token and code about 3, so 3 is safe for both. Other
# scripts have about one character per token, and an emoji takes two or three tokens.
ASCII_CHARACTERS_PER_TOKEN = 3
ASTRAL_TOKENS = 3


def count_tokens(text: str) -> int:
    """An estimate that errs on the high side; real tokenizers need tables from the network."""
    ascii_count = len(text.encode("ascii", "ignore"))
    astral = sum(character > "\uffff" for character in text) if ascii_count < len(text) else 0
    others = len(text) - ascii_count - astral
    return -(-ascii_count // ASCII_CHARACTERS_PER_TOKEN) + others + ASTRAL_TOKENS * astral


def count_up_to(text: str, limit: int) -> int:
    """As `count_tokens`; `limit + 1` for a far longer text, whose tokens are not counted."""
    if len(text) > ASCII_CHARACTERS_PER_TOKEN * max(0, limit):
        return max(0, limit) + 1
    return count_tokens(text)


def image_tokens(image: ImagePart) -> int:
    """An image's estimated tokens, on the high side."""
    return min(1_600, -(-image.width * image.height // 750))


def message_tokens(message: Message) -> int:
    """A message's estimated tokens in a request."""
    images = sum(map(image_tokens, message.parts))
    return count_tokens(message.content) + images + TOKENS_PER_MESSAGE
