"""The database of a team: connections, migrations, queries, and error messages for users."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, StoreError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

VARIABLE = "JUPYTER_PIPELINES_INDEX"
VERSIONS = "jupyter_pipelines_version"
NEWEST = 1
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_LOCK = 7_240_113_905
"""Key of the PostgreSQL advisory lock that is held while tables are created or migrated."""
_CONNECT_SECONDS = 10
_STATEMENT_TIMEOUT_MS = 30_000


class TeamDatabase:
    """The tables of a team.

    Parameters
    ----------
    url : URL
        URL of the database.

    Notes
    -----
    May be used by several threads; after a fork a process has connections of its own.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0

    @classmethod
    def open(cls, text: str) -> TeamDatabase:
        """Open the database at the URL `text`, and make or update its tables.

        Raises
        ------
        StoreError
            It cannot be used (JP415), or its tables are of a newer version (JP406).
        """
        database = cls(_parsed(text))
        from sqlalchemy.exc import SQLAlchemyError

        try:
            database.prepare()
        except SQLAlchemyError as error:
            raise database.unusable(error) from error
        return database

    @property
    def name(self) -> str:
        """The URL without the password."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=True)

    def ask(self, query: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Any]:
        """Execute a statement in a transaction of its own and return the rows.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            The statement or the connection failed.
        """
        from sqlalchemy import text

        with self._connected_engine().begin() as connection:
            cursor = connection.execute(text(query), values)
            return list(cursor.all()) if cursor.returns_rows else []

    def prepare(self) -> None:
        """Create or migrate the tables; an advisory lock lets one process at a time do so."""
        with self._connected_engine().begin() as connection:
            if self._version(connection) == NEWEST:
                return
        with self._connected_engine().begin() as connection:
            from sqlalchemy import text

            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            # Another process may have migrated them while this one waited for the lock.
            if self._version(connection) < NEWEST:
                _upgrade(connection)

    def unusable(self, error: Exception) -> StoreError:
        """Return the error to raise when the database cannot be used."""
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        return _database_error(
            f"the database `{self.name}` cannot be used: {lines[0] if lines else type(error).__name__}",
            f"see that it runs and lets you in, correct {VARIABLE}, or unset it to do without",
            tuple(lines[1:4]),
        )

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._engine is not None and self._pid == os.getpid():
                self._engine.dispose()
            self._engine = None

    def _version(self, connection: Connection) -> int:
        from sqlalchemy import inspect, text

        if not inspect(connection).has_table(VERSIONS):
            return 0
        stored_version = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar()  # noqa: S608
        version = (
            int(stored_version)
            if stored_version and str(stored_version).isdigit()
            else NEWEST + 1
            if stored_version
            else 0
        )
        if version > NEWEST:
            raise StoreError(_too_new(self.name, str(stored_version)))
        return version

    def _connected_engine(self) -> Engine:
        from sqlalchemy import create_engine

        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                # A connection must not be used across a fork, and not be closed there either.
                if self._engine is not None:
                    # Closing would send a goodbye over the socket that the parent process still uses.
                    self._engine.dispose(close=False)
                options = {
                    "connect_timeout": _CONNECT_SECONDS,
                    "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}",
                }
                # pre_ping replaces connections that the server or a firewall has dropped during a long step.
                self._engine = create_engine(self._url, pool_pre_ping=True, pool_size=2, connect_args=options)
                self._pid = os.getpid()
                weakref.finalize(self, _dispose, self._engine, self._pid)
            return self._engine


def _parsed(text: str) -> URL:
    try:
        import alembic
        import psycopg
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        raise _database_error(
            f"{VARIABLE} is set, and a package that reads it is missing: {error.name or error}",
            "`pip install 'jupyter-pipelines[team]'`, or unset the variable to do without",
        ) from error
    del alembic, psycopg
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in _SCHEMES:
        # The URL is not shown: it may contain a password.
        raise _database_error(
            f"{VARIABLE} does not name a PostgreSQL database",
            f"write it like {VARIABLE}=postgresql://user@host:5432/database, or unset it to do without",
        )
    return url.set(drivername="postgresql+psycopg")


def _dispose(engine: Engine, pid: int) -> None:
    # A finalizer is inherited by forked children, which must leave the connections of the parent alone.
    if pid == os.getpid():
        engine.dispose()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "jupyter_pipelines.storage.team:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _database_error(message: str, suggestion: str, notes: tuple[str, ...] = ()) -> StoreError:
    return StoreError(Diagnostic(code="JP415", message=message, suggestion=suggestion, notes=notes))


def _too_new(name: str, stored_version: str) -> Diagnostic:
    return Diagnostic(
        code="JP406",
        message=f"a newer version of jupyter-pipelines has changed the tables of the database `{name}`",
        suggestion=f"update: `pip install -U 'jupyter-pipelines[team]'`, or unset {VARIABLE} to do without",
        notes=(f"its tables are of version {stored_version}, this version knows them up to {NEWEST}",),
    )
