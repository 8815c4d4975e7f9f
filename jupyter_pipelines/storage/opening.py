"""Open stores of every kind: the user's own, shared ones, those of plug-ins, with or without a team's database."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage.files.ownership import close_if_empty, ownership_error
from jupyter_pipelines.storage.signing.keyring import UserKeyring
from jupyter_pipelines.storage.store import Store, folder_of

DATABASE_VARIABLE = "JUPYTER_PIPELINES_INDEX"
"""Environment variable with the URL of a team's database."""
_SHARED = "shared"
# At least two characters, so that the drive of a Windows path is not a scheme.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def open_store(url: str | Path, *, create: bool = True, guarded: bool = True) -> Store:
    """Open the store at `url`.

    Parameters
    ----------
    url : str or Path
        A folder, or a ``file:`` URL; other schemes are looked up among the plug-ins.
    create : bool
        Make the folder if it is missing; otherwise a missing folder is an empty store.
    guarded : bool
        Refuse a folder that other users can write to, or open it as a shared store if the user has a key; False only
        for callers that load nothing from it.

    Raises
    ------
    StoreError
        There can be no store (JP401), it cannot be written (JP402), is full (JP403) or was written by a newer
        version (JP406); the database of a team cannot be used (JP415).
    PluginError
        There is no store of this scheme (JP602), or its package is broken (JP601).
    """
    shown = str(url).encode("utf-8", "backslashreplace").decode()
    if shown != str(url):
        # Documents of runs are UTF-8, and hold the path.
        message = f"the store `{shown}` cannot be opened: its path is not UTF-8"
        raise StoreError(Diagnostic(code="JP401", message=message, suggestion="rename the folder, or choose another"))
    store = _open_without_database(url, create=create, guarded=guarded)
    # Readers take no leases and add no records, so they need no connection to the database.
    if create and (database := os.environ.get(DATABASE_VARIABLE)):
        from jupyter_pipelines.storage.team.db_leases import attach

        attach(store, database)
    return store


def _open_without_database(url: str | Path, *, create: bool, guarded: bool) -> Store:
    scheme = scheme_of(url)
    if scheme != "file":
        return plugins.load("stores", scheme).open(url, create=create)  # type: ignore[no-any-return]
    store = Store(folder_of(url))
    if guarded and _is_shared(store):
        return plugins.load("stores", _SHARED).open(store.root, create=create)  # type: ignore[no-any-return]
    store.prepare(make=create)
    return store


def scheme_of(url: str | Path) -> str:
    """Return the scheme of a URL; ``file`` for paths."""
    match = _SCHEME.match(url) if isinstance(url, str) else None
    return match.group(1).lower() if match else "file"


def _is_shared(store: Store) -> bool:
    """Tell whether other users can write to the store and the user shares stores; refuse it if they do not."""
    error = ownership_error(store.root) if store.exists() else None
    if error is None:
        return False
    sharing = UserKeyring.of_user().has_own()
    # A new folder in /tmp or with umask 002 is often open to the group: nothing can have been planted in it yet.
    if close_if_empty(store.root, sharing=sharing):
        return False
    if not sharing:
        raise error
    return True
