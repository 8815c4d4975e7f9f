"""Attach a store to the database of a team."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.storing.claims import ClaimedLeases
from jupyter_pipelines.storing.team.claims import TeamClaims
from jupyter_pipelines.storing.team.database import Database
from jupyter_pipelines.storing.team.listing import TeamListing

if TYPE_CHECKING:
    from jupyter_pipelines.storing.store import Store


def join(store: Store, url: str) -> None:
    """Let `store` take its leases and its list of records from the database at `url`.

    Raises
    ------
    StoreError
        The database cannot be used (JP415), or a newer version has changed its tables (JP406).
    """
    database = Database.open(url)
    name = name_of(store.url)
    store.index.listing = TeamListing(database, name, forgets=store.own)
    store.leases = ClaimedLeases(store.door, TeamClaims(database, name))


def name_of(url: str) -> str:
    """Return what the database calls the store at `url`: the same on every machine that uses the same URL."""
    parts = urlsplit(url)
    if parts.scheme in ("", "shared", "file"):
        return os.path.realpath(unquote(parts.path) if parts.scheme else url)
    # What stands before an @ may be a container of Azure; what follows a colon there is a password.
    place = re.sub(r":[^@]*@", "@", parts.netloc)
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
