"""Leases of a team: rows of a table, each of which only one process can take.

The clock is the database's: no process loses a claim because a machine's clock is wrong.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from jupyter_pipelines.storing.claims import COUNTS, Claims
from jupyter_pipelines.storing.owners import Owner
from jupyter_pipelines.storing.team.database import Database

logger = logging.getLogger(__name__)
_UNTIL = "clock_timestamp() + make_interval(secs => :counts)"
# A number is drawn while the row is held: no later grant of a key has a smaller number, even after rows were removed.
_CLAIM = f"""
INSERT INTO jupyter_pipelines_claims AS c VALUES
    (:store, :key, nextval('jupyter_pipelines_grants'), :owner, {_UNTIL})
ON CONFLICT (store, key) DO UPDATE SET
    number = nextval('jupyter_pipelines_grants'), owner = excluded.owner, until = {_UNTIL}
WHERE c.until <= clock_timestamp() RETURNING number
"""  # noqa: S608
_OWN = "WHERE store = :store AND key = :key AND number = :number"
_RENEW = f"UPDATE jupyter_pipelines_claims SET until = {_UNTIL} {_OWN}"  # noqa: S608
_LEAVE = f"UPDATE jupyter_pipelines_claims SET until = '-infinity' {_OWN}"  # noqa: S608
_LAST = "SELECT number FROM jupyter_pipelines_claims WHERE store = :store AND key = :key"


class TeamClaims(Claims):
    """The claims of a store, in a database.

    Parameters
    ----------
    database : Database
        Where they are.
    store : str
        What the database calls the store.
    """

    def __init__(self, database: Database, store: str) -> None:
        self._database = database
        self._store = store

    def claim(self, key: str) -> int | None:
        """Return the number of a claim of `key`; None if another process has it, 0 where claims are impossible."""
        rows = self._ask(_CLAIM, key, owner=json.dumps(Owner.current().to_dict()), counts=COUNTS)
        if rows is None:
            return 0
        return int(rows[0][0]) if rows else None

    def renew(self, key: str, number: int) -> None:
        """Renew a claim; a claim that another process has taken since stays as it is."""
        self._ask(_RENEW, key, number=number, counts=COUNTS)

    def leave(self, key: str, number: int) -> None:
        """Give up a claim."""
        self._ask(_LEAVE, key, number=number)

    def last(self, key: str) -> int:
        """Return the number of the last claim of `key`; 0 if there is none, or it cannot be known."""
        rows = self._ask(_LAST, key)
        return int(rows[0][0]) if rows else 0

    def _ask(self, query: str, key: str, **values: Any) -> list[Any] | None:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return self._database.ask(query, {"store": self._store, "key": key, **values})
        except SQLAlchemyError as error:
            logger.info("no claim of %s: %s", key, error)
            return None
