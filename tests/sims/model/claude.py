"""The differences in what Claude models accept.

Sources: the guides "Thinking", "Effort" and "Prompt caching" and the migration guides of each model
(platform.claude.com), as of October 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClaudeModel:
    """One model. Sizes are in tokens; `adaptive` and `budget` are the kinds of thinking it accepts.

    `prefill`: the request may end with the beginning of the answer. `sampling`: it accepts a
    temperature. `strict_window`: input and answer together must fit, or the request is rejected.
    """

    window: int = 200_000
    max_output: int = 64_000
    cache_minimum: int = 1_024
    effort: bool = True
    adaptive: bool = True
    budget: bool = True
    thinks_unasked: bool = False
    sampling: bool = True
    prefill: bool = False
    strict_window: bool = False


_MILLION = 1_000_000
_NEW = ClaudeModel(
    _MILLION, 128_000, cache_minimum=512, budget=False, thinks_unasked=True, sampling=False
)

CLAUDE: Mapping[str, ClaudeModel] = {
    "claude-3-7-sonnet-20250219": ClaudeModel(
        effort=False, adaptive=False, prefill=True, strict_window=True
    ),
    "claude-haiku-4-5": ClaudeModel(
        cache_minimum=4_096, effort=False, adaptive=False, prefill=True
    ),
    "claude-opus-4-6": ClaudeModel(_MILLION, 128_000, cache_minimum=4_096),
    "claude-opus-4-8": ClaudeModel(_MILLION, 128_000, budget=False, sampling=False),
    "claude-sonnet-5": ClaudeModel(
        _MILLION, 128_000, budget=False, thinks_unasked=True, sampling=False
    ),
    "claude-opus-5": _NEW,
    "claude-opus-5-5": _NEW,
}
DEFAULT = ClaudeModel()
"""The traits of a model that only a test names."""
