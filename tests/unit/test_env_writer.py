"""Writing `.env`: other lines stay, the file is private and never half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import env_file, env_writer
from bot.domain.errors import SettingsError

BEFORE = """\
# my settings
LLM=demo   # to try it

export HTTP_PORT=8081
SYSTEM_PROMPT="Be brief.
Be kind."
"""


def test_only_the_named_lines_change(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(BEFORE)
    path.chmod(0o644)
    env_writer.write(path, {"LLM": "openai/gpt-5-mini", "OPENAI_API_KEY": "sk-1"})
    assert path.read_text() == (
        BEFORE.replace("LLM=demo   # to try it", "LLM=openai/gpt-5-mini") + "OPENAI_API_KEY=sk-1\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    env_writer.write(path, {"LLM": "ollama/llama3.1:8b"})
    assert path.read_text() == "LLM=ollama/llama3.1:8b\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_of_a_windows_editor_becomes_utf_8(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# Grüße\nLLM=demo\n", encoding="utf-16")
    env_writer.write(path, {"LLM": "echo"})
    assert path.read_bytes() == "# Grüße\nLLM=echo\n".encode()


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "secrets" / "env", tmp_path / ".env"
    real.parent.mkdir()
    real.write_text("LLM=demo\n")
    link.symlink_to(real)
    env_writer.write(link, {"LLM": "echo"})
    assert link.is_symlink() and real.read_text() == "LLM=echo\n"


@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1))
def test_every_value_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, value: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.env"
    if "${" in value:  # python-dotenv replaces variables in every value
        return
    env_writer.write(path, {"SYSTEM_PROMPT": value})
    assert env_file.read(path)["SYSTEM_PROMPT"] == value


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written") as caught:
        env_writer.write(tmp_path / "missing" / ".env", {"LLM": "echo"})
    assert caught.value.setting.endswith(".env")
