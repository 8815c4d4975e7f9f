"""Blobs: bytes by their digest. A blob is whole or absent, and is checked before it is served."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.blobs import manifests
from jupyter_pipelines.storage.blobs.digests import (
    LARGE,
    SHA256,
    DeferredDigestCache,
    DigestCache,
    HashingWriter,
    algorithm_of,
    digest_file,
    digest_open,
    is_digest,
    is_known,
)
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.filesystem_features import WritebackPacer
from jupyter_pipelines.storage.files.local_folder import age, create, remove
from jupyter_pipelines.storage.files.os_errors import (
    corrupt_error,
    is_transient,
    missing_error,
    uncheckable_error,
    unreadable_error,
    writing,
)
from jupyter_pipelines.storage.files.stat_signature import StatSignature

if TYPE_CHECKING:
    from jupyter_pipelines.storage.files.local_folder import LocalFolder

FOLDER = "blobs"
BLOB_MODE = 0o444
BLOCK = 1 << 20
Condition = Literal["ok", "missing", "corrupt", "unknown"]
"""Condition of a blob; ``unknown`` if the algorithm of its digest is not installed, or the blob cannot be read at the
moment: callers treat it as missing."""


class StoredBlob(NamedTuple):
    """Digest and size in bytes of a stored blob."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingFile:
    """A file that is to become a blob.

    Parameters
    ----------
    path : Path
        Its path; a link is followed and copied.
    move : bool
        The file may be consumed: it is renamed into the store where possible, and removed otherwise.
    digest : str or None
        Its digest, where it was computed while the file was written; it is not computed again.
    mark : StatSignature or None
        Its stat signature at that time; if the file has changed since, it is read and its digest checked again.
    """

    path: Path
    move: bool = True
    digest: str | None = None
    mark: StatSignature | None = None


class StagedBlob(NamedTuple):
    """A file on the disk of the store that may be renamed; `verified` if the digest of its bytes was checked."""

    path: Path
    digest: str
    size: int
    verified: bool


class BlobStore:
    """The blobs of a store.

    Parameters
    ----------
    folder : LocalFolder
        Where the store lives.
    cache : DigestCache or None
        Remembers which blobs were checked, so that an unchanged file is not read twice.
    """

    def __init__(self, folder: LocalFolder, cache: DigestCache | None = None) -> None:
        self._folder = folder
        self._cache = cache

    def path(self, digest: str) -> Path:
        """Return the path of the blob of `digest`, which need not exist. Read it only after :meth:`verify`."""
        return self._folder.locate(path_of(digest))

    def put_file(self, path: Path, *, move: bool = True, digest: str | None = None) -> StoredBlob:
        """Store the bytes of the file `path`; see :class:`IncomingFile` for the parameters.

        Returns
        -------
        StoredBlob
            Digest and size in bytes.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        OSError
            `path` cannot be read.
        """
        return self.put_files([IncomingFile(path=path, move=move, digest=digest)])[0]

    def put_files(self, files: Iterable[IncomingFile], *, durable: bool = True) -> list[StoredBlob]:
        """Store several files; waiting for the disk once for all of them takes less time than for each by itself.

        Parameters
        ----------
        files : iterable of IncomingFile
            What to store.
        durable : bool
            Wait until the blobs survive a power cut; otherwise call :meth:`Store.flush` later.

        Raises
        ------
        CorruptOutput
            A file is not what it was when its digest was computed (JP404).
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        OSError
            A file cannot be read.
        """
        staged_blobs: list[StagedBlob] = []
        files = list(files)
        try:
            staged_blobs.extend(map(self._stage, files))
            self._publish(staged_blobs, durable=durable)
        finally:
            # Copies only: a source that was staged in place belongs to its owner until all files are published.
            for file, staged in zip(files, staged_blobs, strict=False):
                if staged.path != file.path:
                    remove(staged.path)
        # Sources go last: if publishing fails, the outputs are still where the step wrote them.
        for file in files:
            if file.move:
                remove(file.path)
        return [StoredBlob(staged.digest, staged.size) for staged in staged_blobs]

    def put_bytes(self, content: bytes) -> StoredBlob:
        """Store `content`; see :meth:`put_file`."""
        with self.writer() as writer:
            writer.write(content)
        return StoredBlob(writer.digest, writer.size)

    @contextmanager
    def writer(self) -> Iterator[HashingWriter]:
        """Return a file to write to; what was written is stored when the block ends without an error."""
        temporary = self._folder.temporary()
        try:
            with writing(self._folder.root, "an output"), create(temporary) as file:
                writer = HashingWriter(file, WritebackPacer(file))
                yield writer
                writer.finish()
            self._publish([StagedBlob(temporary, writer.digest, writer.size, verified=True)])
        finally:
            remove(temporary)

    def open(self, digest: str) -> BinaryIO:
        """Open the blob of `digest` for reading, after its bytes were checked.

        Raises
        ------
        CorruptOutput
            Its bytes have changed since they were stored (JP404); it is quarantined.
        StoreError
            The store does not hold it, or it cannot be checked here (JP405).
        """
        try:
            file = self._folder.open(path_of(digest))
        except FileNotFoundError:
            raise missing_error(f"the output {digest}", self._folder.root) from None
        except OSError as error:
            raise self._unreadable(digest, error) from error
        # Bytes that cannot be verified are never served: unpickling a manipulated blob would run code.
        if not is_known(algorithm_of(digest)):
            file.close()
            raise uncheckable_error(f"the output {digest}", algorithm_of(digest))
        try:
            # Checked on the handle that is returned, so that the bytes read are the bytes that were verified.
            actual_digest = self._digest(digest, file, self._cache)
            file.seek(0)
        except OSError as error:
            file.close()
            raise self._unreadable(digest, error) from error
        except BaseException:
            file.close()
            raise
        if actual_digest != digest:
            file.close()
            raise self._corrupt(digest)
        return file

    def verify(self, digest: str) -> Condition:
        """Return the condition of the blob of `digest`; an unchanged file that was checked before is not read again."""
        return self._verify(digest, self._cache)

    def examine(self, digest: str) -> Condition:
        """Return the condition of the blob of `digest` after reading every byte of it, without the digest cache."""
        return self._verify(digest, None)

    def _verify(self, digest: str, cache: DigestCache | None) -> Condition:
        return self._condition(digest, cache)

    def _condition(self, digest: str, cache: DigestCache | None) -> Condition:
        """Return the condition of the blob in this folder only; shared stores override :meth:`_verify`, not this."""
        try:
            with self._folder.open(path_of(digest)) as file:
                if not is_known(algorithm_of(digest)):
                    return "unknown"
                return "ok" if self._digest(digest, file, cache) == digest else "corrupt"
        except FileNotFoundError:
            return "missing"
        except (OSError, StoreError) as error:
            return "unknown" if is_transient(error) else "corrupt"

    def verify_many(self, digests: Iterable[str]) -> dict[str, Condition]:
        """Return the condition of many blobs; for those checked before, only the status of the file is read."""
        names = {digest: self._name(digest) for digest in digests}
        marks = self._folder.marks(names.values())
        deferred = DeferredDigestCache(self._cache)
        cached = deferred.digests(marks)
        conditions: dict[str, Condition] = {
            digest: "ok"
            if cached.get(name) == digest and is_known(algorithm_of(digest))
            else self._verify(digest, deferred)
            for digest, name in names.items()
        }
        deferred.finish()
        return conditions

    def verify_folder(self, digest: str) -> Condition:
        """Return the worst condition of a folder's manifest and of the files it names."""
        condition = self.verify(digest)
        if condition != "ok":
            return condition
        try:
            members = {entry.digest for entry in self.manifest(digest) if entry.digest}
        except StoreError:
            return "corrupt"
        conditions = set(self.verify_many(members).values())
        return next((worst for worst in _CONDITIONS_BY_SEVERITY if worst in conditions), "ok")

    def quarantine(self, digest: str) -> None:
        """Quarantine the blob of `digest` if its bytes are still wrong; errors are ignored."""
        # Checked once more: another process may have replaced the blob by an intact one since the caller looked.
        if self._condition(digest, self._cache) == "corrupt":
            self._folder.quarantine_path(path_of(digest), "its bytes do not have its digest")

    def discard(self, digest: str, grace: float = 0.0) -> None:
        """Remove the blob of `digest`, unless it was put again less than `grace` seconds ago.

        Raises
        ------
        StoreError
            The store cannot be written (JP402).
        """
        temporary = self._folder.temporary()
        path = self.path(digest)
        # Renamed first and checked then: a process that puts the same bytes meanwhile either finds the blob and touches
        # it, which is seen here, or finds none and writes it anew.
        with writing(self._folder.root, f"`{path.name}`"), contextlib.suppress(FileNotFoundError):
            os.rename(path, temporary)
            if grace and age(temporary) < grace:
                os.rename(temporary, path)
        remove(temporary)

    def touch(self, digest: str) -> None:
        """Restart the grace period of a blob, so that garbage collection keeps it until a record names it.

        Raises
        ------
        OSError
            There is no such blob.
        """
        os.utime(self.path(digest), follow_symlinks=False)

    def put_folder(self, path: Path, *, move: bool = False) -> StoredBlob:
        """Store a folder: a blob for each file, and a manifest that names them.

        Parameters
        ----------
        path : Path
            The folder.
        move : bool
            Its files are used up, see :meth:`put_file`; otherwise it is left as it is.

        Returns
        -------
        StoredBlob
            Digest of the manifest, and size in bytes of all files.

        Raises
        ------
        NotStorable
            Something in it is neither file nor folder (JP205).
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        OSError
            Something in it cannot be read.
        """
        entries = list(manifests.walk(path))
        files = [entry.source for entry in entries if entry.source is not None]
        # The files before the manifest: a manifest in the store must not name blobs that are missing after a crash.
        stored = iter(self.put_files(IncomingFile(path=file, move=move) for file in files))
        entries = [manifests.stored(entry, lambda _: next(stored)) for entry in entries]
        manifest = manifests.encode(entries)
        return StoredBlob(self.put_bytes(manifest).digest, sum(entry.size for entry in entries))

    def manifest(self, digest: str) -> tuple[manifests.ManifestEntry, ...]:
        """Return what is in the folder of `digest`.

        Raises
        ------
        StoreError
            It is not there (JP405), damaged or not the manifest of a folder (JP404).
        """
        with self.open(digest) as file:
            try:
                content = file.read()
            except OSError as error:
                raise self._unreadable(digest, error) from error
        try:
            return manifests.decode(content)
        except ValueError as error:
            raise corrupt_error(f"the folder {digest}", (str(error),)) from error

    def materialise(self, digest: str, target: Path) -> None:
        """Write the folder of `digest` to `target`, which must not exist, as copies that may be changed.

        Raises
        ------
        StoreError
            Something is missing (JP405) or damaged (JP404), or `target` cannot be written (JP402, JP403).
        """
        entries = self.manifest(digest)
        with writing(target.parent, f"`{target.name}`"):
            target.mkdir(parents=True)
            for entry in entries:
                manifests.write_entry(entry, target, self.open)

    def under_name(self, digest: str, target: Path) -> Path:
        """Make the blob of `digest` available as the file `target`, whose ending says how it is read; return its path.

        Raises
        ------
        StoreError
            There is no such blob, or it cannot be copied.
        """
        with writing(target.parent, f"`{target.name}`"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
        try:
            target.symlink_to(self.path(digest))
        except OSError:  # a file system, or a user of Windows, without links
            self.copy(digest, target)
        return target

    def copy(self, digest: str, target: Path) -> None:
        """Write the file of `digest` to `target` as a copy that may be changed.

        Raises
        ------
        StoreError
            It is missing (JP405) or damaged (JP404), or `target` cannot be written (JP402, JP403).
        """
        with self.open(digest) as source, writing(target.parent, f"`{target.name}`"), target.open("xb") as file:
            filesystem_features.copy(source, file)

    def digests(self) -> Iterator[str]:
        """Yield the digest of every blob there is."""
        return self._digests(self._folder.ls)

    def all_digests_strict(self) -> Iterator[str]:
        """Yield the digest of every blob, for callers that must not miss any.

        Raises
        ------
        StoreError
            A folder cannot be read (JP401).
        """
        return self._digests(self._folder.names)

    def _digests(self, names_in: Callable[[str], list[str]]) -> Iterator[str]:
        for subfolder in names_in(FOLDER):
            for name in names_in(f"{FOLDER}/{subfolder}"):
                digest = _digest_of(name)
                if is_digest(digest):
                    yield digest

    def _stage(self, file: IncomingFile) -> StagedBlob:
        """Compute the digest of a file, and copy the file if it must not be renamed."""
        staged = self._stage_in_place(file) if file.move else None
        if staged is not None:
            return staged
        temporary = self._folder.temporary()
        try:
            with (
                file.path.open("rb") as source,
                writing(self._folder.root, "an output"),
                create(temporary) as target,
            ):
                writer = HashingWriter(target, WritebackPacer(target))
                shutil.copyfileobj(source, writer, BLOCK)
                writer.finish()
            _check(file, writer.digest)
        except BaseException:
            remove(temporary)
            raise
        return StagedBlob(temporary, writer.digest, writer.size, verified=True)

    def _stage_in_place(self, file: IncomingFile) -> StagedBlob | None:
        """Return the file as a staged blob if it can be renamed into the store; None if it has to be copied."""
        before = self._movable(file.path)
        if before is None:
            return None
        mark = StatSignature.of(before)
        # The serializer hashed the bytes while writing them; with an unchanged mark they need not be read again.
        if file.digest and is_known(algorithm_of(file.digest)) and file.mark in (None, mark):
            return StagedBlob(file.path, file.digest, before.st_size, verified=file.mark is not None)
        digest = digest_file(file.path)
        _check(file, digest)
        return (
            StagedBlob(file.path, digest, before.st_size, verified=True)
            # A change while the digest was computed makes it worthless; the copy in _stage hashes what it copies.
            if StatSignature.of(file.path.lstat()) == mark
            else None
        )

    def _publish(self, files: Sequence[StagedBlob], *, durable: bool = True) -> None:
        """Move staged files to the paths of their digests; an intact blob stays, a damaged one is replaced."""
        new_blobs = {staged.digest: staged for staged in files}
        new_blobs = {digest: staged for digest, staged in new_blobs.items() if not self._is_there(digest)}
        paths = [(staged.path, path_of(digest)) for digest, staged in new_blobs.items()]
        self._folder.put_all(paths, mode=BLOB_MODE, durable=durable)
        for digest, staged in new_blobs.items():
            if staged.verified and staged.size >= LARGE:
                self._remember(digest)

    def _is_there(self, digest: str) -> bool:
        """Tell whether an intact blob of `digest` exists, and restart its grace period."""
        if self._condition(digest, self._cache) == "ok":
            with contextlib.suppress(OSError, StoreError):
                before = self.path(digest).lstat()
                self.touch(digest)
                after = self.path(digest).lstat()
                # Touching changes the mtime and so the mark; without this a large blob would be hashed again at its
                # next use.
                if after.st_size >= LARGE and _without_times(after) == _without_times(before):
                    self._remember(digest)
                return True
        self.quarantine(digest)
        return False

    def _remember(self, digest: str) -> None:
        """Add a blob that has just been written or verified to the digest cache, as durable."""
        name = self._name(digest)
        with contextlib.suppress(OSError):
            status = os.lstat(name)
            if self._cache and StatSignature.of(status).is_stable(filesystem_features.cutoff_after_tick(status)):
                self._cache.remember(name, StatSignature.of(status), digest, durable=True)

    def _movable(self, path: Path) -> os.stat_result | None:
        """Return the status of a file that may become a blob by renaming: no other name and no open writer."""
        try:
            status = path.lstat()
            # A second hard link, or an open handle for writing, would let a program change the blob after it was
            # hashed.
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                return None
            # rename does not work across file systems.
            if status.st_dev != self._folder.root.stat().st_dev:
                return None
            with path.open("rb") as file:
                return None if filesystem_features.is_open_for_writing(file.fileno()) else status
        except OSError:
            return None

    def _digest(self, digest: str, file: BinaryIO, cache: DigestCache | None) -> str:
        return digest_open(file, self._name(digest), cache, algorithm_of(digest), sealed=True)

    def _name(self, digest: str) -> str:
        return f"{self._folder.root}/{path_of(digest)}"

    def _unreadable(self, digest: str, error: OSError) -> StoreError:
        if is_transient(error):
            return unreadable_error(error, self._folder.root, f"the output {digest}")
        return self._corrupt(digest)

    def _corrupt(self, digest: str) -> StoreError:
        self.quarantine(digest)
        return corrupt_error(f"the output {digest}")


_CONDITIONS_BY_SEVERITY: tuple[Condition, ...] = ("corrupt", "missing", "unknown")


def path_of(digest: str) -> str:
    """Return where the blob of `digest` is, relative to the store."""
    if not is_digest(digest):
        raise ValueError(f"not a digest: {digest!r}")
    algorithm, _, name = digest.partition(":")
    return f"{FOLDER}/{name[:2]}/{name}" + ("" if algorithm == SHA256 else f".{algorithm}")


def _digest_of(name: str) -> str:
    """Return the digest of a blob whose file has this name."""
    digits, _, algorithm = name.partition(".")
    return f"{algorithm or SHA256}:{digits}"


def _check(file: IncomingFile, digest: str) -> None:
    """Raise CorruptOutput if a file had another digest when it was saved."""
    # Digests of different algorithms cannot be compared: the worker may have blake3 where this process has not.
    claimed = file.digest if file.mark else None
    if claimed and claimed != digest and algorithm_of(claimed) == algorithm_of(digest):
        raise corrupt_error(f"the output {claimed}", ("the file was changed after it had been saved",))


def _without_times(status: os.stat_result) -> StatSignature:
    return replace(StatSignature.of(status), mtime_ns=0, ctime_ns=0)
