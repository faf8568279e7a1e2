"""Writes `docs/reference/`: every chat command, setting and command line command, from the code.

`make docs` runs it; a test fails when a page is stale. The meaning of settings is documented in
`.env.example` alone, which the page repeats; `EXAMPLES` is here, and a test loads each example.
"""

from __future__ import annotations

import argparse
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bot.__main__ import build_parser
from bot.config.presets import PRESETS
from bot.config.settings import DEFAULT_SYSTEM_PROMPT, Settings
from bot.domain import texts
from bot.inbox import access, commands
from bot.inbox.model_commands import EFFORTS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
GENERATED = "<!-- Written by `make docs` from the code: change that, not this file. -->\n"

EXAMPLES: Mapping[str, str] = {
    "discord_token": "MTA…",
    "discord_api_url": "http://localhost:9000/api/v10",
    "discord_gateway_url": "ws://localhost:9000",
    "discord_guilds": "81384788765712384,613425648685547541",
    "discord_shards": "auto",
    "slack_bot_token": "xoxb-…",
    "slack_app_token": "xapp-…",
    "slack_signing_secret": "8f74…",
    "slack_client_id": "1234567890.9876543210",
    "slack_client_secret": "1c2d…",
    "slack_install_teams": "T0123ABCD,E0456",
    "slack_redirect_uri": "https://bot.example.org/slack/oauth_redirect",
    "installation_key": "cmVwbGFjZS1tZTpgdGhyZWFkbGluZSBrZXlzIG5ld2A=",
    "slack_api_url": "http://localhost:9001/api/",
    "slack_command_prefix": "tl-",
    "llm": "anthropic/claude-sonnet-5,openai/gpt-5-mini",
    "models": "openai/gpt-5-mini,ollama/*",
    "openai_api_key": "sk-…",
    "openai_base_url": "http://localhost:8000/v1",
    "hf_token": "hf_…",
    "hf_base_url": "https://my-endpoint.example.org/v1",
    "threadline_config": "/etc/threadline/threadline.toml",
    "system_prompt": "You help the support team of Example, Inc.",
    "timezone": "Europe/Berlin",
    "context_tokens": "64000",
    "summary_model": "openai/gpt-5-mini",
    "max_output_tokens": "2000",
    "temperature": "0.3",
    "first_token_seconds": "120",
    "between_tokens_seconds": "60",
    "reasoning": "shown",
    "attachment_max_mb": "50",
    "attachments_per_message": "5",
    "attachment_wait_seconds": "90",
    "attachment_pages": "300",
    "links_per_message": "0",
    "link_allowed_hosts": "example.org,docs.python.org",
    "link_denied_hosts": "internal.example.org",
    "link_private_hosts": "wiki.example.org:8090",
    "transcription_model": "openai:whisper-1",
    "max_concurrent_turns": "50",
    "max_queued_turns": "500",
    "drain_seconds": "60",
    "missed_question_hours": "2",
    "delete_reply_with_question": "true",
    "file_from_messages": "0",
    "database_url": "sqlite:////var/lib/threadline/threadline.db",
    "database_connections": "20",
    "database_prepared_statements": "false",
    "database_listen_url": "postgresql://bot:secret@db.example.org/threadline",
    "erasure_list": "/var/lib/threadline/threadline.erased",
    "http_host": "0.0.0.0",
    "http_port": "8080",
    "http_tokens": "ann:s3cret-of-16-characters,ben:another-secret-16",
    "http_channels": "general,ops",
    "http_allowed_hosts": "chat.example.org",
    "http_max_streams": "20",
    "metrics_host": "0.0.0.0",
    "metrics_port": "9464",
    "metrics_token": "s3cret-of-16-characters",
    "web_opening": "opening.md",
    "admins": "discord:81384788765712384,slack:T123:U456,web:ann",
    "control_socket": "/run/threadline/control.sock",
    "log_level": "WARNING",
    "log_format": "json",
}

OTEL = """\
## Traces

The standard variables of OpenTelemetry switch [traces of turns](../operating.md#traces) on.
They may stand in `.env`, too.
"""


# ── chat commands ─────────────────────────────────────────────────────────────────────────────
ARGUMENTS: Mapping[str, str] = {
    commands.MODEL: "NAME, or `default`",
    commands.EFFORT: f"{', '.join(EFFORTS)}",
    commands.CHANNEL: "`model`, `effort`, `prompt`, `answers` or `controls`, and a value",
    commands.USAGE: "`channel`, for administrators",
    commands.FORGET: "`me`",
    commands.EXPORT: "`me`",
}
CONTROLLED = "who `controls` names: by default everyone who may ask"
ASKERS = "who may ask"
DECIDES: Mapping[str, str] = {
    commands.CHANNEL: "administrators",
    commands.USAGE: "everyone, for themselves; administrators for the channel",
    commands.FORGET: "everyone, for themselves",
    commands.EXPORT: "everyone, for themselves",
}
EVERYONE = "everyone who can see the conversation"


def commands_page() -> str:
    """Every chat command, with who may use it."""
    lines = [
        GENERATED,
        "# Chat commands\n",
        "In Discord and Slack these are slash commands, or a mention of the bot with the word; on "
        "the page and in the terminal they are lines. Some are buttons, too: see "
        "[Using it](../../README.md#using-it). [Rules](../policy.md) say who may ask and what "
        "`controls` is. Administrators may do everything.\n",
        *_table(
            ("command", "what it does", "argument", "who may use it", "the word alone counts"),
            ((f"`/{name}`", *_command(name)) for name in commands.NAMES),
        ),
    ]
    return "\n".join(lines)


def _command(name: str) -> tuple[str, str, str, str]:
    if name in access.CONTROLS:
        who = CONTROLLED
    elif name in access.FOR_ASKERS:
        who = ASKERS
    else:
        who = DECIDES.get(name, EVERYONE)
    argument = ARGUMENTS[name] if name in commands.TAKE_ARGUMENT else ""
    alone = "no, it needs the slash" if name in commands.WITH_SLASH else "yes"
    return texts.PAGE_COMMANDS[name], argument, who, alone


# ── settings ──────────────────────────────────────────────────────────────────────────────────
@dataclass
class Group:
    """Settings that `.env.example` explains together."""

    section: str
    lines: list[str]
    names: list[str] = field(default_factory=list)


def groups() -> list[Group]:
    """The settings of `.env.example` with their comments."""
    found: list[Group] = []
    section, comment = "", list[str]()
    for line in (ROOT / ".env.example").read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"# ── (.*?) ─+", line):
            section, comment = heading[1], []
        elif line.startswith("#"):
            comment.append(line[1:].removeprefix(" "))
        elif setting := re.fullmatch(r"([A-Z_]+)=", line):
            if comment or not found:
                found.append(Group(section, comment))
                comment = []
            found[-1].names.append(setting[1])
        elif not line:
            comment = []
    return found


def settings_page() -> str:
    """Every setting with its meaning, default and an example."""
    lines = [
        GENERATED,
        "# Settings\n",
        "From the environment, else from `.env` ([`.env.example`](../../.env.example) is a start). "
        "An empty value counts as not set. `threadline config check` shows what is in effect. "
        "Servers, models, rules and budgets are in `threadline.toml`: see "
        "[models](../models.md), [rules](../policy.md) and [budgets](../budgets.md).\n",
    ]
    section = ""
    for group in groups():
        if group.section != section:
            section = group.section
            lines.append(f"## {section}\n")
        lines.append(f"### {', '.join(f'`{name}`' for name in group.names)}\n")
        lines += [*_prose(group.lines), ""]
        lines += _table(
            ("setting", "takes", "default", "example"), (_setting(name) for name in group.names)
        )
    return "\n".join([*lines, *_provider_keys(), OTEL])


def _setting(name: str) -> tuple[str, str, str, str]:
    found = Settings.model_fields[name.lower()]
    example = EXAMPLES.get(name.lower(), "")
    return f"`{name}`", kind_of(found), _default(found), f"`{example}`" if example else ""


def _prose(lines: Sequence[str]) -> Iterator[str]:
    """The comment as Markdown: indented lines are a block of code."""
    in_code = False
    for line in lines:
        is_code = line.startswith("  ")
        if is_code != in_code:
            yield "```" if in_code else "\n```"
            in_code = is_code
        yield line[2:] if is_code else re.sub(r"([*<|])", r"\\\1", line)
    if in_code:
        yield "```"


def kind_of(found: FieldInfo) -> str:
    """The kind of value that a setting takes, in words."""
    annotation = found.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(each for each in typing.get_args(annotation) if each is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    limits = ", ".join(_limits(found))
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        words = "a whole number" if annotation is int else "a number"
        return f"{words}{f' ({limits})' if limits else ''}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(str(each.value) for each in annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(typing.get_args(annotation))
    if annotation is Path:
        return "a file"
    return "a secret" if "SecretStr" in str(found.annotation) else "text"


def _limits(found: FieldInfo) -> Iterator[str]:
    for rule in found.metadata:
        for name, words in (("ge", "from"), ("gt", "above"), ("le", "to")):
            if (value := getattr(rule, name, None)) is not None:
                yield f"{words} {value:g}"


def _default(found: FieldInfo) -> str:
    value = found.default
    if value is None or value == "" or isinstance(value, SecretStr):
        return ""
    if value == DEFAULT_SYSTEM_PROMPT:
        return f"“{value}”"
    text = value.value if isinstance(value, Enum) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _provider_keys() -> Iterator[str]:
    yield "## Keys of providers\n"
    yield "A model is `PROVIDER/NAME`; [`../models.md`](../models.md) explains them.\n"
    rows = (
        (
            f"`{name}/…`",
            f"`{preset.key}`" if preset.key else "none",
            f"`{preset.address}`" if preset.address else "",
            f"`{preset.base_url}`" if preset.base_url else "the provider's",
        )
        for name, preset in PRESETS.items()
    )
    yield from _table(("models", "key", "another address", "address"), rows)


# ── the command line ──────────────────────────────────────────────────────────────────────────
def cli_page() -> str:
    """Every command of the command line with its help."""
    parser = build_parser()
    lines = [
        GENERATED,
        "# The command line\n",
        f"{parser.description} `threadline` and `python -m bot` are the same. Exit codes: 0 is "
        "success, 1 a failure, 2 an invalid setting or argument.\n",
    ]
    for name, command, text in _leaves(parser, "threadline"):
        lines += [f"## `{name}`\n", f"{_sentence(text or command.description or '')}\n"]
        arguments = [each for each in command._actions if _is_documented(each)]
        lines.append(f"```\n{' '.join((name, *map(_usage, arguments)))}\n```\n")
        if arguments:
            lines += _table(
                ("argument", "meaning"),
                ((f"`{_label(each)}`", _meaning(each)) for each in arguments),
            )
    return "\n".join(lines)


def _leaves(
    parser: argparse.ArgumentParser, name: str, text: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """The commands that can be run, with their names and one-line helps."""
    if parser._defaults.get("run") is not None:
        yield name, parser, text
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            for word, command in action.choices.items():
                yield from _leaves(command, f"{name} {word}", helps.get(word, ""))


def _is_documented(action: argparse.Action) -> bool:
    hidden = (argparse._HelpAction, argparse._VersionAction, argparse._SubParsersAction)
    return not isinstance(action, hidden) and action.help is not argparse.SUPPRESS


def _label(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if not action.option_strings:
        return str(action.metavar or action.dest.upper())
    return f"{action.option_strings[-1]} {value}".strip()


def _usage(action: argparse.Action) -> str:
    is_optional = (bool(action.option_strings) and not action.required) or action.nargs == "?"
    if action.nargs in ("*", "+") and not action.option_strings:
        return (
            f"{'[' if action.nargs == '*' else ''}{_label(action)} …{']' * (action.nargs == '*')}"
        )
    return f"[{_label(action)}]" if is_optional else _label(action)


def _meaning(action: argparse.Action) -> str:
    text = action.help or ""
    if action.choices is not None:
        text = f"{text} ({', '.join(map(str, action.choices))})".strip()
    return text


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


# ── Markdown ──────────────────────────────────────────────────────────────────────────────────
def _table(columns: Sequence[str], rows: Iterator[Sequence[Any]] | Any) -> list[str]:
    """The lines of a table, followed by an empty line."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines] + [""]


def _cell(value: object) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", str(value)).replace("\n", " ")


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "cli.md": cli_page,
}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
