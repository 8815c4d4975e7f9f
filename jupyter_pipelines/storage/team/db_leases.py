"""Leases of a team: rows of a table, one for each key.

Expiry is decided by the clock of the database, so that wrong clocks of machines do no harm.
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.locks.claimed_leases import CLAIM_SECONDS, BucketLeaseBackend, ClaimedLeases
from jupyter_pipelines.storage.team.database import TeamDatabase
from jupyter_pipelines.storage.team.db_records import TeamRecordListing

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

logger = logging.getLogger(__name__)
_UNTIL = "clock_timestamp() + make_interval(secs => :counts)"
# The number is drawn while the row is locked: later grants of a key have greater numbers, even if rows were deleted.
_CLAIM = f"""
INSERT INTO jupyter_pipelines_claims AS c VALUES
    (:store, :key, nextval('jupyter_pipelines_grants'), :owner, {_UNTIL})
ON CONFLICT (store, key) DO UPDATE SET
    number = nextval('jupyter_pipelines_grants'), owner = excluded.owner, until = {_UNTIL}
WHERE c.until <= clock_timestamp() RETURNING number
"""  # noqa: S608
_OWN = "WHERE store = :store AND key = :key AND number = :number"
_RENEW = f"UPDATE jupyter_pipelines_claims SET until = {_UNTIL} {_OWN}"  # noqa: S608
_RELEASE = f"UPDATE jupyter_pipelines_claims SET until = '-infinity' {_OWN}"  # noqa: S608
_LAST = "SELECT number FROM jupyter_pipelines_claims WHERE store = :store AND key = :key"


class DatabaseLeaseBackend(BucketLeaseBackend):
    """The claims of a store, in a database.

    Parameters
    ----------
    database : TeamDatabase
        The database.
    store : str
        Name of the store in the database.
    """

    def __init__(self, database: TeamDatabase, store: str) -> None:
        self._database = database
        self._store = store

    def claim(self, key: str) -> int | None:
        """Return the number of a claim of `key`; None if another process has it, 0 where claims are impossible."""
        rows = self._query(_CLAIM, key, owner=json.dumps(ProcessIdentity.current().to_dict()), counts=CLAIM_SECONDS)
        if rows is None:
            return 0
        return int(rows[0][0]) if rows else None

    def renew(self, key: str, number: int) -> None:
        """Extend a claim; a claim that another process has taken over meanwhile is not changed."""
        self._query(_RENEW, key, number=number, counts=CLAIM_SECONDS)

    def leave(self, key: str, number: int) -> None:
        """Release a claim."""
        self._query(_RELEASE, key, number=number)

    def last(self, key: str) -> int:
        """Return the number of the last claim of `key`; 0 if there is none, or it cannot be known."""
        rows = self._query(_LAST, key)
        return int(rows[0][0]) if rows else 0

    def _query(self, query: str, key: str, **values: Any) -> list[Any] | None:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return self._database.ask(query, {"store": self._store, "key": key, **values})
        except SQLAlchemyError as error:
            logger.info("no claim of %s: %s", key, error)
            return None


def attach(store: Store, url: str) -> None:
    """Use the database at `url` for the leases and the list of records of `store`.

    Raises
    ------
    StoreError
        The database cannot be used (JP415), or a newer version has changed its tables (JP406).
    """
    database = TeamDatabase.open(url)
    name = store_name(store.url)
    store.index.listing = TeamRecordListing(database, name, forgets=store.own)
    store.leases = ClaimedLeases(store.folder, DatabaseLeaseBackend(database, name))


def store_name(url: str) -> str:
    """Return the name of the store at `url` in the database, equal on all machines that use the same URL."""
    parts = urlsplit(url)
    if parts.scheme in ("", "shared", "file"):
        return os.path.realpath(unquote(parts.path) if parts.scheme else url)
    # The part before an @ may be a container of Azure and is kept; the part after a colon is a password.
    host = re.sub(r":[^@]*@", "@", parts.netloc)
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
