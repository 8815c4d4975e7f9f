"""Ownership of a store's folder: unpickling runs code, so no other user may write to it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from jupyter_pipelines.errors import StoreError, shell_path
from jupyter_pipelines.storage.files.os_errors import OTHER_STORE_HINT, reason, unopenable_error

PRIVATE_FOLDERS = ("blobs", "records", "runs", "tmp")
_OTHERS_MAY_WRITE = 0o022
# Without the execute bit on the root no other user reaches a sub-folder, whatever its own mode.
_OTHERS_MAY_PASS = 0o011
# The setgid or sticky bit marks a folder that an administrator set up for a group.
_MEANT_FOR_SEVERAL = stat.S_ISGID | stat.S_ISVTX
_SHARE = "to share it, each of you makes a key and trusts those of the others: `jupyter pipelines keys new`"


def ownership_error(root: Path) -> StoreError | None:
    """Return the error for a store that other users can write to; None if only the user can.

    Raises
    ------
    StoreError
        Its status cannot be read (JP401).
    """
    # Windows has no uids; its access lists are not examined.
    if not hasattr(os, "geteuid"):
        return None
    try:
        status = root.stat()
    except OSError as error:
        raise unopenable_error(root, reason(error), f"make the folder readable for you, {OTHER_STORE_HINT}") from error
    if status.st_uid != os.geteuid():
        return unopenable_error(
            root,
            "the folder belongs to another user, and what is loaded from it could run their code",
            f"make it yours: `chown -R $(id -u) {shell_path(str(root))}`, {OTHER_STORE_HINT}",
            (f"its owner has the uid {status.st_uid}, you have {os.geteuid()}", _SHARE),
        )
    if status.st_mode & _OTHERS_MAY_WRITE:
        return unopenable_error(
            root,
            "other users can write to the folder, and what is loaded from it could run their code",
            f"close it to others: `chmod -R go-w {shell_path(str(root))}`, {OTHER_STORE_HINT}",
            (_SHARE,),
        )
    return _subfolder_error(root) if status.st_mode & _OTHERS_MAY_PASS else None


def close_if_empty(root: Path, *, sharing: bool) -> bool:
    """Make an empty folder of the user private (0700) and tell whether it is; a group's folder stays if `sharing`."""
    try:
        status, names = root.stat(), os.listdir(root)
    except OSError as error:
        raise unopenable_error(root, reason(error), f"make the folder readable for you, {OTHER_STORE_HINT}") from error
    # Only an empty folder: files in a non-empty folder may already have been planted by another user.
    if names or status.st_uid != os.geteuid() or (sharing and status.st_mode & _MEANT_FOR_SEVERAL):
        return False
    with contextlib.suppress(OSError):
        root.chmod(0o700)
    return True


def _subfolder_error(root: Path) -> StoreError | None:
    """Return the error for a store that others cannot write to, but whose sub-folders they can write to."""
    for name in PRIVATE_FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            status = (root / name).stat()
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
                return unopenable_error(
                    root,
                    f"other users can write to `{name}` in it, and what is loaded from there could run their code",
                    f"look at it and repair it: `jupyter pipelines fsck NOTEBOOK --repair`, {OTHER_STORE_HINT}",
                )
    return None
