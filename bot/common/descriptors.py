"""How many descriptors the process may have: sockets, files and pipes."""

from __future__ import annotations

import resource

MOST = 65_536
"""Far more than is ever used; an unlimited number would make some libraries close them all."""


def raise_limit() -> int:
    """Raise the limit to what the system allows without privileges, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MOST if soft == resource.RLIM_INFINITY else soft
