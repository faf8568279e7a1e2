"""`threadline.toml`: every mistake is reported with its line, and never with a key."""

from __future__ import annotations

import os
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bot.config import file as config_file
from bot.config.file_problems import keys_at
from bot.config.file_schema import Contents
from bot.config.loader import load
from bot.config.models import resolve
from bot.config.settings import Settings
from bot.domain.errors import SettingsError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "threadline.toml"

KEYS = {
    "OPENAI_API_KEY": "sk-openai-secret",
    "AZURE_OPENAI_API_KEY": "azure-secret",
    "ANTHROPIC_API_KEY": "sk-ant-secret",
    "CORP_TOKEN": "corp-secret",
    "WORK_OPENAI_KEY": "work-secret",
}


def settings_with(
    folder: Path, toml: str | bytes, environ: dict[str, str] | None = None
) -> Settings:
    path = folder / "threadline.toml"
    path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    return load(environ or {}, folder / ".env")


def problems_of(
    folder: Path, toml: str | bytes, environ: dict[str, str] | None = None
) -> list[str]:
    """The sentences about the file, without its path."""
    with pytest.raises(SettingsError) as caught:
        resolve(settings_with(folder, toml, environ))
    path = str(folder / "threadline.toml")
    return [
        sentence if setting == path else f"{setting}: {sentence}"
        for setting, sentence in caught.value.problems
    ]


# ── mistakes ──────────────────────────────────────────────────────────────────────────────────
NO_KEY = (
    "write env:NAME, where NAME is a variable of the environment or .env: the key itself must not "
    "be in this file"
)


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        # ── names of keys ──
        ("\n\nmodles = 3", "line 3: modles is not a setting: did you mean models?"),
        (
            "[providers.x]\nkind = 'openai'\nbase_ulr = 'http://x'",
            "line 3: providers.x.base_ulr is not a setting: did you mean base_url?",
        ),
        (
            "[providers.x]\nkind = 'openai'\napi_key = 'env:X'",
            "line 3: providers.x.api_key is not a setting: did you mean key?",
        ),
        (
            '[models."openai/a"]\nvision = true',
            'line 2: models."openai/a".vision is not a setting: did you mean sees?',
        ),
        (
            '[models."openai/a"]\nprice = { input = 1, output = 2, inputt = 3 }',
            'line 2: models."openai/a".price.inputt is not a setting: did you mean input?',
        ),
        (
            '[models."openai/a".price]\ninput = 1\noutput = 2\n\nper_request = 3',
            'line 5: models."openai/a".price.per_request is not a setting; allowed here: input, '
            "output, cached, cache_write",
        ),
        ("temperature = 1", "line 1: temperature is not a setting: TEMPERATURE belongs in .env"),
        # ── types and limits ──
        ("llm = 3", 'line 1: llm is 3, but must be a list such as ["a", "b"]'),
        ("\nllm = [\n'echo',\ntrue,\n]", "line 4: llm[2] is true, but must be text in quotes"),
        ("providers = 'x'", 'line 1: providers is of the wrong type, but must be a table'),
        ("[providers]\nx = 1", "line 2: providers.x is of the wrong type, but must be a table"),
        (
            "[providers.x]\nkind = 'openia'",
            "line 2: providers.x.kind is \"openia\", but must be 'openai', 'openai-responses', "
            "'anthropic' or 'huggingface'",
        ),
        (
            "[providers.ollama]\nfirst_token_seconds = 0",
            "line 2: providers.ollama.first_token_seconds is 0, but must be more than 0",
        ),
        (
            "[providers.ollama]\nfirst_token_seconds = '60'",
            'line 2: providers.ollama.first_token_seconds is "60", but must be a number, without '
            "quotes",
        ),
        (
            '[models."openai/a"]\n\ncontext = "400_000"',
            'line 3: models."openai/a".context is "400_000", but must be a whole number, without '
            "quotes",
        ),
        (
            '[models."openai/a"]\ncontext = 4.5',
            'line 2: models."openai/a".context is 4.5, but must be a whole number, without quotes',
        ),
        (
            '[models."openai/a"]\ncontext = 0',
            'line 2: models."openai/a".context is 0, but must be 256 or more',
        ),
        (
            '[models."openai/a"]\nsees = "yes"',
            'line 2: models."openai/a".sees is "yes", but must be true or false, without quotes',
        ),
        (
            '[models."openai/a"]\nsees = 1',
            'line 2: models."openai/a".sees is 1, but must be true or false, without quotes',
        ),
        (
            '[models."openai/a"]\ncontext = true',
            'line 2: models."openai/a".context is true, but must be a whole number, without quotes',
        ),
        (
            '[models."openai/a"]\nprice = { output = 1 }',
            'line 2: models."openai/a".price.input is missing',
        ),
        (
            '[models."openai/a"]\nprice = { input = -1, output = 1 }',
            'line 2: models."openai/a".price.input is -1, but must be 0 or more',
        ),
        (
            '[models."openai/a"]\nprice = { input = nan, output = 1 }',
            'line 2: models."openai/a".price.input is NaN, but must be a number',
        ),
        (
            '\n[models."openai/a"]\nmax_output = 2_000\ncontext = 1_000',
            'line 2: models."openai/a": max_output is more than context, which includes '
            "the answer",
        ),
        # ── names of models and providers ──
        (
            "llm = ['gpt-5']",
            "line 1: llm[1]: 'gpt-5' is not a model: write PROVIDER/MODEL, such as "
            "openai/gpt-5-mini, demo or echo",
        ),
        (
            "llm = 'echo, groq:x'",
            "line 1: llm[2]: 'groq:x' is not a model: write a slash after the provider, write "
            "PROVIDER/MODEL, such as openai/gpt-5-mini, demo or echo",
        ),
        (
            "llm = ['ollama/*']",
            "line 1: llm[1]: 'ollama/*' stands for several models: write the name of one",
        ),
        (
            "choices = ['*']",
            "line 1: choices[1]: '*' is not a model: write PROVIDER/MODEL, such as "
            "openai/gpt-5-mini, demo or echo",
        ),
        (
            "choices = ['openai:*']",
            "line 1: choices[1]: 'openai:*' is not a choice: write PROVIDER/* for all models of a "
            "server",
        ),
        (
            "summaries = 'None'",
            "line 1: summaries: 'None' is not a model: write PROVIDER/MODEL, such as "
            "openai/gpt-5-mini, demo or echo",
        ),
        (
            '\n[models."gpt-5"]\nsees = true',
            "line 2: models.gpt-5: 'gpt-5' is not a model: write PROVIDER/MODEL, such as "
            "openai/gpt-5-mini, demo or echo",
        ),
        (
            "[providers.'a/b']\nkind = 'openai'",
            "line 1: providers.\"a/b\": a provider's name consists of letters, digits, . _ and -, "
            "and is neither demo nor echo",
        ),
        # ── addresses and keys ──
        (
            "[providers.x]\nkind = 'openai'\nbase_url = 'localhost:8000'",
            "line 3: providers.x.base_url: this is not an address: it must start with https:// or "
            "http://",
        ),
        (
            "[providers.x]\nkind = 'openai'\nbase_url = 'https://me:secret@x.test/v1'",
            "line 3: providers.x.base_url: write the address without a user name and password; use "
            "key or headers",
        ),
        (
            "[providers.x]\nkind = 'openai'\nbase_url = 'https://x.test/v1?key=secret'",
            "line 3: providers.x.base_url: write the address without ?, # and spaces; parameters "
            "belong in query",
        ),
        (
            "[providers.x]\nkind = 'openai'\nkey = 'sk-secret'",
            f"line 3: providers.x.key: {NO_KEY}",
        ),
        (
            "[providers.x]\nkind = 'openai'\nkey = 'env:sk-secret'",
            f"line 3: providers.x.key: {NO_KEY}",
        ),
        (
            "[providers.x]\nkind = 'openai'\nkey = ['sk-secret']",
            "line 3: providers.x.key is a list, but must be text in quotes",
        ),
        (
            "[[providers]]\nname = 'x'\nkey = 'sk-secret'",
            "line 1: providers is a list, but must be a table",
        ),
        (
            "[llm]\napi_key = 'sk-secret'",
            'line 1: llm is a table, but must be a list such as ["a", "b"]',
        ),
        (
            "[providers]\nopenai = 'sk-secret'",
            "line 2: providers.openai is of the wrong type, but must be a table",
        ),
        (
            "[providers.x.headers]\n'Authorization: Bearer sk-secret' = ''",
            "line 1: providers.x.headers: 'Authorization' is not the name of a header: write "
            "NAME = VALUE",
        ),
        (
            "[providers.x]\nkind = 'openai'\nheaders = { api-key = 'secret' }",
            f"line 3: providers.x.headers: api-key: {NO_KEY}",
        ),
        (
            "[providers.x.headers]\nAuthorization = 'Bearer secret'",
            f"line 1: providers.x.headers: Authorization: {NO_KEY}",
        ),
        (
            "[providers.x]\nkind = 'openai'\nquery = { key = 'secret' }",
            f"line 3: providers.x.query: key: {NO_KEY}",
        ),
        (
            "[providers.x]\nkind = 'openai'\nheaders = { 'X Team' = 'a' }",
            "line 3: providers.x.headers: 'X Team' is not the name of a header: write NAME = VALUE",
        ),
        (
            '[providers.x]\nkind = "openai"\nheaders = { X-Team = "a\\nsecret" }',
            "line 3: providers.x.headers: X-Team: the value must be one line of ASCII characters",
        ),
        # ── the file ──
        ("llm = [\n  'echo'\n  'echo']",
         "line 3, column 3: a comma or the ] at the end of the list is missing"),
        ("key = sk-secret", "line 1, column 7: the value is missing or wrong: text needs quotes, "
         "true and false do not"),
        ("llm = 'Grüße'\n".encode("latin-1"), "line 1 is not in UTF-8: save the file as UTF-8 in "
         "your editor"),
        (b"#" * 2_000_001, "the file is larger than 2000 kB: is this the right file?"),
        ("[models.openai/gpt-5]", "line 1, column 15: the ] after the table's name is missing, or "
         "the name needs quotes"),
        ("llm = []", "line 1: llm: name a model, or delete this line"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_line_and_no_secret(
    tmp_path: Path, toml: str | bytes, problem: str
) -> None:
    """Nothing else is reported, and a problem in the file does not stop commands that need no
    models."""
    settings = settings_with(tmp_path, toml)
    assert problems_of(tmp_path, toml) == [problem]
    assert [sentence for _, sentence in settings.file.problems] == [problem]
    assert "secret" not in problem


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    """This includes unknown providers and missing variables, which involve more than the file."""
    toml = """\
llm = ["ollama/llama3.1", "nonsense", "grok/grok-4", "azure/gpt-5"]
choices = ["mistrall/small", "broken/x"]
tools = true

[providers.azure]
kind = "openai"
base_url = "https://x.openai.azure.com/openai/v1"
key = "env:AZURE_OPENAI_API_KEY"
headers = { api-key = "env:AZURE_OPENAI_API_KEY" }

[providers.broken]
kind = "openai"
key = "sk-secret"

[providers.unused]
kind = "openai"
key = "env:NOT_SET_EITHER"

[models."groq/x"]
context = 8_000
sees = "no"
[models."unheard-of/x"]
context = 8_000
"""
    found = problems_of(tmp_path, toml)
    assert [re.sub(r"^(line \d+: \S+).*", r"\1", sentence) for sentence in found] == [
        "line 1: llm[2]:",
        "line 3: tools",
        "line 13: providers.broken.key:",
        'line 21: models."groq/x".sees',
        "line 1: llm[3]:",
        "line 8: providers.azure.key:",
        "line 9: providers.azure.headers.api-key:",
        "line 2: choices[1]:",
        'line 22: models."unheard-of/x":',
    ]
    assert "did you mean xai?" in found[4] and "did you mean mistral?" in found[7]
    assert "azure, broken, cerebras" in found[4], "the file's own providers are known"


def test_problems_of_both_files_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "threadline.toml").write_text("modles = 1\n")
    (tmp_path / ".env").write_text("HTTP_PORT=x\nLOG_LEVEL=loud\n")
    with pytest.raises(SettingsError) as caught:
        load({}, tmp_path / ".env")
    names = [setting for setting, _ in caught.value.problems]
    assert names == ["HTTP_PORT", "LOG_LEVEL", str(tmp_path / "threadline.toml")]


def test_a_file_with_thousands_of_mistakes_is_reported_briefly(tmp_path: Path) -> None:
    """The first ones, by line; no sentence lists thousands of names."""
    found = problems_of(tmp_path, "".join(f"a{n} = 1\n" for n in range(5_000)))
    assert len(found) == 51
    assert found[0].startswith("line 1: a0 is not") and found[49].startswith("line 50: ")
    assert found[50] == "there are 4,950 further mistakes"
    tables = "".join(f"[providers.p{n}]\n" for n in range(2_000))
    toml = f"llm = ['nonsense/x']\n[providers.\"a\\nb\"]\n{tables}"
    (sentence,) = problems_of(tmp_path, toml)[1:]
    assert len(sentence) < 1_000 and "\n" not in sentence and "more; threadline.toml" in sentence


@pytest.mark.parametrize("name", [".env", "threadline.toml"])
def test_a_path_that_is_no_file_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    """Opening a pipe would wait for its writer."""
    path = tmp_path / name
    for make, advice in (
        (path.mkdir, "this is a folder, not a file: remove it"),
        (partial(os.mkfifo, path), "this is a pipe or a socket"),
        (partial(path.symlink_to, path), "the file cannot be read (Too many levels of symbolic"),
    ):
        make()
        with pytest.raises(SettingsError) as caught:
            resolve(load({}, tmp_path / ".env"))
        ((setting, problem),) = caught.value.problems
        assert setting == str(path) and problem.startswith(advice)
        path.rmdir() if path.is_dir() else path.unlink()


def test_the_path_of_the_file_may_be_nonsense() -> None:
    with pytest.raises(SettingsError, match="is the path right"):
        resolve(load({"THREADLINE_CONFIG": "a\0b"}, None))


# Values and keys that are nearly right, to get past the first check.
_NEAR = ["env:NAME", "openai/gpt-5", "ollama/*", "echo", "https://x.test/v1", "none"]
_KEYS = [
    *Contents.model_fields,
    *["openai", "azure", "openai/gpt-5", "kind", "key", "headers", "price", "[key]"],
    "",
]
_TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(_NEAR),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def to_toml(value: Any) -> str:
    """The value as TOML; text uses the escapes that JSON has in common with it."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_quote(key)} = {to_toml(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quote(value)
    return "1979-05-27" if value is None else repr(value)


def _quote(text: str) -> str:
    return '"' + "".join(
        character if character.isascii() and character.isalnum() else f"\\U{ord(character):08x}"
        for character in text
    ) + '"'  # fmt: skip


@given(values=st.dictionaries(st.sampled_from([*Contents.model_fields, "other"]), _TOML_VALUES))
def test_any_toml_is_taken_or_refused_with_sentences(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    """Only a SettingsError is raised, with a line for each problem and each problem on one line."""
    toml = "".join(f"{name} = {to_toml(value)}\n" for name, value in values.items())
    tomllib.loads(toml)
    path = tmp_path_factory.mktemp("toml") / "threadline.toml"
    path.write_text(toml)
    file = config_file.read(path, required=True, settings=())
    assert all(re.match(r"line \d+: ", sentence) for _, sentence in file.problems)
    try:
        resolve(load({"THREADLINE_CONFIG": str(path)} | KEYS, None))
    except SettingsError as error:
        assert not any("\n" in sentence for _, sentence in error.problems)
    else:
        assert not file.problems


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("toml") / "threadline.toml"
    path.write_bytes(data)
    config_file.read(path, required=True, settings=())


# ── the example ───────────────────────────────────────────────────────────────────────────────
def all_keys(schema: type[BaseModel]) -> set[str]:
    """Every key that the file may contain, at any depth."""
    found: set[str] = set()
    paths: list[tuple[str, ...]] = [()]
    while paths:
        path = paths.pop()
        for name in keys_at(schema, path):
            found.add(name)
            paths += [(*path, name), (*path, name, "any")]
    return found


def test_the_example_has_every_key_and_is_right() -> None:
    settings = load(KEYS | {"THREADLINE_CONFIG": str(EXAMPLE)}, None)
    config = resolve(settings)
    assert config.chain and config.choices and config.summaries
    written = {part for location in settings.file.document.lines for part in location}
    # `dollars` is for files without a currency.
    assert all_keys(Contents) - {"dollars"} <= written
    assert {"kind", "cache_write", "context_tokens", "query"} <= all_keys(Contents)


def test_the_example_explains_every_key() -> None:
    """Each key follows a comment in its line or above its group."""
    commented = False
    for line in EXAMPLE.read_text().splitlines():
        if line.startswith("#"):
            commented = True
        elif not line:
            commented = False
        elif not line.startswith("["):
            assert commented or "#" in line, f"{line} has no explanation"
