"""What all tests share: their processes are forked, see `tests.forks`."""

from __future__ import annotations

import os

from tests.forks import SWITCH

# Before anything is collected, in the controlling process and in every worker.
os.environ.setdefault(SWITCH, "1")
