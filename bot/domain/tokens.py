"""Estimates token counts without a tokenizer."""

from __future__ import annotations

from math import ceil

from bot.domain.conversations import ImagePart, Message

# The chat format adds tokens to each message (role, separators); OpenAI states 4.
TOKENS_PER_MESSAGE = 4
# English prose has about 4 characters per token and code about 3, so 3 is safe for both. Other
# scripts have about one character per token, and an emoji takes two or three tokens.
ASCII_CHARACTERS_PER_TOKEN = 3
ASTRAL_TOKENS = 3


def count_tokens(text: str) -> int:
    """Estimate tokens on the high side; real tokenizers need tables from the network."""
    ascii_count = len(text.encode("ascii", "ignore"))
    astral = sum(character > "\uffff" for character in text) if ascii_count < len(text) else 0
    others = len(text) - ascii_count - astral
    return -(-ascii_count // ASCII_CHARACTERS_PER_TOKEN) + others + ASTRAL_TOKENS * astral


def count_up_to(text: str, limit: int) -> int:
    """Like `count_tokens`, but returns `limit + 1` for a much longer text without counting it."""
    if len(text) > ASCII_CHARACTERS_PER_TOKEN * max(0, limit):
        return max(0, limit) + 1
    return count_tokens(text)


def image_tokens(part: ImagePart) -> int:
    """Estimate the tokens of an image and its label, on the high side.

    Takes the largest of three published rules. OpenAI's tiles (guide "Images and vision", GPT-4o):
    85, plus 170 for each 512 px square after scaling the image to fit 2,048 px and its short side
    to 768. OpenAI's patches (same page, GPT-4.1 mini): 1.62 for each 32 px square, up to 1,536
    squares. Anthropic (guide "Vision"): width x height / 750. The last rule is not capped here,
    because Qwen's models count all pixels, one token per 784. GPT-4o mini bills more, but that does
    not fill its window.
    """
    width, height = max(part.width, 1), max(part.height, 1)
    scale = min(1.0, 2_048 / max(width, height), 768 / min(width, height))
    tiles = ceil(width * scale / 512) * ceil(height * scale / 512)
    patches = min(ceil(width / 32) * ceil(height / 32), 1_536)
    tokens = max(85 + 170 * tiles, ceil(1.62 * patches), ceil(width * height / 750))
    return tokens + (count_tokens(part.label) + TOKENS_PER_MESSAGE if part.label else 0)


def message_tokens(message: Message) -> int:
    """Estimate the tokens of a message in a request, including its images."""
    images = sum(map(image_tokens, message.parts))
    return count_tokens(message.content) + TOKENS_PER_MESSAGE + images
