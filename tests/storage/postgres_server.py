"""A PostgreSQL server on this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.waiting import PATIENCE


@dataclass(frozen=True)
class PostgresServer:
    """A running server in which tests create databases."""

    port: int
    data: Path

    def url(self, database: str) -> str:
        return f"postgresql://tests:secret-word@127.0.0.1:{self.port}/{database}"

    def create_database(self, database: str) -> str:
        """Create a database and return its URL."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def stop(self) -> None:
        """Stop the server at once, without a clean shutdown, as a power failure does."""
        if (self.data / "postmaster.pid").exists():
            _call("pg_ctl", "-D", self.data, "-w", "-t", str(PATIENCE), "-m", "immediate", "stop")


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Start the server, as an unprivileged user because it refuses to run as root, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    port = free_port()
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        data, password_file = folder / "data", folder / "password"
        password_file.write_text("secret-word")
        password_file.chmod(0o644)
        _call(
            "initdb", "-D", data, "-U", "tests", "-A", "scram-sha-256", f"--pwfile={password_file}", "-N", "-E", "UTF8"
        )
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        _call("pg_ctl", "-D", data, "-w", "-t", str(PATIENCE), "-l", folder / "log", "-o", settings, "start")
        server = PostgresServer(port, data)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(program: str, *arguments: str | Path) -> None:
    programs = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    path = shutil.which(program) or (str(programs[-1]) if programs else program)
    owner = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    credentials = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    # pg_ctl leaves a server behind that keeps an inherited standard output open.
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([path, *map(str, arguments)], check=True, cwd="/", **credentials, **quiet)
