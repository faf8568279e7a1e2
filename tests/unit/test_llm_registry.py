"""Building models from the settings, without importing unused providers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from bot.config.loader import load
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.errors import SettingsError
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest
from bot.llm.addresses import host_and_port, is_local
from bot.llm.echo import EchoModel
from tests.support.model_kit import registry

# In a new process, which forks for each configuration: only the first one imports the shared
# modules.
CHECK = """
import os, sys
from bot.common.clock import SystemClock
from bot.config.models import resolve
from bot.config.loader import load
from bot.llm.model_server import ModelOptions
from bot.llm.registry import ModelRegistry
for environs in {configurations!r}:
    if os.fork() == 0:
        for environ in environs:
            models = ModelRegistry(resolve(load(environ, None)), ModelOptions(SystemClock()))
            models.prepare()
            heavy = {{"anthropic", "openai", "huggingface_hub", "aiohttp", "discord"}}
            print(models.default, *sorted(heavy & set(sys.modules)), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.mark.timeout(600)  # imports: seconds of an idle core, minutes of a busy one
def test_only_configured_providers_are_imported() -> None:
    """Each costs half a second of startup and tens of megabytes."""
    openai = {"OPENAI_API_KEY": "k"}
    configurations = [
        [{}],
        [{"LLM": "huggingface:org/m:fastest", "HF_TOKEN": "hf_x"}],
        [{"LLM": "anthropic/m", "ANTHROPIC_API_KEY": "k"}],
        [{"LLM": "openai-responses/m", **openai}, {"LLM": "openai:m", **openai}],
    ]
    code = CHECK.format(configurations=configurations)
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert process.stdout.splitlines() == [
        "demo",
        "huggingface:org/m:fastest huggingface_hub",
        "anthropic/m aiohttp anthropic",
        "openai-responses/m aiohttp openai",
        "openai:m aiohttp openai",
    ]


async def test_the_chain_and_the_choices_are_built_from_names() -> None:
    """A name keeps everything after its first colon; each choice is a separate chain."""
    settings = load(
        {
            "LLM": "openai:a, huggingface:org/b:fastest",
            "MODELS": "openai:ft:c:d,echo",
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "HF_BASE_URL": "http://127.0.0.1:9/v1",
        },
        None,
    )
    models = registry(settings)
    assert models.default == models.get(None).name == "openai:a,huggingface:org/b:fastest"
    assert models.names == ("openai:ft:c:d", "echo")
    assert [models.get(name).name for name in models.names] == ["openai:ft:c:d", "echo"]
    assert models.get("openai:a").name == models.default, "not one of the choices"
    await models.aclose()


@pytest.mark.parametrize(
    ("llm", "setting"), [("openai:m", "OPENAI_API_KEY"), ("huggingface:m", "HF_TOKEN")]
)
def test_a_missing_key_is_a_settings_error(llm: str, setting: str) -> None:
    """The error is raised at startup, not at the first question."""
    with pytest.raises(SettingsError) as caught:
        registry(load({"LLM": llm}, None))
    assert caught.value.setting == setting


# ── echo ──────────────────────────────────────────────────────────────────────────────────────
def conversation(*contents: str) -> tuple[Message, ...]:
    roles = (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER)
    return tuple(
        Message(role=role, content=text) for role, text in zip(roles, contents, strict=False)
    )


async def test_echo_says_how_many_images_it_got() -> None:
    """This makes it possible to try a picture without a model."""
    part = ImagePart("image/png", b"", 1, 1)
    for count, said in ((1, "I got 1 image."), (2, "I got 2 images.")):
        request = ChatRequest((Message(Role.USER, "look", parts=(part,) * count),))
        answer = [delta.text async for delta in EchoModel(seconds_per_piece=0).stream(request)]
        assert said in "".join(answer)


async def test_echo_streams_the_last_message_and_the_number_of_messages() -> None:
    """The answer arrives in pieces, with a finish reason, usage and its name, like a real
    model's."""
    request = ChatRequest(conversation("be kind", "one", "ok", "two **bold**\n\n- item"))
    deltas = [delta async for delta in EchoModel(seconds_per_piece=0).stream(request)]
    text = "".join(delta.text for delta in deltas)
    assert "two **bold**\n\n- item" in text and "3 messages" in text
    assert len(deltas) > 5 and deltas[0].model == "echo"
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage is not None and deltas[-1].usage.output_tokens == len(deltas) - 1


async def test_echo_repeats_a_key_without_our_words_about_it() -> None:
    """Nothing leaves the process, so nothing is redacted."""
    key = "sk-proj-" + "aB3" * 14
    models = registry(load({"LLM": "echo"}, None))
    request = ChatRequest(messages=(Message(Role.USER, f"is {key} right?"),))
    said = "".join([delta.text async for delta in models.get(None).stream(request)])
    assert key in said and "placeholder" not in said


async def test_echo_respects_the_output_limit() -> None:
    """The finish reason then is "length"."""
    request = ChatRequest(conversation("s", "a long question of many words"), max_tokens=3)
    deltas = [delta async for delta in EchoModel(seconds_per_piece=0).stream(request)]
    assert len(deltas) == 4 and deltas[-1].finish_reason == "length"


async def test_echo_warns_that_it_is_not_a_model() -> None:
    """The advice of `doctor` names the setting."""
    finding = await EchoModel().check()
    assert finding.verdict is Verdict.WARNING and "LLM" in finding.advice


# ── addresses ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://127.0.0.1:11434/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost:1234/v1", True),
        ("http://ollama:11434/v1", True),  # a container
        ("http://host.docker.internal:11434/v1", True),
        ("http://192.168.1.20:8000/v1", True),
        ("http://gpu.local/v1", True),
        ("https://api.mistral.ai/v1", False),
        ("http://11.0.0.7:8000/v1", False),
    ],
)
def test_a_local_server_is_recognized_by_its_address(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_the_displayed_address_has_no_secrets() -> None:
    assert (
        host_and_port("https://me:secret@gpu.example.org/key-123/v1?token=x") == "gpu.example.org"
    )
    assert host_and_port("http://[::1]:8080/v1") == "[::1]:8080"


async def test_conversations_are_summarized_by_their_own_model_unless_one_is_named() -> None:
    environ = {
        "LLM": "openai:a",
        "MODELS": "openai:b",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    }
    async with contextlib.aclosing(registry(load(environ, None))) as models:
        names = [model and model.name for model in map(models.summarizer, (None, "openai:b", "x"))]
        assert names == ["openai:a", "openai:b", "openai:a"]
    environ["SUMMARY_MODEL"] = "openai:c"
    async with contextlib.aclosing(registry(load(environ, None))) as models:
        model = models.summarizer("openai:b")
        assert model is not None and model.name == "openai:c"
        assert models.get("openai:c").name == "openai:a"  # people cannot choose it
    environ["SUMMARY_MODEL"] = "none"
    async with contextlib.aclosing(registry(load(environ, None))) as models:
        assert models.summarizer(None) is None


async def test_a_place_is_answered_and_summarized_by_the_model_of_its_rule(tmp_path: Path) -> None:
    """A person's choice takes precedence; an unconfigured model does not count; no other model
    summarizes."""
    toml = """
        llm = "echo"
        choices = "ollama/b"
        summaries = "ollama/s"
        [profiles.p]
        model = ["ollama/a", "echo"]
        budgets = [{ period = "day", tokens = 1, then = "ollama/t" }]
    """
    (tmp_path / "threadline.toml").write_text(toml)
    async with contextlib.aclosing(registry(load({}, tmp_path / ".env"))) as models:
        for chosen, assigned, name in (
            (None, None, "echo"),
            (None, "ollama/a,echo", "ollama/a,echo"),
            (None, "ollama/t", "ollama/t"),
            (None, "ollama/b", "ollama/b"),
            (None, "ollama/a,ollama/gone", "echo"),
            ("ollama/b", "ollama/a", "ollama/b"),
            ("ollama/a", None, "echo"),  # people cannot choose it
        ):
            assert models.get(chosen, assigned).name == name
        for assigned, name in ((None, "ollama/s"), ("ollama/a", "ollama/a"), ("x/y", "ollama/s")):
            summarizer = models.summarizer("ollama/b", assigned)
            assert summarizer is not None and summarizer.name == name
