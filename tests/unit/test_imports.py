"""Importing a module does nothing, and what is not configured is not imported."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import adapters
import bot

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    module.name
    for package in (bot, adapters)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)

# All modules together take 10 s of an idle core, and minutes of a busy one.
IMPORT_SECONDS = 300

# Runs in a fresh interpreter: fails on sockets, threads, processes and written files.
WATCH = """
import sys, threading
def hook(event, args):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "sqlite3.connect"):
        raise SystemExit(f"{event} {args}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise SystemExit(f"writes {args[0]}")
sys.dont_write_bytecode = True
sys.addaudithook(hook)
for name in sys.argv[1:]:
    __import__(name)
alive = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
if alive:
    raise SystemExit(f"threads {alive}")
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=IMPORT_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


@pytest.mark.timeout(2 * IMPORT_SECONDS)
def test_importing_every_module_does_nothing() -> None:
    """No import opens a socket, a file for writing or a database, or starts a thread or process."""
    run(WATCH, *MODULES)


def test_platforms_and_providers_are_imported_only_when_configured() -> None:
    """Their imports take most of the startup time."""
    light = ("bot.turns.runner", "bot.store.sqlite", "bot.wiring.terminal", "bot.app")
    loaded = run(f"import {', '.join(light)}, bot.__main__, sys; print(sorted(sys.modules))")
    providers = ("openai", "anthropic", "huggingface_hub")
    for heavy in ("discord", "slack_bolt", "slack_sdk", *providers, "fastapi"):
        assert f"'{heavy}'" not in loaded, heavy
