"""How a model's ability to see is learned, and what images cost in tokens."""

from __future__ import annotations

import pytest

from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.errors import CannotSee, ImageRefused, Overloaded
from bot.domain.tokens import image_tokens, message_tokens
from bot.llm.vision import BLIND_SECONDS, Vision


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_is_believed_for_an_hour() -> None:
    """The operator may load another model by then; a different failure changes nothing."""
    time = Time()
    vision = Vision(now=time)
    assert vision.sees is None
    for error in (ImageRefused(), Overloaded()):
        assert vision.record_error(error) is error
        assert vision.sees is None
    error = CannotSee()
    assert vision.record_error(error) is error
    assert vision.sees is False
    time.now += BLIND_SECONDS
    assert vision.sees is None
    vision.record_answer()
    assert vision.sees is True


def test_a_model_that_saw_an_image_is_never_taken_for_blind() -> None:
    vision = Vision(now=Time())
    vision.record_answer()
    error = CannotSee("400", model="openai:m")
    error.provider_message = "words"
    refused = vision.record_error(error)
    assert type(refused) is ImageRefused and vision.sees is True
    assert (str(refused), refused.model, refused.provider_message) == ("400", "openai:m", "words")


def image(width: int, height: int, label: str = "") -> ImagePart:
    return ImagePart("image/png", b"", width, height, label)


@pytest.mark.parametrize(
    ("width", "height", "published"),
    [
        (64, 64, 255),  # OpenAI: one tile
        (1_024, 1_024, 1_659),  # GPT-4.1 mini: 1,024 patches
        (2_000, 2_000, 5_102),  # Qwen: 784 pixels per token
        (768, 1_536, 1_105),  # OpenAI: six tiles
        (1_092, 1_092, 1_590),  # Anthropic's example
        (0, 0, 85),
    ],
)
def test_an_images_tokens_are_at_least_what_providers_count(
    width: int, height: int, published: int
) -> None:
    assert published <= image_tokens(image(width, height)) <= 3 * max(published, 85)


def test_a_message_counts_its_images_and_their_labels() -> None:
    bare, part = Message(Role.USER, "hi"), image(100, 100)
    one = Message(Role.USER, "hi", parts=(part,))
    labelled = Message(Role.USER, "hi", parts=(image(100, 100, "page 4"),))
    assert message_tokens(one) == message_tokens(bare) + image_tokens(part)
    assert message_tokens(labelled) > message_tokens(one)
