"""Shared stores, which several users write to: their content is used only if a trusted user has signed it.

Nothing is ever loaded, mapped or executed where others could exchange it meanwhile. The user has a local cache, a
store of their own (the front); runs, leases and all that is being written are there and nowhere else. A record is taken
from the shared backend only with a trusted signature, the bytes that it names only if they have its digests, and both
are copied to the local cache before they are used. What the user computes is signed and written to both.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storing.blobs import Blobs, Condition, Incoming, Ready
from jupyter_pipelines.storing.digests import Mark, Memo, algorithm_of, digest_open, is_known
from jupyter_pipelines.storing.door import Folder, make_folder, remove
from jupyter_pipelines.storing.faults import unopenable, unreadable, unwritable
from jupyter_pipelines.storing.index import Index
from jupyter_pipelines.storing.owning import doubt
from jupyter_pipelines.storing.records import Records, StepRecord, decode, encode
from jupyter_pipelines.storing.shelves import Shelves
from jupyter_pipelines.storing.signing import Trust, signed
from jupyter_pipelines.storing.store import FOLDER_FORMAT, Store

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.data import Artifact

VARIABLE = "JUPYTER_PIPELINES_FRONT"
SCHEME = "shared"
_SIGNERS = "signers"


class Back(Protocol):
    """The shared backend that several users write to. Nothing that it returns is trusted."""

    def record(self, key: str) -> bytes | None:
        """Return the file of the record of `key`; None if there is none.

        Raises
        ------
        OSError
            It cannot be read, or is no file of a sensible size.
        """

    def fetch(self, digest: str, target: Path) -> bool:
        """Copy the blob of `digest` to the new file `target`; False if there is none.

        Raises
        ------
        OSError
            It cannot be read, or `target` cannot be written.
        """

    def put_record(self, key: str, content: bytes) -> None:
        """Make the file of a record appear, whole or not at all.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """

    def put_blob(self, digest: str, path: Path) -> None:
        """Make a copy of the file `path` appear as the blob of `digest`, unless it is there, unharmed.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """

    def is_writable(self) -> bool:
        """Tell whether the user may put anything there."""


class Shared(Store):
    """A local store in front of a shared backend that several users write to.

    Parameters
    ----------
    root : Path
        The local cache: a folder that no other user can write to.
    url : str
        What opens the same store again.
    back : Back
        The shared backend.
    trust : Trust
        Whose records are used.
    """

    def __init__(self, root: Path, url: str, back: Back, trust: Trust) -> None:
        super().__init__(root)
        self._url = url
        self.back = back
        self.blobs = _Blobs(self.door, self.index, back)
        self.records = _Records(self.door, self.index, self.blobs, back, trust)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True, guarded: bool = True) -> Shared:  # noqa: ARG003
        """Open the folder at `url` as a store that several users write to, whatever its permissions are now.

        Parameters
        ----------
        url : str or Path
            A folder, or a URL such as ``shared:///srv/team``.
        create : bool
            Make the folder when there is none.
        guarded : bool
            Nothing is loaded from the folder in either case.

        Raises
        ------
        StoreError
            The package `cryptography` is missing (JP411); the user has no key, or it cannot be used (JP412); the
            folder is no store (JP401), cannot be written (JP402), or was written by a newer version (JP406).
        """
        trust = Trust.of_user()
        place = _place(url)
        back = Shelves(place)
        back.prepare(make=create)
        root = front(str(place))
        require_own(root, place)
        Store.alone(root).close()
        store = cls(root, str(url), back, trust)
        store.records.drop_untrusted()
        return store

    @property
    def own(self) -> bool:
        """False: others can have written what is behind it."""
        return False

    @property
    def url(self) -> str:
        """What opens the same store again, in another process."""
        return self._url

    records: _Records


class _Blobs(Blobs):
    """The blobs of the local cache; a missing blob is copied from the backend, and a new blob is put there, too.

    At once, and not only when a record names it: a worker on another machine has a local cache of its own.
    """

    def __init__(self, door: Folder, memo: Memo | None, back: Back) -> None:
        super().__init__(door, memo)
        self._front = Blobs(door, memo)
        self._back = back

    def open(self, digest: str) -> BinaryIO:
        """Open the blob of `digest` for reading, after its bytes were checked; see :meth:`Blobs.open`."""
        self.verify(digest)
        return super().open(digest)

    def is_here(self, digest: str) -> bool:
        """Tell whether there is a blob of `digest` in the local cache.

        Raises
        ------
        StoreError
            It cannot be looked at (JP401).
        """
        try:
            self.path(digest).lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable(error, self._door.root, f"the output {digest}") from error
        return True

    def _verify(self, digest: str, memo: Memo | None) -> Condition:
        condition = super()._verify(digest, memo)
        if condition in ("missing", "corrupt") and self._fetch(digest):
            return super()._verify(digest, memo)
        return condition

    def _publish(self, files: Sequence[Ready], *, settled: bool = True) -> None:
        super()._publish(files, settled=settled)
        for digest in dict.fromkeys(blob.digest for blob in files):
            self.share(digest)

    def share(self, digest: str) -> None:
        """Copy a blob of the local cache to the backend, if the user may write there.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """
        if self._back.is_writable():
            self._back.put_blob(digest, self.path(digest))

    def _fetch(self, digest: str) -> bool:
        """Copy a blob from the backend and tell whether it has its digest; a blob without it counts as missing."""
        if not is_known(algorithm_of(digest)):
            return False
        temporary = self._door.temporary()
        try:
            if not self._back.fetch(digest, temporary):
                return False
            with temporary.open("rb") as file:
                actual_digest = digest_open(file, str(temporary), None, algorithm_of(digest))
            if actual_digest == digest:
                self._front.put_files([Incoming(path=temporary, digest=digest, mark=Mark.of(temporary.lstat()))])
            return actual_digest == digest
        except (OSError, StoreError):
            return False
        finally:
            remove(temporary)


class _Records(Records):
    """The records of the local cache; a missing record is taken from the backend if a trusted user has signed it."""

    def __init__(self, door: Folder, index: Index, blobs: _Blobs, back: Back, trust: Trust) -> None:
        super().__init__(door, index)
        self._blobs = blobs
        self._back = back
        self._trust = trust
        self._refused: dict[str, str] = {}

    def read(self, key: str) -> StepRecord | None:
        """Return the record of `key`; see :meth:`Records.read`."""
        return super().read(key) or self._take_in(key)

    def refusal(self, key: str) -> str:
        """Return why a record of the backend is not used."""
        return self._refused.get(key, "")

    def put(self, record: StepRecord, *, settled: bool = True) -> None:
        """Sign a record and store it in the backend and in the local cache; see :meth:`Records.put`.

        The backend first: a record that could not be put there would be reused here, and never be shared.
        """
        record = signed(record, must=True)
        for digest in self._named(record.outputs.values()):
            self._blobs.share(digest)
        if self._back.is_writable():
            self._back.put_record(record.key, encode(record))
        self._note(record)
        super().put(record, settled=settled)

    def drop_untrusted(self) -> None:
        """Drop the cached records of signers that are not trusted any more."""
        ids = set(self._door.ls(_SIGNERS))
        dropped_signers = ids - self._trust.ids
        if not dropped_signers:
            return
        for key in self.all_keys():
            record = super().read(key)
            if record is not None and self._trust.why_not(record):
                self.forget(key)
        for signer in dropped_signers:
            self._door.rm(f"{_SIGNERS}/{signer}")

    def _take_in(self, key: str) -> StepRecord | None:
        """Return the backend's record of `key`, if it is trusted, and keep it in the local cache."""
        self._refused.pop(key, None)
        try:
            content = self._back.record(key)
            record = None if content is None else decode(content, key)
        except (OSError, ValueError, RecursionError, StoreError) as error:
            self._refused[key] = f"it cannot be read: {error}"
            return None
        if record is None:
            return None
        why = self._trust.why_not(record)
        if why:
            self._refused[key] = why
            return None
        self._note(record)
        super().put(record)
        return record

    def _note(self, record: StepRecord) -> None:
        """Note the signer of a record before its first record is in the local cache."""
        path = f"{_SIGNERS}/{record.signature.key}" if record.signature else ""
        if path and not self._door.exists(path):
            self._door.write(path, b"")

    def _named(self, artifacts: Iterable[Artifact]) -> Iterator[str]:
        """Yield the digests of cached blobs that artifacts are made of, folders after what is in them."""
        for artifact in artifacts:
            if not self._blobs.is_here(artifact.digest):
                continue
            if artifact.format == FOLDER_FORMAT:
                yield from {entry.digest for entry in self._blobs.manifest(artifact.digest) if entry.digest}
            yield artifact.digest


def front(url: str) -> Path:
    """Make and return the user's own folder that caches the store at `url`."""
    configured = os.environ.get(VARIABLE)
    base = (
        Path(os.path.abspath(os.path.expanduser(configured)))
        if configured
        else _data() / "jupyter-pipelines" / "shared"
    )
    root = base / hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    try:
        make_folder(root)
    except OSError as error:
        raise unwritable(error, root, "what comes from a shared store") from error
    return root


def require_own(root: Path, shared: Path | None) -> None:
    """Refuse a local cache that others can write to, or that lies inside the shared folder."""
    error = doubt(root)
    if error is not None:
        raise error
    if shared is not None and Path(os.path.realpath(root)).is_relative_to(shared):
        suggestion = f"name a folder of your own, outside of it, in {VARIABLE}, or unset it"
        raise unopenable(root, f"it lies in `{shared}`, which several people write to", suggestion)


def _data() -> Path:
    configured = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_DATA_HOME")
    return (
        Path(configured)
        if configured and os.path.isabs(configured)
        else Path(os.path.expanduser("~"), ".local", "share")
    )


def _place(url: str | Path) -> Path:
    text = os.fspath(url)
    if isinstance(url, str) and text.lower().startswith(f"{SCHEME}:"):
        text = unquote(urlsplit(text).path)
    return Path(os.path.realpath(os.path.expanduser(text)))
