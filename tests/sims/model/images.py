"""Images in requests: validated like the real API, refused like servers without vision."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.sims.model.error_responses import ErrorResponse, error_body, invalid_request

SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
_FORMATS = "['png', 'jpeg', 'gif', 'webp']"


@dataclass(frozen=True, slots=True)
class SentImage:
    """An image as it arrived; `message` is the index of its message."""

    message: int
    media_type: str
    data: bytes


def sent_images(messages: Sequence[Mapping[str, Any]]) -> list[SentImage]:
    """The images of a request's messages, in order."""
    return [
        SentImage(index, *decode(part["image_url"]["url"]))
        for index, message in enumerate(messages)
        for part in image_parts(message)
    ]


def image_parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A message's parts that are images."""
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "image_url":
            yield part


def decode(url: str) -> tuple[str, bytes]:
    """The media type and the bytes of a data URL; raises ValueError."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise ValueError("not a data URL")
    try:
        return head[5 : -len(";base64")], base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def check_image(path: str, role: str, part: Mapping[str, Any]) -> None:
    """Reject an image that the real API would reject."""
    if role != "user":
        raise invalid_request(
            f"Invalid value: 'image_url'. Supported values are: 'text' and 'refusal'. ({path})",
            param=path,
            code="invalid_value",
        )
    image = part["image_url"]
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise invalid_request(
            f"Invalid type for '{path}.image_url': expected an object, but got a string instead.",
            param=f"{path}.image_url",
            code="invalid_type",
        )
    try:
        media_type, data = decode(image["url"])
    except ValueError:
        raise invalid_request(
            "Invalid base64 image_url.", param=path, code="invalid_base64_image"
        ) from None
    if not data.startswith(SIGNATURES.get(media_type, ())):
        raise invalid_request(
            "You uploaded an unsupported image. Please make sure your image has of one the "
            f"following formats: {_FORMATS}.",
            code="invalid_image_format",
        )


# ── models that take no images ────────────────────────────────────────────────────────────────
BLIND: Mapping[str, tuple[int, Any]] = {
    "openai": (
        400,
        error_body(
            "Invalid content type. image_url is only supported by certain models.",
            "invalid_request_error",
            None,
            "messages.[0].content.[1].type",
        ),
    ),
    "vllm": (
        400,
        {
            "object": "error",
            "message": "sim is not a multimodal model None",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    "llamacpp": (
        500,
        {
            "error": {
                "code": 500,
                "message": "image input is not supported - hint: if this is unexpected, you may "
                "need to provide the mmproj",
                "type": "server_error",
            }
        },
    ),
    "ollama": (
        400,
        error_body("this model does not support image input", "invalid_request_error", None),
    ),
    "lm-studio": (400, {"error": "Model does not support images. Please use a model that does."}),
    "groq": (
        400,
        error_body("messages[0].content must be a string", "invalid_request_error", None),
    ),
    "deepseek": (
        400,
        error_body(
            "Failed to deserialize the JSON body into the target type: messages[0]: unknown "
            "variant `image_url`, expected `text` at line 1 column 173667",
            "invalid_request_error",
            "invalid_request_error",
        ),
    ),
    "openrouter": (
        404,
        {"error": {"message": "No endpoints found that support image input", "code": 404}},
    ),
}


def refuse_images(form: str) -> ErrorResponse:
    """The response from a server whose model takes no images; `form` is a key of `BLIND`."""
    status, body = BLIND[form]
    return ErrorResponse(status, body)
