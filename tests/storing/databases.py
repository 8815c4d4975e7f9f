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


@dataclass(frozen=True)
class Postgres:
    """A server with databases that are made as they are asked for."""

    port: int
    data: Path

    def url(self, database: str) -> str:
        return f"postgresql://tests:secret-word@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> str:
        """Make a database and return its URL."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def stop(self) -> None:
        """End it at once, as a machine that fails does."""
        if (self.data / "postmaster.pid").exists():
            _call("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start the server, as somebody who may: it refuses to be run by root; and end it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    port = free_port()
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        data, words = folder / "data", folder / "words"
        words.write_text("secret-word")
        words.chmod(0o644)
        _call("initdb", "-D", data, "-U", "tests", "-A", "scram-sha-256", f"--pwfile={words}", "-N", "-E", "UTF8")
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        _call("pg_ctl", "-D", data, "-w", "-t", "120", "-l", folder / "log", "-o", settings, "start")
        made = Postgres(port, data)
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(program: str, *arguments: str | Path) -> None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    path = shutil.which(program) or (str(found[-1]) if found else program)
    owner = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    # A server keeps what it is given for standard output open.
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([path, *map(str, arguments)], check=True, cwd="/", **who, **quiet)
