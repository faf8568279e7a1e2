"""The limit of file descriptors, tested in a separate process."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
from bot.common.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(256, 256, 256), (256, 1_024, 1_024), (300, 1_000, 1_000)]
)
def test_the_limit_is_raised_to_what_the_system_allows(soft: int, hard: int, expected: int) -> None:
    code = CODE.format(soft=soft, hard=hard)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected)] * 2
