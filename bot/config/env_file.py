"""Reads `.env` from any editor, shell and operating system, and finds misspelled names in it.

`docker --env-file` and systemd pass values on with their quotes and comments. Such a value means
the same in the environment as in the file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from bot.config import text_file
from bot.domain.errors import SettingsError

# Names that other programs use for these settings; most differ too much for a spelling check.
OTHER_NAMES: Mapping[str, str] = {
    "OPENAI_KEY": "OPENAI_API_KEY",
    "OPENAI_TOKEN": "OPENAI_API_KEY",
    "OPENAI_API_TOKEN": "OPENAI_API_KEY",
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_URL": "OPENAI_BASE_URL",
    "DISCORD_BOT_TOKEN": "DISCORD_TOKEN",
    "DISCORD_API_TOKEN": "DISCORD_TOKEN",
    "DISCORD_KEY": "DISCORD_TOKEN",
    "SLACK_TOKEN": "SLACK_BOT_TOKEN",
    "SLACK_API_TOKEN": "SLACK_BOT_TOKEN",
    "SLACK_BOT_USER_TOKEN": "SLACK_BOT_TOKEN",
    "SLACK_APP_LEVEL_TOKEN": "SLACK_APP_TOKEN",
    "SLACK_SECRET": "SLACK_SIGNING_SECRET",
    "HF_API_KEY": "HF_TOKEN",
    "HF_API_TOKEN": "HF_TOKEN",
    "HUGGINGFACE_TOKEN": "HF_TOKEN",
    "HUGGINGFACE_API_KEY": "HF_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN": "HF_TOKEN",
    "MODEL": "LLM",
    "LLM_MODEL": "LLM",
    "PORT": "HTTP_PORT",
    "HOST": "HTTP_HOST",
    "DATABASE": "DATABASE_URL",
    "PROMPT": "SYSTEM_PROMPT",
    "GOOGLE_API_KEY": "GEMINI_API_KEY",
    "CLAUDE_API_KEY": "ANTHROPIC_API_KEY",
    "GROK_API_KEY": "XAI_API_KEY",
    "TOGETHERAI_API_KEY": "TOGETHER_API_KEY",
}
# Other programs also read the names excluded here, so in the environment they may not be meant for
# us.
_UNSHARED = frozenset(OTHER_NAMES) - {
    "OPENAI_API_BASE",
    "SLACK_TOKEN",
    "HUGGINGFACE_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN",
    "MODEL",
    "LLM_MODEL",
    "PORT",
    "HOST",
    "DATABASE",
    "PROMPT",
    "GOOGLE_API_KEY",
    "CLAUDE_API_KEY",
    "GROK_API_KEY",
    "TOGETHERAI_API_KEY",
}

STANDARD = "OTEL_"
"""The prefix of the standard variables for traces, which OpenTelemetry reads."""

_QUOTED = re.compile(r"(?:export\s+)?(?P<name>[\w.-]+)\s*=\s*(?P<quote>[\"'])")
_COMMENT = re.compile(r"\s#.*\Z", re.DOTALL)


def read(path: Path) -> dict[str, str]:
    """The names and values in a `.env` file; empty if the file does not exist.

    Raises SettingsError if the file cannot be read, or for every line without NAME=VALUE.
    """
    text = text_file.read(path)
    if text is None:
        return {}
    wrong = [(str(path), _problem(each)) for each in parse_stream(StringIO(text)) if each.error]
    if wrong:
        raise SettingsError(*wrong[0], others=wrong[1:])
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


def _problem(binding: Binding) -> str:
    """The reason why a line cannot be read."""
    written = binding.original.string.lstrip()
    line = binding.original.line + binding.original.string[: -len(written)].count("\n")
    if opening := _QUOTED.match(written):
        return (
            f"line {line}: the value of {opening['name']} begins with {opening['quote']}, so it "
            f"must end with {opening['quote']}, and only a comment may follow"
        )
    return f"line {line} is not a setting: write NAME=VALUE"


def unquote(value: str, *, prose: bool = False) -> str:
    """Strip `.env` syntax from a value of the environment: surrounding quotes, and a trailing
    comment.

    `prose` keeps the comment, because ` #` may be part of the text.
    """
    value = value.strip()
    if _is_quoted(value):
        return value[1:-1].strip()
    if prose:
        return value
    value = _COMMENT.sub("", value)
    return value[1:-1].strip() if _is_quoted(value) else value


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"


def find_misspelled(
    known: Collection[str], file: Iterable[str], environ: Iterable[str]
) -> dict[str, str]:
    """Find unknown names, each with the known name that was probably meant ("" if none is similar).

    Reports all unknown names in the `.env` file, but from the environment only names that no other
    program reads.
    """
    ours = (name for name in file if not name.startswith(STANDARD))
    found = {name: closest_name(name, known) for name in ours if name not in known}
    for name in environ:
        upper = name.upper()
        if name not in known and (upper in known or upper in _UNSHARED):
            found[name] = closest_name(name, known)
    return {name: other for name, other in found.items() if other not in environ or not other}


def closest_name(name: str, known: Collection[str]) -> str:
    """The known setting that `name` was probably meant to be; "" if none is similar."""
    upper = name.upper()
    if upper in known:
        return upper
    if (other := OTHER_NAMES.get(upper)) is not None:
        return other
    near = difflib.get_close_matches(upper, known, n=1, cutoff=0.65)
    return near[0] if near else ""
