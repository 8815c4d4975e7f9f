"""Blobs: bytes by their digest. A blob is whole or absent, and is checked before it is served."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storing import folders
from jupyter_pipelines.storing.digests import ALGORITHM, HashingWriter, Memo, digest_file, digest_open, is_digest
from jupyter_pipelines.storing.door import age, create, remove
from jupyter_pipelines.storing.faults import absent, damaged, writing

if TYPE_CHECKING:
    from jupyter_pipelines.storing.door import Folder

FOLDER = "blobs"
BLOB_MODE = 0o444
BLOCK = 1 << 20
Condition = Literal["ok", "missing", "corrupt"]


class Stored(NamedTuple):
    """What a put came to: the digest, and the size in bytes."""

    digest: str
    size: int


class Blobs:
    """The blobs of a store.

    Parameters
    ----------
    door : Folder
        Where the store lives.
    memo : Memo or None
        Remembers which blobs were checked, so that an unchanged file is not read twice.
    """

    def __init__(self, door: Folder, memo: Memo | None = None) -> None:
        self._door = door
        self._memo = memo

    def path(self, digest: str) -> Path:
        """Return where the blob of `digest` is, whether or not it exists. Read it only after :meth:`verify`."""
        return self._door.locate(path_of(digest))

    def put_file(self, path: Path, *, move: bool = True, digest: str | None = None) -> Stored:
        """Store the bytes of the file `path`.

        Parameters
        ----------
        path : Path
            The file; a link is followed and copied.
        move : bool
            The file is used up: it is renamed where that is possible, and gone afterwards.
        digest : str or None
            Its digest, where the caller has just computed it while writing; it is not computed again.

        Returns
        -------
        Stored
            Digest and size in bytes.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        OSError
            `path` cannot be read.
        """
        if move and self._can_move(path):
            return self._put_moved(path, digest or digest_file(path))
        with path.open("rb") as source, self.writer() as writer:
            shutil.copyfileobj(source, writer, BLOCK)
        if move:
            remove(path)
        return Stored(writer.digest, writer.size)

    def put_bytes(self, content: bytes) -> Stored:
        """Store `content`; see :meth:`put_file`."""
        with self.writer() as writer:
            writer.write(content)
        return Stored(writer.digest, writer.size)

    @contextmanager
    def writer(self) -> Iterator[HashingWriter]:
        """Return a file to write to; what was written is stored when the block ends without an error."""
        temporary = self._door.temporary()
        try:
            with writing(self._door.root, "an output"), create(temporary) as file:
                writer = HashingWriter(file)
                yield writer
            self._publish(temporary, writer.digest)
        finally:
            remove(temporary)

    def open(self, digest: str) -> BinaryIO:
        """Open the blob of `digest` for reading, after its bytes were checked.

        Raises
        ------
        Corrupt
            Its bytes are not the ones that were stored (JP404); it is put aside.
        StoreError
            The store does not hold it (JP405).
        """
        try:
            file = self._door.open(path_of(digest))
        except FileNotFoundError:
            raise absent(f"the output {digest}", self._door.root) from None
        except OSError as error:
            raise self._corrupt(digest) from error
        try:
            found = digest_open(file, str(self.path(digest)), self._memo)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        if found != digest:
            file.close()
            raise self._corrupt(digest)
        return file

    def verify(self, digest: str) -> Condition:
        """Tell whether the blob of `digest` is there and unharmed; changes nothing."""
        try:
            with self._door.open(path_of(digest)) as file:
                return "ok" if digest_open(file, str(self.path(digest)), self._memo) == digest else "corrupt"
        except FileNotFoundError:
            return "missing"
        except (OSError, StoreError):
            return "corrupt"

    def verify_folder(self, digest: str) -> Condition:
        """Tell the same of a folder: of its manifest, and of every file in it."""
        condition = self.verify(digest)
        if condition != "ok":
            return condition
        try:
            members = {entry.digest for entry in self.manifest(digest) if entry.digest}
        except StoreError:
            return "corrupt"
        found = {self.verify(member) for member in members}
        return "corrupt" if "corrupt" in found else "missing" if "missing" in found else "ok"

    def quarantine(self, digest: str) -> None:
        """Put the blob of `digest` aside, unless somebody has healed it meanwhile; never fails."""
        if self.verify(digest) == "corrupt":
            self._door.set_aside(path_of(digest), "its bytes do not have its digest")

    def discard(self, digest: str, grace: float = 0.0) -> None:
        """Remove the blob of `digest`, unless it was put again less than `grace` seconds ago.

        Raises
        ------
        StoreError
            The store cannot be written (JP402).
        """
        temporary = self._door.temporary()
        path = self.path(digest)
        # Taken away first and looked at then: who puts the same bytes meanwhile either finds the blob and touches it,
        # which is seen here, or finds none and writes it anew.
        with writing(self._door.root, f"`{path.name}`"), contextlib.suppress(FileNotFoundError):
            os.rename(path, temporary)
            if grace and age(temporary) < grace:
                os.rename(temporary, path)
        remove(temporary)

    def touch(self, digest: str) -> None:
        """Start the grace period of a blob anew, so that nothing removes it before a record names it.

        Raises
        ------
        OSError
            There is no such blob.
        """
        os.utime(self.path(digest), follow_symlinks=False)

    def put_folder(self, path: Path, *, move: bool = False) -> Stored:
        """Store a folder: one blob for each file, and a manifest that names them.

        Parameters
        ----------
        path : Path
            The folder.
        move : bool
            Its files are used up, see :meth:`put_file`; otherwise it is left as it is.

        Returns
        -------
        Stored
            Digest of the manifest, and size in bytes of all files.

        Raises
        ------
        NotStorable
            Something in it is neither file nor folder (JP205).
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        entries = [folders.stored(entry, lambda one: self.put_file(one, move=move)) for entry in folders.walk(path)]
        manifest = folders.encode(entries)
        return Stored(self.put_bytes(manifest).digest, sum(entry.size for entry in entries))

    def manifest(self, digest: str) -> tuple[folders.Entry, ...]:
        """Return what is in the folder of `digest`.

        Raises
        ------
        StoreError
            It is not there (JP405), damaged or not the manifest of a folder (JP404).
        """
        with self.open(digest) as file:
            content = file.read()
        try:
            return folders.decode(content)
        except ValueError as error:
            raise damaged(f"the folder {digest}", (str(error),)) from error

    def materialise(self, digest: str, target: Path) -> None:
        """Write the folder of `digest` to `target`, which must not exist: copies, which the user may change.

        Raises
        ------
        StoreError
            Something is missing (JP405) or damaged (JP404), or `target` cannot be written (JP402, JP403).
        """
        entries = self.manifest(digest)
        with writing(target.parent, f"`{target.name}`"):
            target.mkdir(parents=True)
            for entry in entries:
                folders.place(entry, target, self.open)

    def copy(self, digest: str, target: Path) -> None:
        """Write the file of `digest` to `target`: a copy, which the user may change.

        Raises
        ------
        StoreError
            It is missing (JP405) or damaged (JP404), or `target` cannot be written (JP402, JP403).
        """
        with self.open(digest) as source, writing(target.parent, f"`{target.name}`"), target.open("xb") as file:
            shutil.copyfileobj(source, file, BLOCK)

    def digests(self) -> Iterator[str]:
        """Yield the digest of every blob there is."""
        for shelf in self._door.ls(FOLDER):
            for name in self._door.ls(f"{FOLDER}/{shelf}"):
                if is_digest(f"{ALGORITHM}:{name}"):
                    yield f"{ALGORITHM}:{name}"

    def _put_moved(self, path: Path, digest: str) -> Stored:
        size = path.stat().st_size
        self._publish(path, digest)
        remove(path)
        return Stored(digest, size)

    def _publish(self, local: Path, digest: str) -> None:
        """Put the file under its digest, unless an unharmed blob is there already: recomputing heals."""
        with contextlib.suppress(OSError, StoreError):
            self.touch(digest)
            if self.verify(digest) == "ok":
                return
            self.quarantine(digest)
        self._door.put(local, path_of(digest), mode=BLOB_MODE)

    def _can_move(self, path: Path) -> bool:
        """Tell whether a file may become a blob by renaming: nobody else has another name for it, same disk."""
        try:
            status = path.lstat()
            return not path.is_symlink() and status.st_nlink == 1 and status.st_dev == self._door.root.stat().st_dev
        except OSError:
            return False

    def _corrupt(self, digest: str) -> StoreError:
        self.quarantine(digest)
        return damaged(f"the output {digest}")


def path_of(digest: str) -> str:
    """Return where the blob of `digest` is, relative to the store."""
    if not is_digest(digest):
        raise ValueError(f"not a digest: {digest!r}")
    name = digest.partition(":")[2]
    return f"{FOLDER}/{name[:2]}/{name}"
