"""From settings to a `ModelsConfig`: presets, the file, precedence, keys."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot.config import report
from bot.config.consistency import require_consistent
from bot.config.loader import load, unknown_names
from bot.config.model_names import other_spelling, split_name
from bot.config.models import address, examine, resolve
from bot.config.presets import KEY_VARIABLES, OTHER_NAMES, PRESETS, Preset
from bot.config.providers import ModelsConfig, ProviderConfig, ProviderKind
from bot.domain.errors import SettingsError
from bot.domain.model import ModelFacts, Prices

ROOT = Path(__file__).parents[2]


def config(
    environ: dict[str, str], toml: str = "", dotenv: str = "", folder: Path | None = None
) -> ModelsConfig:
    """The configuration from an environment and two files."""
    if folder is None:
        assert not toml and not dotenv
        return resolve(load(environ, None))
    (folder / "threadline.toml").write_text(toml)
    (folder / ".env").write_text(dotenv)
    return resolve(load(environ, folder / ".env"))


def key_of(provider: ProviderConfig) -> str | None:
    return provider.key.get_secret_value() if provider.key is not None else None


# ── presets ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", PRESETS)
def test_a_well_known_provider_needs_one_step(name: str) -> None:
    preset = PRESETS[name]
    environ = {"LLM": f"{name}/org/model:tag"} | ({preset.key: "the-key"} if preset.key else {})
    provider = config(environ).providers[name]
    assert (provider.kind, provider.base_url) == (preset.kind, preset.base_url)
    assert key_of(provider) == ("the-key" if preset.key else None)
    url = urlsplit(address(provider))
    assert url.scheme == ("http" if url.hostname == "127.0.0.1" else "https")
    assert not url.path.endswith("/") and not url.query


@pytest.mark.parametrize(("name", "preset"), PRESETS.items())
def test_a_missing_key_is_named(name: str, preset: Preset) -> None:
    if not preset.needs_key:
        assert key_of(config({"LLM": f"{name}/m"}).providers[name]) is None
        return
    with pytest.raises(SettingsError) as caught:
        config({"LLM": f"{name}/m,{name}/other"})
    assert caught.value.setting == preset.key
    assert caught.value.problem.startswith("set it") and len(caught.value.problems) == 1


def test_the_names_that_people_know_lead_to_presets() -> None:
    assert set(OTHER_NAMES.values()) <= set(PRESETS) and not set(OTHER_NAMES) & set(PRESETS)
    for wrong, meant in (("claude", "anthropic"), ("grok", "xai"), ("gemni", "gemini")):
        with pytest.raises(SettingsError, match=f"LLM: '{wrong}/x' .*did you mean {meant}\\?"):
            config({"LLM": f"{wrong}/x"})
    with pytest.raises(SettingsError, match=r"provider: Known are anthropic, .*can add others"):
        config({"LLM": "zzzzzz/x"})


def test_the_example_shows_eight_providers_in_one_step_each() -> None:
    lines = re.findall(r"^#   (\S+/\S+) +(\S+)", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(lines) == 8
    for name, variable in lines:
        key = {variable: "key"} if variable != "no" else {}
        assert split_name(name)[0] in config({"LLM": name} | key).providers


def test_keys_of_presets_are_known_and_secret(tmp_path: Path) -> None:
    """A key in `.env` is not taken for a misspelled setting; no key reaches the log, used or
    not."""
    (tmp_path / "threadline.toml").write_text(
        "[providers.x]\nkind = 'openai'\nkey = 'env:MY_KEY'\nheaders = { X-Auth = 'env:MY_AUTH' }"
    )
    names = [*sorted(KEY_VARIABLES), "MY_KEY", "MY_AUTH"]
    lines = [f"{name}=secret-of-{name}" for name in names[:-1]]
    (tmp_path / ".env").write_text("\n".join([*lines, "MY_AUTH=Bearer secret-token", "MY_KEEY=x"]))
    assert unknown_names({}, tmp_path / ".env") == {"MY_KEEY": "MY_KEY"}
    secrets = load({}, tmp_path / ".env").secrets()
    assert {f"secret-of-{name}" for name in names[:-1]} <= set(secrets)
    assert {"Bearer secret-token", "secret-token"} <= set(secrets)


# ── the older settings ────────────────────────────────────────────────────────────────────────
def test_the_old_names_and_settings_mean_the_same_providers() -> None:
    environ = {
        "LLM": "openai:gpt-5, huggingface:org/m:fastest, openai/gpt-5",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "HF_TOKEN": "hf",
    }
    found = config(environ)
    assert found.chain == ("openai:gpt-5", "huggingface:org/m:fastest", "openai/gpt-5")
    openai, huggingface = found.providers["openai"], found.providers["huggingface"]
    assert (key_of(openai), openai.base_url) == ("k", "http://127.0.0.1:1/v1")
    assert (key_of(huggingface), huggingface.base_url) == ("hf", None)
    assert (openai.key_setting, openai.address_setting) == ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    assert (huggingface.kind, huggingface.key_setting) == (ProviderKind.HUGGINGFACE, "HF_TOKEN")


def test_nothing_set_is_the_demo_without_a_provider() -> None:
    assert config({}) == ModelsConfig(chain=("demo",))


def test_another_address_needs_no_key(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/v1"
    assert key_of(config({"LLM": "openai:m", "OPENAI_BASE_URL": url}).providers["openai"]) is None
    toml = f"llm = 'groq/m'\n[providers.groq]\nbase_url = '{url}/'"
    assert config({}, toml, folder=tmp_path).providers["groq"].base_url == url


# ── the file ──────────────────────────────────────────────────────────────────────────────────
TOML = """\
llm = ["ollama/llama3.1", "azure/gpt-5"]
choices = "openai/gpt-5-mini, ollama/*, echo"
summaries = "work/gpt-5-mini"
[providers.ollama]
first_token_seconds = 300
[providers.azure]
kind = "openai"
base_url = "https://x.openai.azure.com/openai/v1/"
key = "env:AZURE_KEY"
headers = { api-key = "env:AZURE_KEY", X-Team = "support" }
query = { api-version = "preview" }
[providers.work]
kind = "openai-responses"
key = "env:WORK_KEY"
[providers.unused]
kind = "anthropic"
key = "env:NOT_SET"
[models."openai/gpt-5-mini"]
context = 400_000
context_tokens = 60_000
sees = true
price = { input = 0.25, cached = 0.025, output = 2 }
"""
FACTS = ModelFacts(
    window=400_000,
    sees=True,
    prices=Prices(input=0.25, output=2.0, cached=0.025),
    context_tokens=60_000,
    is_configured=True,
)


def test_the_file_describes_servers_and_models(tmp_path: Path) -> None:
    """Variables come from the environment or else from `.env`; unused providers need none."""
    environ = {"WORK_KEY": "work-key", "OPENAI_API_KEY": "k"}
    found = config(environ, TOML, "AZURE_KEY=azure-key\nWORK_KEY=no\n", folder=tmp_path)
    assert found.chain == ("ollama/llama3.1", "azure/gpt-5")
    assert found.choices == ("openai/gpt-5-mini", "ollama/*", "echo")
    assert found.summaries == "work/gpt-5-mini"
    assert sorted(found.providers) == ["azure", "ollama", "openai", "work"]
    ollama, azure, work = (found.providers[name] for name in ("ollama", "azure", "work"))
    assert (ollama.base_url, ollama.first_token_seconds) == ("http://127.0.0.1:11434/v1", 300)
    assert azure.base_url == "https://x.openai.azure.com/openai/v1"
    assert (key_of(azure), azure.headers, azure.query) == (
        "azure-key",
        {"api-key": "azure-key", "X-Team": "support"},
        {"api-version": "preview"},
    )
    assert (work.kind, work.base_url) == (ProviderKind.OPENAI_RESPONSES, None)
    assert (key_of(work), work.key_setting) == ("work-key", "WORK_KEY")
    assert "azure-key" not in repr(found)


def test_facts_hold_for_both_spellings_of_a_model(tmp_path: Path) -> None:
    """A context window that is not stated is not configured."""
    found = config(
        {"OPENAI_API_KEY": "k", "AZURE_KEY": "a", "WORK_KEY": "w"}, TOML, folder=tmp_path
    )
    assert found.facts == {"openai/gpt-5-mini": FACTS, "openai:gpt-5-mini": FACTS}
    toml = '[models."ollama/m:8b"]\nmax_output = 100'
    assert config({}, toml, folder=tmp_path).facts == {"ollama/m:8b": ModelFacts(max_output=100)}
    assert other_spelling("huggingface:org/m") == "huggingface/org/m"


def test_the_environment_and_dotenv_win_over_the_file(tmp_path: Path) -> None:
    toml = """\
llm = ["ollama/a"]
choices = ["ollama/b"]
[providers.openai]
base_url = "https://proxy.test/v1"
key = "env:PROXY_KEY"
"""
    environ = {"LLM": "openai/x", "PROXY_KEY": "p", "OPENAI_API_KEY": "k"}
    found = config(environ, toml, "MODELS=echo\n", folder=tmp_path)
    assert (found.chain, found.choices) == (("openai/x",), ("echo",))
    openai = found.providers["openai"]
    assert (key_of(openai), openai.base_url) == ("p", "https://proxy.test/v1")
    environ["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
    assert (
        config(environ, toml, folder=tmp_path).providers["openai"].base_url
        == environ["OPENAI_BASE_URL"]
    )


@pytest.mark.parametrize("value", ["sk-ä", "sk-a\nb", "sk-\u200b"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(
    tmp_path: Path, value: str
) -> None:
    toml = "[providers.x]\nkind = 'openai'\nkey = 'env:X_KEY'"
    for environ, setting in (
        ({"LLM": "groq/m", "GROQ_API_KEY": value}, "GROQ_API_KEY"),
        ({"LLM": "x/m", "X_KEY": value}, str(tmp_path / "threadline.toml")),
    ):
        with pytest.raises(SettingsError, match="copy it again") as caught:
            config(environ, toml, folder=tmp_path)
        assert caught.value.setting == setting and value not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("base_url = 'http://x.test'", "line 2: providers.x needs kind: one of openai, "
         "openai-responses, anthropic, huggingface"),
        ("kind = 'anthropic'", "line 2: providers.x needs base_url, or a key for "
         "https://api.anthropic.com"),
        ("kind = 'openai'\nkey = 'env:NOT_SET'", "line 4: providers.x.key: NOT_SET is not set, "
         "neither in the environment nor in .env"),
    ],
)  # fmt: skip
def test_an_incomplete_provider_is_refused(tmp_path: Path, table: str, problem: str) -> None:
    """It is reported once, however many models use it."""
    with pytest.raises(SettingsError) as caught:
        config({}, f"llm = ['x/a', 'x/b']\n[providers.x]\n{table}", folder=tmp_path)
    assert caught.value.problems == ((str(tmp_path / "threadline.toml"), problem),)


def test_unusable_models_are_left_out_for_the_checks(tmp_path: Path) -> None:
    """`doctor` reports the problems, and tries the other models."""
    (tmp_path / "threadline.toml").write_text("[providers.bad]\nkind = 'x'\n")
    environ = {"LLM": "groq/a,ollama/b,nowhere/c,bad/d", "MODELS": "echo,groq/e"}
    environ["SUMMARY_MODEL"] = "groq/f"
    found, problems = examine(load(environ, tmp_path / ".env"))
    assert (found.chain, found.choices, found.summaries) == (("ollama/b",), ("echo",), None)
    assert [setting for setting, _ in problems] == [
        str(tmp_path / "threadline.toml"), "GROQ_API_KEY", "LLM",
    ]  # fmt: skip


def test_the_file_may_be_elsewhere_but_must_then_exist(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    with pytest.raises(SettingsError, match=r"other\.toml: there is no such file"):
        config({"THREADLINE_CONFIG": str(other)})
    other.write_text("llm = ['ollama/m']")
    assert config({"THREADLINE_CONFIG": str(other)}).chain == ("ollama/m",)
    dotenv = f"THREADLINE_CONFIG={other}\n"
    assert config({}, "llm = ['echo']", dotenv, folder=tmp_path).chain == ("ollama/m",)


def test_a_model_in_the_file_is_enough_for_a_platform(tmp_path: Path) -> None:
    (tmp_path / "threadline.toml").write_text("llm = ['ollama/m']")
    require_consistent(load({"DISCORD_TOKEN": "t"}, tmp_path / ".env"))
    (tmp_path / "threadline.toml").write_text("choices = ['ollama/m']")
    with pytest.raises(SettingsError, match="LLM: set a model"):
        require_consistent(load({"DISCORD_TOKEN": "t"}, tmp_path / ".env"))
    # An unreadable file may contain the line, so one problem is enough.
    (tmp_path / "threadline.toml").write_text("llm = ['ollama/m")
    require_consistent(load({"DISCORD_TOKEN": "t"}, tmp_path / ".env"))


def test_the_check_names_the_variables_of_all_keys(tmp_path: Path) -> None:
    """A header without a variable is no key."""
    (tmp_path / "threadline.toml").write_text(
        "llm = ['a/m', 'b/m']\n"
        "[providers.a]\nkind = 'openai'\nbase_url = 'http://a.test'\n"
        "headers = { api-key = 'env:A_KEY', X-Team = 'red' }\nquery = { key = 'env:A_QUERY' }\n"
        "[providers.b]\nkind = 'openai'\nbase_url = 'http://b.test'\nheaders = { X-Team = 'red' }\n"
    )
    settings = load({"A_KEY": "secret-a", "A_QUERY": "secret-q"}, tmp_path / ".env")
    text = "\n".join(report.describe(settings, resolve(settings), lambda *_: ModelFacts()))
    assert "a/m: openai API at a.test, A_KEY and A_QUERY are set" in text
    assert "b/m: openai API at b.test, no key" in text and "secret" not in text


# ── the model that writes summaries ───────────────────────────────────────────────────────────
def test_the_setting_of_the_summaries_wins_over_the_file(tmp_path: Path) -> None:
    """Both mean the same, and the model's provider is configured like the others."""
    toml = 'summaries = "ollama/small"\n'
    assert config({}).summaries is None
    in_file = config({}, toml, folder=tmp_path)
    assert in_file.summaries == "ollama/small" and "ollama" in in_file.providers
    set_too = config({"SUMMARY_MODEL": "lmstudio/tiny"}, toml, folder=tmp_path)
    assert set_too.summaries == "lmstudio/tiny" and set(set_too.providers) == {"lmstudio"}
    off = config({"SUMMARY_MODEL": "none"}, toml, folder=tmp_path)
    assert off.summaries == "none" and not off.providers


def test_a_wrong_model_for_summaries_is_named() -> None:
    with pytest.raises(SettingsError, match=r"SUMMARY_MODEL.*PROVIDER/MODEL"):
        config({"SUMMARY_MODEL": "gpt-5"})
    with pytest.raises(SettingsError) as caught:
        config({"SUMMARY_MODEL": "openai/gpt-5-nano"})
    assert caught.value.setting == "OPENAI_API_KEY"
