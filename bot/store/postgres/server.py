"""Which PostgreSQL: the address of DATABASE_URL, without its password in any sentence."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# How long libpq waits, in seconds and milliseconds: a server that is gone is noticed after about
# 10 s, also by a connection that waits for an answer. With several hosts in DATABASE_URL, only one
# that takes writes is used, so a failover is one more attempt. DATABASE_URL may say otherwise.
_DEFAULTS = MappingProxyType(
    {
        "connect_timeout": "5",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
        "target_session_attrs": "read-write",
        "application_name": "threadline",
    }
)


@dataclass(frozen=True, slots=True)
class Server:
    """`conninfo` is libpq's connection string, `name` is what sentences call the database.

    `prepares`: whether statements are prepared, which PgBouncer before 1.21 does not allow.
    """

    conninfo: str
    name: str
    prepares: bool = True

    @classmethod
    def parse(cls, url: str, *, prepares: bool = True) -> Server:
        """The server of a URL. Raises psycopg.ProgrammingError if it is wrong."""
        given: dict[str, Any] = conninfo_to_dict(url)
        conninfo = make_conninfo("", **{**_DEFAULTS, **given})
        hosts = str(given.get("host") or urlsplit(url).hostname or "localhost")
        return cls(conninfo, f"{given.get('dbname') or given.get('user')} at {hosts}", prepares)
