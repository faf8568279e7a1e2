"""The address of the PostgreSQL server in DATABASE_URL; sentences never show its password."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo

# How long libpq waits, in seconds and milliseconds: a server that vanished is noticed after about
# 10 s, even by a connection that waits for a response. With several hosts in DATABASE_URL, only one
# that accepts writes is used, so a failover is just another attempt. DATABASE_URL may override
# these. The encoding of texts is always UTF-8: PGCLIENTENCODING could name one without emoji.
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
    """`conninfo` is libpq's connection string; `name` is how sentences refer to the database.

    `prepares`: whether to prepare statements, which PgBouncer before 1.21 does not allow.
    """

    conninfo: str
    name: str
    prepares: bool = True

    @classmethod
    def parse(cls, url: str, *, prepares: bool = True) -> Server:
        """Parse the server's URL. Raises psycopg.ProgrammingError if it is invalid."""
        given: dict[str, Any] = conninfo_to_dict(url)
        conninfo = make_conninfo("", **{**_DEFAULTS, **given, "client_encoding": "UTF8"})
        hosts = str(given.get("host") or urlsplit(url).hostname or "localhost")
        return cls(conninfo, f"{given.get('dbname') or given.get('user')} at {hosts}", prepares)
