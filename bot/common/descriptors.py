"""The process's limit on file descriptors: sockets, files and pipes."""

from __future__ import annotations

import resource

MAX_DESCRIPTORS = 65_536
"""Far more than the bot uses; some libraries close every possible descriptor, so the limit must not
be infinite."""


def raise_limit() -> int:
    """Raise the limit as far as an unprivileged process may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
