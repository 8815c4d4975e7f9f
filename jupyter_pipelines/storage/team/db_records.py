"""The list of a team's records in its database."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.storage.team.database import TeamDatabase

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

logger = logging.getLogger(__name__)
_ADD = """
INSERT INTO jupyter_pipelines_records VALUES (:store, :key, :step, :notebook, :created) ON CONFLICT (store, key)
DO UPDATE SET step = excluded.step, notebook = excluded.notebook, created = excluded.created
"""
_DROP = "DELETE FROM jupyter_pipelines_records WHERE store = :store AND key = :key"
_FIND = """
SELECT step, key, created FROM jupyter_pipelines_records
WHERE store = :store AND step = ANY(:steps) AND (CAST(:notebook AS TEXT) IS NULL OR notebook = :notebook)
"""


class TeamRecordListing:
    """The records of a store, listed in a database; an unreachable database is ignored.

    Parameters
    ----------
    database : TeamDatabase
        The database.
    store : str
        Name of the store in the database.
    forgets : bool
        Whether :meth:`drop` deletes rows. False for shared stores, where a record that one user drops from the local
        cache, for instance as untrusted, is still valid for others.
    """

    def __init__(self, database: TeamDatabase, store: str, *, forgets: bool) -> None:
        self._database = database
        self._store = store
        self._forgets = forgets

    def add(self, records: Sequence[StepRecord]) -> None:
        """Add records to the list."""
        rows = [
            {
                "store": self._store,
                "key": record.key,
                "step": record.step,
                "notebook": record.notebook,
                "created": record.created,
            }
            # In the order of keys: two processes that insert the same rows in different order could deadlock.
            for record in sorted(records, key=lambda record: record.key)
        ]
        if rows:
            self._query(_ADD, rows)

    def drop(self, key: str) -> None:
        """Remove the record of `key` from the list."""
        if self._forgets:
            self._query(_DROP, {"store": self._store, "key": key})

    def find(self, steps: Sequence[str], notebook: str | None) -> list[tuple[str, str, str]]:
        """Return step, key and time of the records of `steps`, of any notebook when none is given."""
        rows = self._query(_FIND, {"store": self._store, "steps": list(steps), "notebook": notebook})
        return [(str(step), str(key), str(created)) for step, key, created in rows]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _query(self, query: str, values: Any) -> list[Any]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return self._database.ask(query, values)
        except SQLAlchemyError as error:
            logger.info("list of the team not used: %s", error)
            return []
