"""Compiles the project before a run's workers start; otherwise each would compile all of it.

In a fresh checkout that takes each worker eight seconds of CPU time, all at the same time. Compiled
files newer than their sources are left alone; Python and pytest check them again when they load
them.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

# Private, and pytest is pinned: there is no other way to rewrite assertions without an import.
from _pytest.assertion import AssertionState
from _pytest.assertion.rewrite import PYC_TAIL, _rewrite_test, _write_pyc

ROOT = Path(__file__).parents[2]
FOLDERS = ("bot", "adapters", "tests")


def precompile(config: pytest.Config) -> None:
    """Compile whatever is not compiled yet, in one process per core."""
    stale = [] if sys.dont_write_bytecode else [*_stale()]
    cores = min(os.cpu_count() or 1, len(stale))
    parts = [stale[core::cores] for core in range(cores)]
    forks = get_context("fork")
    running = [forks.Process(target=_compile_all, args=(config, part)) for part in parts]
    for process in running:
        process.start()
    for process in running:
        process.join()


def _stale() -> Iterator[tuple[Path, Path]]:
    """The sources without a newer compiled file, each with that file's path."""
    for source in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        compiled = _compiled(source)
        if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
            yield source, compiled


def _compiled(source: Path) -> Path:
    """The path where Python keeps the compiled file, or pytest if it rewrites the assertions."""
    usual = Path(importlib.util.cache_from_source(str(source)))
    return usual.with_name(source.stem + PYC_TAIL) if _is_rewritten(source) else usual


def _is_rewritten(source: Path) -> bool:
    return source.name == "conftest.py" or source.name.startswith("test_")


def _compile_all(config: pytest.Config, files: list[tuple[Path, Path]]) -> None:
    """Compile the sources; errors are left to the import, which reports them."""
    state = AssertionState(config, "rewrite")
    for source, compiled in files:
        if not _is_rewritten(source):
            py_compile.compile(str(source), quiet=2)
            continue
        compiled.parent.mkdir(exist_ok=True)
        with suppress(SyntaxError):
            source_hash, code = _rewrite_test(source, config)
            _write_pyc(state, code, source_hash, compiled)
