"""Types of fields that several schemas share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adapters.web.limits import MESSAGE_CHARACTERS, MODEL_CHARACTERS, NAME_CHARACTERS

RoleName = Literal["system", "user", "assistant"]
EffortName = Literal["low", "medium", "high"]
Text = Annotated[str, Field(min_length=1, max_length=MESSAGE_CHARACTERS)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]
ModelName = Annotated[
    str, Field(max_length=MODEL_CHARACTERS, description="one of those that `GET /models` lists")
]
CurrencyCode = Annotated[
    str, Field(pattern="^[A-Z]{3}$", description="the currency of the file, such as EUR")
]
MOST_OPENING = 1_000  # messages at the start of a conversation

AT = "UTC, such as 2023-12-04T17:28:52.678004Z"
AT_BARE = "UTC without saying so, such as 2023-12-04T17:28:52.678004"
