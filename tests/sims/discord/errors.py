"""Discord's errors: a handler raises one and the simulator responds with it.

ApiError
├── Unauthorized   401, the token
├── NotFound       404, the resource does not exist (or not for this bot)
├── Forbidden      403, a permission
└── InvalidForm    400 with code 50035 and the path of the invalid field
"""

from __future__ import annotations

from typing import Any, Final


class ApiError(Exception):
    """An error response: HTTP `status`, Discord's JSON `code` and `message`."""

    def __init__(self, status: int, code: int, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.extra = status, code, message, extra

    @property
    def body(self) -> dict[str, Any]:
        """The response's JSON."""
        return {"message": self.message, "code": self.code, **self.extra}


class Unauthorized(ApiError):
    """No token, or a wrong one."""

    def __init__(self) -> None:
        super().__init__(401, 0, "401: Unauthorized")


class NotFound(ApiError):
    """A resource does not exist; the codes are 10003 for channels, 10008 for messages and so on."""

    CODES: Final = {
        "Application": 10002,
        "Channel": 10003,
        "Guild": 10004,
        "Member": 10007,
        "Message": 10008,
        "User": 10013,
        "Webhook": 10015,
        "Interaction": 10062,
        "application command": 10063,
    }

    def __init__(self, what: str) -> None:
        super().__init__(404, self.CODES[what], f"Unknown {what}")


class Forbidden(ApiError):
    """A permission is missing."""

    def __init__(self, code: int = 50013, message: str = "Missing Permissions") -> None:
        super().__init__(403, code, message)


def missing_access() -> Forbidden:
    """The error for a channel or guild that the bot cannot see."""
    return Forbidden(50001, "Missing Access")


def thread_archived(status: int = 400) -> ApiError:
    """The error of an archived thread (400), and of posting in a locked one (403)."""
    return ApiError(status, 50083, "Thread is archived")


class InvalidForm(ApiError):
    """A field of the body is invalid; `path` is dotted, as in `embeds.0.title`."""

    def __init__(self, path: str, code: str, message: str) -> None:
        tree: dict[str, Any] = {"_errors": [{"code": code, "message": message}]}
        for key in reversed(path.split(".")):
            tree = {key: tree}
        super().__init__(400, 50035, "Invalid Form Body", errors=tree)


def too_long(path: str, limit: int) -> InvalidForm:
    """The text at `path` has more than `limit` characters."""
    return InvalidForm(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def bad_length(path: str, low: int, high: int) -> InvalidForm:
    """The text or list at `path` must have between `low` and `high` elements."""
    message = f"Must be between {low} and {high} in length."
    return InvalidForm(path, "BASE_TYPE_BAD_LENGTH", message)


def required(path: str) -> InvalidForm:
    """The field at `path` is missing."""
    return InvalidForm(path, "BASE_TYPE_REQUIRED", "This field is required")


def not_a_choice(path: str, choices: object) -> InvalidForm:
    """The value at `path` is not one of `choices`."""
    return InvalidForm(path, "BASE_TYPE_CHOICES", f"Value must be one of {choices}.")
