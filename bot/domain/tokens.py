"""Token estimates without a tokenizer."""

from __future__ import annotations

from math import ceil

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


def image_tokens(part: ImagePart) -> int:
    """An image's estimated tokens with its label; errs on the high side.

    The largest of three published rules. OpenAI's tiles (guide "Images and vision", GPT-4o): 85,
    and 170 for each square of 512 px once the image fits into 2,048 px and its short side into 768.
    OpenAI's patches (same page, GPT-4.1 mini): 1.62 for each square of 32 px, of which at most
    1,536 count. Anthropic (guide "Vision"): width x height / 750. The last one is not capped here,
    because Qwen's models count all pixels, 784 for a token. GPT-4o mini bills more, but its window
    is not filled by that.
    """
    width, height = max(part.width, 1), max(part.height, 1)
    scale = min(1.0, 2_048 / max(width, height), 768 / min(width, height))
    tiles = ceil(width * scale / 512) * ceil(height * scale / 512)
    patches = min(ceil(width / 32) * ceil(height / 32), 1_536)
    tokens = max(85 + 170 * tiles, ceil(1.62 * patches), ceil(width * height / 750))
    return tokens + (count_tokens(part.label) + TOKENS_PER_MESSAGE if part.label else 0)


def message_tokens(message: Message) -> int:
    """A message's estimated tokens in a request, with its images."""
    images = sum(map(image_tokens, message.parts))
    return count_tokens(message.content) + TOKENS_PER_MESSAGE + images
