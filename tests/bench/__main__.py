"""Run all benches, or those named on the command line: `python -m tests.bench history`.

`--quick` shortens the long ones. Only the tables are printed: the bot's log is formatted as in a
deployment and then discarded.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bot.common.logs import configure

# In this order: the quick ones first.
BENCHES = (
    "history",
    "attachments",
    "context",
    "frame_steps",
    "model_cost",
    "image_cost",
    "policy",
    "fairness",
    "extraction",
    "search",
    "latency",
    "processes",
    "idle",
    "store",
    "streaming_cost",
    "page_streams",
    "first_paint",
    "api_streams",
    "bare_client",
    "replay",
    "traces",
    "ablation",
    "streaming",
)

QUICK = "--quick"


def main(arguments: Sequence[str]) -> int:
    """Returns 0 on success, 1 if a bench failed, and 2 for an unknown name."""
    names = [name for name in arguments if name != QUICK]
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        print(f"no bench is called {', '.join(unknown)}: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    with Path(os.devnull).open("w") as nowhere:
        configure(level="INFO", form="console", secrets=(), stream=nowhere)
        results = [_run(name, QUICK in arguments) for name in names or BENCHES]
    return 0 if all(results) else 1


def _run(name: str, quick: bool) -> bool:
    """Whether the bench succeeded. A failure does not stop the remaining benches."""
    module = f"{__package__}.{name}"
    if importlib.util.find_spec(module) is None:
        print(f"\n{name}: not there yet")
        return True
    began = time.monotonic()
    try:
        bench = importlib.import_module(module)
        asyncio.run(bench.quick() if quick and hasattr(bench, "quick") else bench.run())
    except Exception as error:  # noqa: BLE001 - one bench's failure is no reason to lose the rest
        print(f"\n{name} failed: {error!r}", file=sys.stderr)
        return False
    print(f"  ({name}: {time.monotonic() - began:.1f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
