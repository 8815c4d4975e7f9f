"""Errors of the operating system as StoreErrors that say what the user can do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_pipelines.errors import CorruptOutput, Diagnostic, StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REASONS = {
    errno.EROFS: "it is on a read-only file system",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
    errno.ENOENT: "it has been removed",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files may not become this large",
}
# A file that cannot be opened for one of these reasons may be intact: it must not be quarantined as damaged.
_TRANSIENT = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT}
)
OTHER_STORE_HINT = "or use another store: --store FOLDER or JUPYTER_PIPELINES_STORE"


@contextmanager
def writing(root: Path, what: str) -> Iterator[None]:
    """Turn an error of the operating system while writing `what` into a StoreError.

    Raises
    ------
    StoreError
        The store is full (JP403) or cannot be written (JP402).
    """
    try:
        yield
    except OSError as error:
        raise unwritable_error(error, root, what) from error


def unwritable_error(error: OSError, root: Path, what: str) -> StoreError:
    """Return the error to raise when `what` could not be written to the store at `root`."""
    root = _store_of(root)
    # EFBIG is a limit of the process or file system: freeing space, the advice for a full disk, would not help.
    if error.errno == errno.EFBIG:
        return StoreError(_too_large(error, root, what))
    if error.errno in FULL:
        return StoreError(_full(error, root, what))
    return StoreError(
        Diagnostic(
            code="JP402",
            message=f"{what} cannot be written to the store `{root}`: {reason(error)}",
            suggestion=f"make the folder writable for you, {OTHER_STORE_HINT}",
            notes=_evidence(error),
        )
    )


def unopenable_error(root: Path | str, why: str, suggestion: str, notes: tuple[str, ...] = ()) -> StoreError:
    """Return the error to raise when the store at `root` cannot be opened."""
    message = f"the store `{root}` cannot be opened: {why}"
    return StoreError(Diagnostic(code="JP401", message=message, suggestion=suggestion, notes=notes))


def unreadable_error(error: OSError, root: Path, what: str) -> StoreError:
    """Return the error to raise when `what` in the store is needed and cannot be read."""
    return StoreError(
        Diagnostic(
            code="JP401",
            message=f"{what} in the store `{root}` cannot be read: {reason(error)}",
            suggestion=f"make it readable for you and try again, {OTHER_STORE_HINT}",
            notes=_evidence(error),
        )
    )


def is_transient(error: Exception) -> bool:
    """Tell whether an error has a temporary cause in this process or the network, and says nothing about the file."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT


def missing_error(what: str, root: Path) -> StoreError:
    """Return the error to raise when the store does not hold `what`."""
    return StoreError(
        Diagnostic(
            code="JP405",
            message=f"the store `{root}` does not hold {what}",
            suggestion="run the pipeline again: what is missing is computed anew",
        )
    )


def uncheckable_error(what: str, algorithm: str) -> StoreError:
    """Return the error to raise when stored bytes cannot be verified because their hash algorithm is missing."""
    return StoreError(
        Diagnostic(
            code="JP405",
            message=f"{what} cannot be checked: it was stored with {algorithm}, which is not installed here",
            suggestion=f"`pip install {algorithm}`, or run the pipeline again: it is computed anew",
        )
    )


def corrupt_error(what: str, notes: tuple[str, ...] = ()) -> CorruptOutput:
    """Return the error to raise when stored bytes have changed since they were stored."""
    return CorruptOutput(
        Diagnostic(
            code="JP404",
            message=f"{what} is damaged: its bytes do not have the digest they were stored under",
            suggestion="run the pipeline again: the damaged output is computed anew",
            notes=notes,
        )
    )


def reason(error: OSError) -> str:
    """Return the reason of an OSError in a few words."""
    fallback = error.strerror or type(error).__name__
    return _REASONS.get(error.errno, fallback) if error.errno is not None else str(error)


def _store_of(folder: Path) -> Path:
    """Return the store that `folder` is part of, or `folder` itself."""
    return next(
        (directory for directory in (folder, *folder.parents) if os.path.isfile(directory / "format.json")), folder
    )


def _too_large(error: OSError, root: Path, what: str) -> Diagnostic:
    return Diagnostic(
        code="JP403",
        message=f"{what} cannot be written to the store `{root}`: files may not become this large",
        suggestion="raise the limit (`ulimit -f` in the shell that starts Jupyter or the run), or store less",
        notes=_evidence(error),
    )


def _full(error: OSError, root: Path, what: str) -> Diagnostic:
    return Diagnostic(
        code="JP403",
        message=f"the store `{root}` is full: {what} cannot be written{_why_full(error)}",
        suggestion=f"free space there (`jupyter pipelines gc NOTEBOOK` removes what no run needs), {OTHER_STORE_HINT}",
        notes=(*_free(root), *_evidence(error)),
    )


def _why_full(error: OSError) -> str:
    return "" if error.errno == errno.ENOSPC else f" ({reason(error)})"


def _free(root: Path) -> tuple[str, ...]:
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return ()
    return (f"{free / 1e6:.1f} MB are free there",)


def _evidence(error: OSError) -> tuple[str, ...]:
    name = errno.errorcode.get(error.errno, "") if error.errno is not None else ""
    where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    return (f"{name} {error.strerror or error}{where}".strip(),)
