"""Reading `.env`, whichever editor, shell or operating system wrote it, and near misses of names.

Pure but for reading one file. Values that `docker --env-file` and systemd pass on as they stand,
with quotes and comments, mean the same here as in the file itself.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from bot.domain.errors import SettingsError

# What Windows editors and PowerShell's `>` begin a file with; UTF-32 is never written by one.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Names that other programs use for the same thing; a spelling check would not find all of them.
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
}
# In the environment many programs share the names; only these are certainly meant for us.
_OURS_ALONE = frozenset(OTHER_NAMES) - {
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
}

_COMMENT = re.compile(r"\s#.*\Z", re.DOTALL)


def read(path: Path) -> dict[str, str]:
    """The names and values of a `.env` file; none when it does not exist.

    Raises SettingsError, with the line, where the file is no text or a line no NAME=VALUE.
    """
    if not path.is_file():
        return {}
    text = _decoded(path)
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            lead = len(binding.original.string) - len(binding.original.string.lstrip())
            line = binding.original.line + binding.original.string[:lead].count("\n")
            raise SettingsError(str(path), f"line {line} is no setting: write NAME=VALUE")
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = f"line {line} is not in UTF-8: save the file as UTF-8 in your editor"
        raise SettingsError(str(path), problem) from None


def unquoted(value: str, *, prose: bool = False) -> str:
    """A value of the environment without what belongs to a `.env` file's own form.

    A pair of quotes around it goes, and a comment behind it, which `prose` keeps: there ` #` may
    be meant.
    """
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].strip()
    return value if prose else _COMMENT.sub("", value)


def misspelled(
    known: Collection[str], file: Iterable[str], environ: Iterable[str]
) -> dict[str, str]:
    """Names that set nothing here, each with the one that is probably meant ("": none is near).

    `file` holds the names of the `.env` file, which is ours, so that every unknown one is told;
    of the environment's only those that cannot be another program's.
    """
    found = {name: meant(name, known) for name in file if name not in known}
    for name in environ:
        upper = name.upper()
        if name not in known and (upper in known or upper in _OURS_ALONE):
            found[name] = meant(name, known)
    return {name: other for name, other in found.items() if other not in environ or not other}


def meant(name: str, known: Collection[str]) -> str:
    """The setting that `name` probably stands for, "" when none is near."""
    upper = name.upper()
    if upper in known:
        return upper
    if (other := OTHER_NAMES.get(upper)) is not None:
        return other
    near = difflib.get_close_matches(upper, known, n=1, cutoff=0.65)
    return near[0] if near else ""
