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
        Where they are listed.
    store : str
        What the database calls the store.
    forgets : bool
        Whether a record that is not used here is of no use to others either: not where each user has a local cache and
        keys of their own to trust.
    """

    def __init__(self, database: TeamDatabase, store: str, *, forgets: bool) -> None:
        self._database = database
        self._store = store
        self._forgets = forgets

    def add(self, records: Sequence[StepRecord]) -> None:
        """Note that there are these records."""
        rows = [
            {
                "store": self._store,
                "key": record.key,
                "step": record.step,
                "notebook": record.notebook,
                "created": record.created,
            }
            for record in sorted(records, key=lambda record: record.key)
        ]
        if rows:
            self._query(_ADD, rows)

    def drop(self, key: str) -> None:
        """Note that there is no record of `key` any more."""
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
