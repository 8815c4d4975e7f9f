"""Folders as data: a manifest of relative paths, digests, sizes and executable bits, the same on every machine."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jupyter_pipelines.errors import Diagnostic, NotStorable
from jupyter_pipelines.pipeline.ignored_paths import is_clutter
from jupyter_pipelines.storage.blobs.digests import (
    DeferredDigestCache,
    DigestCache,
    cached_digests,
    digest_bytes,
    digest_file,
    is_digest,
)
from jupyter_pipelines.storage.files import filesystem_features

SCHEMA = "jupyter-pipelines/folder/1"
CHECKPOINTS = ".ipynb_checkpoints"
"""Folders in which JupyterLab keeps the last saved state of files; they do not count as content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """A file or an empty folder in a manifest.

    Parameters
    ----------
    path : str
        Relative path, with ``/``; ends in ``/`` for an empty folder.
    digest : str
        Digest of the file; empty for an empty folder.
    size : int
        Size of the file in bytes.
    executable : bool
        Whether its owner may execute it.
    source : Path or None
        The file on the disk, as long as it is not stored.
    """

    path: str
    digest: str = ""
    size: int = 0
    executable: bool = False
    source: Path | None = None


def walk(folder: Path) -> Iterator[ManifestEntry]:
    """Yield entries without digests for the contents of `folder`, sorted by path; links are followed.

    Raises
    ------
    NotStorable
        Something is neither file nor folder, or links go round in a circle (JP205).
    """
    yield from sorted(_walk(folder, "", (os.path.realpath(folder),)), key=lambda entry: entry.path)


def digest_folder(folder: Path, cache: DigestCache | None = None) -> str:
    """Return the digest of `folder`: that of its manifest, without files such as ``.DS_Store``.

    Raises
    ------
    NotStorable
        Something in it is neither file nor folder, or links go round in a circle (JP205).
    OSError
        Something cannot be read.
    """
    return digest_bytes(encode(_counted(folder, cache)))


def folder_contents(folder: Path, cache: DigestCache | None = None) -> tuple[str, dict[str, str]]:
    """Return the digest of `folder`, and those of its files by path; for errors see :func:`digest_folder`."""
    entries = _counted(folder, cache)
    return digest_bytes(encode(entries)), {entry.path: entry.digest for entry in entries}


def _counted(folder: Path, cache: DigestCache | None) -> list[ManifestEntry]:
    """Return the entries of a user's folder, with digests, without files that programs put there (``.DS_Store``)."""
    entries = sorted(_walk(folder, "", (os.path.realpath(folder),), skip=is_clutter), key=lambda entry: entry.path)
    # One query and one transaction for the folder: thousands of single ones would take longer than hashing.
    deferred = DeferredDigestCache(cache)
    cached = cached_digests([entry.source for entry in entries if entry.source], cache)
    entries = [
        replace(entry, digest=cached.get(entry.source) or digest_file(entry.source, deferred))
        if entry.source
        else entry
        for entry in entries
    ]
    deferred.finish()
    return entries


def digest_path(path: Path, cache: DigestCache | None = None) -> str:
    """Return the digest of the file or folder `path`; for errors see :func:`digest_folder`."""
    return digest_folder(path, cache) if path.is_dir() else digest_file(path, cache)


def stored(entry: ManifestEntry, put: Callable[[Path], tuple[str, int]]) -> ManifestEntry:
    """Return the entry with the digest that `put` gave its file."""
    if entry.source is None:
        return entry
    digest, size = put(entry.source)
    return replace(entry, digest=digest, size=size)


def encode(entries: Sequence[ManifestEntry]) -> bytes:
    """Return the bytes of a manifest; the same entries give the same bytes."""
    # No mtimes, owners or full modes: the digest must not differ between machines and checkouts.
    rows = [[entry.path, entry.digest, entry.size, entry.executable] for entry in entries]
    return json.dumps({"schema": SCHEMA, "files": rows}, separators=(",", ":")).encode()


def decode(content: bytes) -> tuple[ManifestEntry, ...]:
    """Return the entries of a manifest.

    Raises
    ------
    ValueError
        `content` is not a manifest, or one of its paths leads out of the folder.
    """
    try:
        document = json.loads(content)
        if document["schema"] != SCHEMA:
            raise ValueError(f"its format is {document['schema']!r}, not {SCHEMA!r}")
        return tuple(_entry(*row) for row in document["files"])
    # The bytes have the right digest, but may come from a shared store: any JSON has to be expected.
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not the manifest of a folder: {error!r}") from error


def write_entry(entry: ManifestEntry, target: Path, open_blob: Callable[[str], BinaryIO]) -> None:
    """Write an entry below the folder `target`."""
    path = target / entry.path
    if not entry.digest:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Mode x: an entry that appears twice, or a file in the way, must not be overwritten.
    with open_blob(entry.digest) as source, path.open("xb") as file:
        filesystem_features.copy(source, file)
    if entry.executable:
        path.chmod(path.stat().st_mode | 0o100)


def _is_checkpoints(name: str) -> bool:
    return name == CHECKPOINTS


def _walk(
    folder: Path, prefix: str, ancestors: tuple[str, ...], skip: Callable[[str], bool] = _is_checkpoints
) -> Iterator[ManifestEntry]:
    for child in folder.iterdir():
        if skip(child.name):
            continue
        status = _status(child, prefix)
        if stat.S_ISREG(status.st_mode):
            executable = bool(status.st_mode & stat.S_IXUSR)
            yield ManifestEntry(path=prefix + child.name, size=status.st_size, executable=executable, source=child)
        elif stat.S_ISDIR(status.st_mode):
            yield from _walk_into(child, prefix, ancestors, skip)
        else:
            raise _not_storable(child, prefix, "is neither a file nor a folder")


def _walk_into(
    child: Path, prefix: str, ancestors: tuple[str, ...], skip: Callable[[str], bool]
) -> Iterator[ManifestEntry]:
    # Only ancestors matter: the same folder may be linked twice side by side, but never inside itself.
    real = os.path.realpath(child)
    if real in ancestors:
        raise _not_storable(child, prefix, "is a link to a folder that it lies in")
    child_prefix = f"{prefix}{child.name}/"
    empty = True
    for entry in _walk(child, child_prefix, (*ancestors, real), skip):
        empty = False
        yield entry
    if empty:
        yield ManifestEntry(path=child_prefix)


def _status(child: Path, prefix: str) -> os.stat_result:
    try:
        return child.stat()
    except FileNotFoundError:
        raise _not_storable(child, prefix, "is a link that leads nowhere") from None
    except OSError as error:
        raise _not_storable(child, prefix, f"cannot be read: {error.strerror}") from error


def _not_storable(child: Path, prefix: str, why: str) -> NotStorable:
    return NotStorable(
        Diagnostic(
            code="JP205",
            message=f"the folder cannot be stored: `{prefix}{child.name}` {why}",
            suggestion="remove it, or let the step write plain files and folders only",
            notes=(os.fspath(child),),
        )
    )


def _entry(path: str, digest: str, size: int, executable: bool) -> ManifestEntry:
    # Manifests may be written by other users: `..` or an absolute path would write outside the target folder.
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"a path in it leads out of the folder: {path!r}")
    if bool(digest) == path.endswith("/") or (digest and not is_digest(digest)):
        raise ValueError(f"the entry of {path!r} is malformed")
    return ManifestEntry(path=path, digest=digest, size=int(size), executable=bool(executable))
