"""Test modules that are compiled before a run: pytest must load them."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pytest.assertion.rewrite import _read_pyc

from tests.support.precompile import _compile_all, _compiled


def test_pytest_loads_what_was_compiled_for_it(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Otherwise each worker would compile everything again, and no other test would notice."""
    source = tmp_path / "test_something.py"
    source.write_text("def test_it():\n    assert [1] == [2]\n")
    _compile_all(pytestconfig, [(source, _compiled(source))])
    code = _read_pyc(source, _compiled(source))
    assert code is not None
    assert "@pytest_ar" in code.co_names, "its assertions explain themselves"


def test_an_invalid_module_is_left_for_its_import(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    for name in ("test_invalid.py", "invalid.py"):
        (tmp_path / name).write_text("def (:")
    files = [(path, _compiled(path)) for path in tmp_path.glob("*.py")]
    _compile_all(pytestconfig, files)
    assert not any(compiled.exists() for _, compiled in files)
