"""Translates PostgreSQL's errors into StoreUnavailable, with a sentence for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

import psycopg

from bot.domain.errors import StoreUnavailable

UNREACHABLE = "08000"
"""The code of errors without an SQLSTATE, because there is no connection."""

TOO_MANY = "53300"
"""The code of a connection that is refused because there are too many."""

DAMAGED = ("XX001", "XX002")
"""Codes that mean damage, which lasts until someone repairs it."""

_POOLED = (
    "is behind a pooler that mixes up prepared statements: set DATABASE_PREPARED_STATEMENTS=false."
)

# SQLSTATE (https://www.postgresql.org/docs/15/errcodes-appendix.html), or its class of two
# characters.
_SENTENCES = MappingProxyType(
    {
        "08": "cannot be reached: check that PostgreSQL runs there and that the network is up.",
        "28": "refuses the user or the password in DATABASE_URL.",
        "3D": "does not exist: create it, or name another one in DATABASE_URL.",
        "40": "had too many conflicting transactions.",
        "42501": "refuses a permission: this user must own the tables.",
        "53": "is out of resources: see PostgreSQL's log.",
        "53100": "cannot grow, the disk is full: free some space.",
        TOO_MANY: "has too many connections: raise its limit, or lower DATABASE_CONNECTIONS.",
        "55P03": "was locked by another transaction for too long.",
        "57014": "did not finish a statement in time.",
        "57": "is shutting down, starting or recovering.",
        "25006": "is read-only: it is a standby, or default_transaction_read_only is on.",
        "26000": _POOLED,
        "42P05": _POOLED,
        "25P03": "ended a transaction of this process, which had stopped for too long.",
        "58": "cannot read or write its files: see PostgreSQL's log.",
        "XX001": "is damaged: restore a backup.",
        "XX002": "has a damaged index: rebuild it with REINDEX.",
    }
)

# Misuse and violated constraints are bugs in Threadline, so these errors pass unchanged.
_BUGS = (
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
)

_OPERATORS = ("28", "3D", "42501", "26000", "42P05")
"""Codes, or their prefixes, that point to mistakes in the installation."""


# libpq does not pass on the SQLSTATE of a refused connection, only the server's words, which begin
# like this. Servers that write another language than English get UNREACHABLE.
_REFUSALS = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("role ", "28000"),
    ("database ", "3D000"),
    ("the database system is ", "57P03"),
    ("sorry, too many clients", TOO_MANY),
    ("too many connections for ", TOO_MANY),  # of this role or database
    ("remaining connection slots", TOO_MANY),
    ("no more connections allowed", TOO_MANY),  # PgBouncer
)


def code_of(error: psycopg.Error) -> str:
    """The SQLSTATE; UNREACHABLE if there is none."""
    if error.sqlstate:
        return error.sqlstate
    reason = str(error).partition("FATAL:")[2].strip()
    found = (code for beginning, code in _REFUSALS if reason.startswith(beginning))
    return next(found, UNREACHABLE)


def unavailable(name: str, error: psycopg.Error) -> StoreUnavailable:
    """Translate the error. The message names the database and, if known, what to do."""
    code = code_of(error)
    sentence = _SENTENCES.get(code) or _SENTENCES.get(code[:2]) or f"failed ({code})."
    return StoreUnavailable(f"The database {name} {sentence}", code=code)


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Raise StoreUnavailable instead of PostgreSQL's errors. `name` must not contain a password."""
    try:
        yield
    except psycopg.Error as exc:
        if isinstance(exc, _BUGS) and not code_of(exc).startswith(_OPERATORS):
            raise
        raise unavailable(name, exc) from exc
