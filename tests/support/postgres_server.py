"""One PostgreSQL server for a test run, shared by all of its processes.

The first process that needs it starts a guardian (`python -m tests.support.postgres_server`), which
starts the server and stops it once no process is connected to the guardian any more. The server
therefore ends with the run, even if the run is killed. Each test gets a separate database, copied
from one that has the newest schema.

Durability is off (fsync), except for `durable` servers, which a test starts for its purposes.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bot.store.postgres.migrations import migrate
from bot.store.postgres.server import Server

TEMPLATE = "threadline_template"
START_SECONDS = 60
_GRACE_SECONDS = 2.0  # between two processes of a run, there may be none for a moment
_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_ALWAYS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "400",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_min_messages": "fatal",
    "restart_after_crash": "on",
}


def binaries() -> Path | None:
    """The directory of PostgreSQL's programs; None if it is not installed."""
    on_path = shutil.which("initdb")
    found = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))  # Debian's
    newest = found[-1] if found else on_path
    return Path(newest).parent if newest else None


MISSING = "PostgreSQL is not installed: apt install postgresql"


# ── one server ────────────────────────────────────────────────────────────────────────────────
@dataclass
class PostgresServer:
    """A server process in `folder`. Its superuser is `threadline`, without a password."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def url(self, database: str, **options: str) -> str:
        """A DATABASE_URL for a database, over TCP."""
        tail = "&".join(f"{name}={value}" for name, value in options.items())
        return (
            f"postgresql://threadline@127.0.0.1:{self.port}/{database}{'?' + tail if tail else ''}"
        )

    def run(self, statement: str, *parameters: object, database: str = "postgres") -> Any:
        """Run a statement outside a transaction; returns its rows, if any."""
        with psycopg.connect(self.url(database), autocommit=True) as db:
            cursor = db.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else None

    def create(self, name: str, *, template: str = TEMPLATE) -> str:
        """Create a database; returns its URL."""
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Delete a database, even while there are connections to it."""
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start the server process, and wait until it accepts connections."""
        options = _ALWAYS | dict(settings or {}) | {"port": str(self.port)}
        command = [str(_bin("postgres")), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_as_postgres()
            )
        self.wait()

    def wait(self) -> None:
        """Wait until the server accepts connections."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.run("SELECT 1")
            except psycopg.OperationalError:
                if (
                    time.monotonic() > until
                    or self.process is None
                    or self.process.poll() is not None
                ):
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT disconnects everyone, SIGQUIT does not even write a
        checkpoint."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
        self.process = None


def _bin(name: str) -> Path:
    folder = binaries()
    if folder is None:
        raise RuntimeError(MISSING)
    return folder / name


def _as_postgres() -> dict[str, Any]:
    """Options that run a process as another user, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def new_folder() -> Path:
    """An empty directory owned by the server's user, in memory if the machine has a place for
    that."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="threadline-pg-", dir=parent))
    options = _as_postgres()
    if options:
        os.chown(folder, options["user"], options["group"])
    return folder


def initialize(folder: Path) -> None:
    """Create an empty cluster."""
    command = [
        str(_bin("initdb")), "-D", str(folder / "data"), "-U", "threadline", "--auth=trust",
        "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, **_as_postgres())


@contextmanager
def own_server(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server for one test, which may stop and break it. `settings` extend the defaults."""
    folder = new_folder()
    server = PostgresServer(folder, free_port())
    try:
        initialize(folder)
        server.start(_FAST | dict(settings or {}))
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def prepare(server: PostgresServer) -> None:
    """Create the database that `create` copies."""
    server.run(f"CREATE DATABASE {TEMPLATE}")
    migrate(Server.parse(server.url(TEMPLATE)))


# ── the run's server ──────────────────────────────────────────────────────────────────────────
class SharedServer:
    """This process's use of the run's server."""

    def __init__(self, server: PostgresServer, guardian: socket.socket) -> None:
        self._server, self._guardian = server, guardian  # closing the socket says goodbye
        self._numbers = itertools.count(1)

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new database with the newest schema; yields its URL, and deletes it on exit."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        url = self._server.create(name)
        try:
            yield url
        finally:
            self._server.drop(name)

    def close(self) -> None:
        """This process no longer needs the server."""
        self._guardian.close()


def join(meeting: Path) -> SharedServer:
    """Join the server of the run whose processes share the directory `meeting`."""
    with (meeting / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = meeting / "postgres"  # the directory and port of the server
        if note.exists():
            with suppress(OSError):
                return _connect(note)
        command = [sys.executable, "-m", "tests.support.postgres_server", str(note)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        quiet = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        quiet += [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
        guardian = os.posix_spawn(
            sys.executable, command, environment, setsid=True, file_actions=quiet
        )
        until = time.monotonic() + START_SECONDS
        note.unlink(missing_ok=True)
        while not note.exists():
            if os.waitpid(guardian, os.WNOHANG)[0] or time.monotonic() > until:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.02)
        return _connect(note)


def _connect(note: Path) -> SharedServer:
    folder, port = note.read_text().split("\n")
    guardian = socket.socket(socket.AF_UNIX)
    guardian.connect(f"{folder}/guardian")
    return SharedServer(PostgresServer(Path(folder), int(port)), guardian)


def main(arguments: Sequence[str]) -> None:
    """The guardian: starts a server, publishes its address, and stops it when all have left."""
    note = Path(arguments[0])
    folder = new_folder()
    server = PostgresServer(folder, free_port())
    try:
        initialize(folder)
        server.start(_FAST)
        prepare(server)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/guardian")
            listener.listen(64)
            fresh = note.with_suffix(".new")
            fresh.write_text(f"{folder}\n{server.port}")
            fresh.replace(note)
            _until_all_left(listener)
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _until_all_left(listener: socket.socket) -> None:
    users: list[socket.socket] = []
    idle_since = time.monotonic()
    while users or time.monotonic() - idle_since < _GRACE_SECONDS:
        ready, _, _ = select.select([listener, *users], [], [], 0.5)
        for each in ready:
            if each is listener:
                users.append(listener.accept()[0])
            else:  # users send nothing: this one has left
                users.remove(each)
                each.close()
                idle_since = time.monotonic()


if __name__ == "__main__":
    main(sys.argv[1:])
