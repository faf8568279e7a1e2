"""Settings are typed, errors name them, and `.env.example` documents them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.config.consistency import require_consistent
from bot.config.loader import load, unknown_names
from bot.config.settings import Settings, SlackMode
from bot.context.budgets import MAX_UNASKED_TOKENS, UNKNOWN_WINDOW_TOKENS
from bot.domain.errors import SettingsError
from bot.domain.model import ReasoningDisplay
from bot.llm.registry import FIRST_TOKEN_SECONDS
from bot.llm.stream_timeout import LOADING_SECONDS

ROOT = Path(__file__).parents[2]


def test_the_example_has_exactly_the_settings() -> None:
    named = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_the_example_explains_every_setting() -> None:
    """Each setting follows a comment, or another setting that does."""
    commented = False
    for line in (ROOT / ".env.example").read_text().splitlines():
        if line.startswith("#"):
            commented = not line.startswith("# ──")
        elif line:
            assert commented, f"{line} has no explanation"


def test_the_unchanged_example_sets_nothing() -> None:
    """Empty values count as not set."""
    assert load({}, ROOT / ".env.example") == load({}, None)


def test_the_example_states_the_actual_defaults() -> None:
    text = (ROOT / ".env.example").read_text()
    settings = load({}, None)
    for value in (
        UNKNOWN_WINDOW_TOKENS,
        MAX_UNASKED_TOKENS,
        settings.max_concurrent_turns,
        settings.max_queued_turns,
        int(settings.drain_seconds),
        int(settings.missed_question_hours),
        str(settings.delete_reply_with_question).lower(),
        int(FIRST_TOKEN_SECONDS),
        int(LOADING_SECONDS),
        int(settings.between_tokens_seconds),
        settings.http_host,
        settings.database_url,
    ):
        assert str(value) in text


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("LLM=openai:from-file\nLOG_LEVEL=debug\n")
    settings = load({"LLM": "openai:from-environment"}, dotenv)
    assert settings.llm_chain == ("openai:from-environment",)
    assert settings.log_level == "DEBUG"


def test_an_empty_value_in_the_environment_does_not_override_the_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("LLM=echo\n")
    assert load({"LLM": " "}, dotenv).llm == "echo"


def test_private_hosts_may_have_ports() -> None:
    hosts = "wiki, wiki.test:8090, 10.1.2.3, 10.1.2.3:80, fd00::1, [fd00::1]:8080"
    assert load({"LINK_PRIVATE_HOSTS": hosts}, None).link_private_hosts == hosts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLM", "gpt-5"),
        ("LLM", "openai:"),
        ("LLM", "echo:x"),
        ("MODELS", "openai:a,nonsense"),
        ("HTTP_PORT", "eighty"),
        ("HTTP_PORT", "70000"),
        ("CONTEXT_TOKENS", "0"),
        ("TEMPERATURE", "3"),
        ("MISSED_QUESTION_HOURS", "-1"),
        ("DELETE_REPLY_WITH_QUESTION", "perhaps"),
        ("FILE_FROM_MESSAGES", "1"),
        ("FILE_FROM_MESSAGES", "-2"),
        ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", "postgresql://"),
        ("DATABASE_LISTEN_URL", "10.0.0.1:5432"),
        ("DATABASE_URL", "sqlite:///"),
        ("DISCORD_API_URL", "discord.local"),
        ("DISCORD_GATEWAY_URL", "http://x"),
        ("ADMINS", "slack:U1"),
        ("LINK_PRIVATE_HOSTS", "http://wiki.test"),
        ("LINK_PRIVATE_HOSTS", "wiki.test/start"),
        ("LINK_PRIVATE_HOSTS", "wiki.test:0"),
        ("LINK_PRIVATE_HOSTS", "wiki.test:65536"),
        ("LINK_PRIVATE_HOSTS", "wiki.test:web"),
        ("LINK_PRIVATE_HOSTS", "10.0.0.0/8"),
        ("LINK_PRIVATE_HOSTS", "*.wiki.test"),
        ("LOG_LEVEL", "loud"),
        ("LLM", ","),
    ],
)
def test_an_invalid_value_is_refused(name: str, value: str) -> None:
    """The error names the setting and fits on one line."""
    with pytest.raises(SettingsError) as caught:
        load({name: value}, None)
    assert caught.value.setting == name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"DISCORD_TOKEN": "t"}, "LLM"),
        ({"SLACK_BOT_TOKEN": "t", "LLM": "echo"}, "SLACK_BOT_TOKEN"),
        ({"SLACK_APP_TOKEN": "t"}, "SLACK_BOT_TOKEN"),
        ({"SLACK_BOT_TOKEN": "t", "SLACK_SIGNING_SECRET": "s", "LLM": "echo"}, "HTTP_PORT"),
    ],
)
def test_contradictory_settings_are_refused(environ: dict[str, str], name: str) -> None:
    """The error names the setting to change."""
    with pytest.raises(SettingsError) as caught:
        require_consistent(load(environ, None))
    assert caught.value.setting == name


def test_socket_mode_is_preferred_to_http() -> None:
    """Socket Mode needs no public address."""
    both = {"SLACK_BOT_TOKEN": "b", "SLACK_APP_TOKEN": "a", "SLACK_SIGNING_SECRET": "s"}
    assert load(both, None).slack_mode is SlackMode.SOCKET


def test_reasoning_is_hidden_unless_the_setting_says_shown() -> None:
    assert load({}, None).reasoning is ReasoningDisplay.HIDDEN
    assert load({"REASONING": "Shown"}, None).reasoning is ReasoningDisplay.SHOWN
    with pytest.raises(SettingsError, match=r"REASONING.*'hidden' or 'shown'"):
        load({"REASONING": "yes"}, None)


def test_secrets_are_not_in_the_repr() -> None:
    settings = load({"DISCORD_TOKEN": "very-secret-token", "LLM": "echo"}, None)
    assert "very-secret-token" not in repr(settings)
    assert settings.secrets() == ["very-secret-token"]


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///threadline.db", "threadline.db"), ("sqlite:////var/lib/t.db", "/var/lib/t.db")],
)
def test_database_url_names_a_relative_or_an_absolute_file(url: str, path: str) -> None:
    """Three slashes are relative to the working directory, four are absolute."""
    assert load({"DATABASE_URL": url}, None).database_path == Path(path)


def test_the_password_of_a_database_is_a_secret() -> None:
    url = "postgresql://ann:p%40ss@db1:5432,[::1]:5433/team?sslmode=require&password=other"
    settings = load({"DATABASE_URL": url}, None)
    assert settings.uses_postgres
    assert {"p%40ss", "p@ss", "other"} <= set(settings.secrets())
    assert "p%40ss" not in repr(settings)
    assert load({}, None).secrets() == []
    with pytest.raises(SettingsError) as caught:
        load({"DATABASE_URL": "mysql://ann:p%40ss@db/team"}, None)
    assert "p%40ss" not in str(caught.value)


def test_a_password_in_an_address_is_not_repeated() -> None:
    for address in ("me:secret@host/v1", "https://me:secret@host:99999/v1", "https://me:secret@["):
        with pytest.raises(SettingsError) as caught:
            load({"OPENAI_BASE_URL": address}, None)
        ((setting, problem),) = caught.value.problems
        assert setting == "OPENAI_BASE_URL" and "write https://HOST" in problem
        assert "secret" not in problem
    assert "secret" in load({"OPENAI_BASE_URL": "https://me:secret@host/v1"}, None).secrets()


# ── the file, and common mistakes ─────────────────────────────────────────────────────────────
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_from_windows_are_read(tmp_path: Path, encoding: str) -> None:
    """PowerShell's `>` writes UTF-16, and some editors start UTF-8 with a byte order mark."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("LLM=echo\r\nSYSTEM_PROMPT=Grüße\r\n", encoding=encoding)
    settings = load({}, dotenv)
    assert (settings.llm, settings.system_prompt) == ("echo", "Grüße")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("LLM=echo\nSYSTEM_PROMPT=Grüße\n".encode("latin-1"), "line 2 is not in UTF-8"),
        (b"LLM=echo\n\nthis is no setting at all\n", "line 3 is not a setting"),
        (b"LLM=echo\n\x80\xff\xfe\n", "line 2 is not in UTF-8"),
    ],
)
def test_an_unreadable_file_is_refused_with_the_line_number(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(data)
    with pytest.raises(SettingsError, match=problem) as caught:
        load({}, dotenv)
    assert caught.value.setting == str(dotenv)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"8081"', 8081),
        ("'8081'", 8081),
        ("8081 # the page", 8081),
        ("8081\t# the page", 8081),
        ("'8081' # the page", 8081),
    ],
)
def test_quotes_and_comments_in_the_environment_are_ignored(value: str, expected: int) -> None:
    """`docker --env-file` passes them on."""
    assert load({"HTTP_PORT": value}, None).http_port == expected


def test_a_hash_in_a_prompt_or_token_is_kept() -> None:
    environ = {"SYSTEM_PROMPT": "Use # for titles", "DISCORD_TOKEN": "a#b", "LLM": "echo"}
    settings = load(environ, None)
    assert settings.system_prompt == "Use # for titles"
    assert settings.secrets() == ["a#b"]


def test_one_error_names_all_invalid_values_and_what_they_must_be() -> None:
    wrong = {
        "HTTP_PORT": "80a",
        "CONTEXT_TOKENS": "12",
        "TEMPERATURE": "hot",
        "LOG_LEVEL": "loud",
        "DELETE_REPLY_WITH_QUESTION": "perhaps",
    }
    with pytest.raises(SettingsError) as caught:
        load(wrong, None)
    assert dict(caught.value.problems) == {
        "HTTP_PORT": "'80a' is wrong: it must be a whole number",
        "CONTEXT_TOKENS": "'12' is wrong: it must be 256 or more",
        "TEMPERATURE": "'hot' is wrong: it must be a number",
        "LOG_LEVEL": "'loud' is wrong: it must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        "DELETE_REPLY_WITH_QUESTION": "'perhaps' is wrong: it must be true or false",
    }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("DISCORD_BOT_TOKEN", "DISCORD_TOKEN"),
        ("LMM", "LLM"),
        ("llm", "LLM"),
        ("OPENAI_BASE_ULR", "OPENAI_BASE_URL"),
        ("SLACK_SIGNING_SECRETS", "SLACK_SIGNING_SECRET"),
        ("HTTP_TOKEN", "HTTP_TOKENS"),
        ("FAVOURITE_COLOUR", ""),
    ],
)
def test_an_unknown_name_in_the_file_is_reported_with_the_likely_one(
    tmp_path: Path, name: str, meant: str
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{name}=x\n")
    assert unknown_names({}, dotenv) == {name: meant}


def test_names_of_other_programs_in_the_environment_are_not_reported() -> None:
    environ = {
        "PATH": "/bin",
        "PORT": "80",
        "HTTP_PROXY": "http://p",
        "HF_HOME": "/hf",
        "OPENAI_ORG_ID": "o",
        "OPENAI_KEY": "k",
        "discord_token": "t",
    }
    assert unknown_names(environ, None) == {
        "OPENAI_KEY": "OPENAI_API_KEY",
        "discord_token": "DISCORD_TOKEN",
    }


# ── the prompt and its date ───────────────────────────────────────────────────────────────────
def test_the_word_none_switches_the_prompt_off() -> None:
    """An empty value would count as not set."""
    assert load({"SYSTEM_PROMPT": "none"}, None).prompt == ""
    assert load({"SYSTEM_PROMPT": ""}, None).prompt == load({}, None).prompt != ""
    assert load({"SYSTEM_PROMPT": "None of it."}, None).prompt == "None of it."


def test_an_unknown_time_zone_is_refused() -> None:
    assert str(load({"TIMEZONE": "Asia/Tokyo"}, None).zone) == "Asia/Tokyo"
    assert load({}, None).zone is None
    for wrong in ("Mars/Olympus", "../etc/passwd", "/etc/localtime"):
        with pytest.raises(SettingsError, match=r"TIMEZONE.*is not a time zone"):
            load({"TIMEZONE": wrong}, None)


def test_discord_servers_are_ids() -> None:
    """By default every server may use the bot; a name in place of an id is refused."""
    assert load({}, None).discord_servers == frozenset()
    assert load({"DISCORD_GUILDS": " 123, 456,"}, None).discord_servers == {"123", "456"}
    with pytest.raises(SettingsError, match="DISCORD_GUILDS"):
        load({"DISCORD_GUILDS": "My server"}, None)


def test_every_unreadable_line_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    """A quote that is not closed, or text after the closing one, is not a missing NAME=."""
    dotenv = tmp_path / ".env"
    dotenv.write_text('LLM="echo"x\n\nexport OPENAI_API_KEY = "sk-secret\nHTTP_PORT=1\n= 3\n')
    with pytest.raises(SettingsError) as raised:
        load({}, dotenv)
    problems = [problem for _, problem in raised.value.problems]
    ending = 'begins with ", so it must end with ", and only a comment may follow'
    assert problems == [
        f"line 1: the value of LLM {ending}",
        f"line 3: the value of OPENAI_API_KEY {ending}",
        "line 5 is not a setting: write NAME=VALUE",
    ]
