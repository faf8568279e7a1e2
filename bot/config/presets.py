"""Well-known providers: API, address, and the environment variable of the key.

With a preset, a provider only needs its key: `LLM=groq/openai/gpt-oss-120b` and GROQ_API_KEY.
Addresses and variables follow the providers' documentation, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.config.providers import ProviderKind


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider. If `base_url` is None, the address of the kind's own service applies.

    `key` and `address` are environment variables. A provider that `needs_key` works without one
    only if the operator sets another address. `title` is the name that people know; `example` is
    one of its models.
    """

    kind: ProviderKind = ProviderKind.OPENAI
    base_url: str | None = None
    key: str = ""
    address: str = ""
    needs_key: bool = True
    title: str = ""
    example: str = ""


SERVICE_URLS: Mapping[ProviderKind, str] = {
    ProviderKind.OPENAI: "https://api.openai.com/v1",
    ProviderKind.OPENAI_RESPONSES: "https://api.openai.com/v1",
    ProviderKind.ANTHROPIC: "https://api.anthropic.com",
    ProviderKind.HUGGINGFACE: "https://router.huggingface.co/v1",
}
"""The address of the service behind each kind of API."""

PRESETS: Mapping[str, Preset] = {
    # https://platform.openai.com/docs/api-reference
    "openai": Preset(
        key="OPENAI_API_KEY",
        address="OPENAI_BASE_URL",
        title="OpenAI",
        example="gpt-5-mini",
    ),
    "openai-responses": Preset(
        ProviderKind.OPENAI_RESPONSES, key="OPENAI_API_KEY", address="OPENAI_BASE_URL"
    ),
    # https://docs.anthropic.com/en/api/overview
    "anthropic": Preset(
        ProviderKind.ANTHROPIC,
        key="ANTHROPIC_API_KEY",
        title="Anthropic",
        example="claude-sonnet-5",
    ),
    # https://huggingface.co/docs/inference-providers
    "huggingface": Preset(
        ProviderKind.HUGGINGFACE,
        key="HF_TOKEN",
        address="HF_BASE_URL",
        title="Hugging Face",
        example="openai/gpt-oss-120b",
    ),
    # https://openrouter.ai/docs/quickstart
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key="OPENROUTER_API_KEY",
        title="OpenRouter",
        example="openai/gpt-5-mini",
    ),
    # https://ai.google.dev/gemini-api/docs/openai
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key="GEMINI_API_KEY",
        title="Google Gemini",
        example="gemini-3.8-flash",
    ),
    # https://console.groq.com/docs/openai
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        key="GROQ_API_KEY",
        title="Groq",
        example="openai/gpt-oss-120b",
    ),
    # https://docs.mistral.ai/api
    "mistral": Preset(
        base_url="https://api.mistral.ai/v1",
        key="MISTRAL_API_KEY",
        title="Mistral",
        example="mistral-small-latest",
    ),
    # https://api-docs.deepseek.com
    "deepseek": Preset(
        base_url="https://api.deepseek.com", key="DEEPSEEK_API_KEY", title="DeepSeek"
    ),
    # https://docs.x.ai/developers/quickstart
    "xai": Preset(base_url="https://api.x.ai/v1", key="XAI_API_KEY", title="xAI"),
    # https://docs.together.ai/docs/inference/openai-compatibility
    "together": Preset(
        base_url="https://api.together.ai/v1", key="TOGETHER_API_KEY", title="Together"
    ),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility
    "fireworks": Preset(
        base_url="https://api.fireworks.ai/inference/v1", key="FIREWORKS_API_KEY", title="Fireworks"
    ),
    # https://inference-docs.cerebras.ai/resources/openai
    "cerebras": Preset(
        base_url="https://api.cerebras.ai/v1", key="CEREBRAS_API_KEY", title="Cerebras"
    ),
    # https://docs.api.nvidia.com/nim/reference/llm-apis
    "nvidia": Preset(
        base_url="https://integrate.api.nvidia.com/v1", key="NVIDIA_API_KEY", title="NVIDIA"
    ),
    # https://docs.ollama.com/api/openai-compatibility
    "ollama": Preset(base_url="http://127.0.0.1:11434/v1", needs_key=False),
    # https://lmstudio.ai/docs/developer/openai-compat
    "lmstudio": Preset(base_url="http://127.0.0.1:1234/v1", needs_key=False),
    # https://github.com/ggml-org/llama.cpp/tree/master/tools/server
    "llamacpp": Preset(base_url="http://127.0.0.1:8080/v1", needs_key=False),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    "vllm": Preset(base_url="http://127.0.0.1:8000/v1", key="VLLM_API_KEY", needs_key=False),
    # https://docs.litellm.ai/docs/proxy/docker_quick_start
    "litellm": Preset(base_url="http://127.0.0.1:4000/v1", key="LITELLM_API_KEY", needs_key=False),
}

KEY_VARIABLES = frozenset(preset.key for preset in PRESETS.values() if preset.key)
"""The environment variables of all presets' keys."""

OTHER_NAMES: Mapping[str, str] = {
    "claude": "anthropic",
    "google": "gemini",
    "grok": "xai",
    "x-ai": "xai",
    "hf": "huggingface",
    "lm-studio": "lmstudio",
    "llama.cpp": "llamacpp",
    "llama-cpp": "llamacpp",
    "mistralai": "mistral",
    "responses": "openai-responses",
}
"""Other names that people write for these providers; most differ too much for a spelling check."""
