"""The store: a folder with blobs, records, runs, leases and an index, and the interfaces to them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.errors import Fault, NotStorable, StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED_FORMAT
from jupyter_pipelines.storing.blobs import Blobs, Condition
from jupyter_pipelines.storing.blobs import path_of as blob_path
from jupyter_pipelines.storing.digests import Later, remembered
from jupyter_pipelines.storing.door import ASIDE, TEMPORARY, Folder, create, make_folder
from jupyter_pipelines.storing.faults import ELSEWHERE, unopenable, unwritable, writing
from jupyter_pipelines.storing.folders import digest_path
from jupyter_pipelines.storing.index import NAME as INDEX
from jupyter_pipelines.storing.index import Index
from jupyter_pipelines.storing.keyring import Keyring
from jupyter_pipelines.storing.leases import Leases
from jupyter_pipelines.storing.owning import close_if_blank, doubt
from jupyter_pipelines.storing.records import Records, StepRecord
from jupyter_pipelines.storing.records import path_of as record_path
from jupyter_pipelines.storing.runs import Runs
from jupyter_pipelines.storing.signing import check_usable

SCHEMA = "jupyter-pipelines/store/"
FORMAT = 2
"""2: blobs may have BLAKE3 digests, and say so in their names. What 1 wrote is read as it is."""
MARK = "format.json"
_SHARED = "shared"
_TEAM = "JUPYTER_PIPELINES_INDEX"
FILE_FORMAT = "file"
FOLDER_FORMAT = "folder"
MANIFESTS = frozenset({FOLDER_FORMAT, GATHERED_FORMAT})
"""Formats of artifacts that name other artifacts."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_OURS = frozenset({MARK, ".gitignore", "blobs", "records", "runs", "leases", "served", TEMPORARY, ASIDE})


class Store:
    """Where artifacts, step records and runs outlive the kernel. Get it by :meth:`open`.

    Parameters
    ----------
    root : Path
        The folder it lives in.

    Attributes
    ----------
    root : Path
        The folder it lives in.
    door : Folder
        File operations by relative paths.
    blobs, records, runs, leases : Blobs, Records, Runs, Leases
        What is in it.
    index : Index
        Speeds things up; never needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.door = Folder(root)
        self.index = Index(root)
        self.blobs = Blobs(self.door, self.index)
        self.records = Records(self.door, self.index)
        self.runs = Runs(self.door)
        self.leases = Leases(self.door)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True, guarded: bool = True) -> Store:
        """Open the store at `url`.

        Parameters
        ----------
        url : str or Path
            A folder, or a ``file:`` URL; other schemes are looked up among the plug-ins.
        create : bool
            Make the folder when there is none; otherwise a missing folder is an empty store.
        guarded : bool
            A folder that others can write to is refused, or, where the user has a key, is a shared store; False only
            for callers that load nothing from it.

        Raises
        ------
        StoreError
            There can be no store (JP401), it cannot be written (JP402), is full (JP403) or was written by a newer
            version (JP406); the database of a team cannot be used (JP415).
        PluginError
            There is no store of this scheme (JP602), or its package is broken (JP601).
        """
        store = cls.alone(url, create=create, guarded=guarded)
        # A reader of the store computes nothing that other processes could compute, too.
        if create and (team := os.environ.get(_TEAM)):
            from jupyter_pipelines.storing.team.joining import join

            join(store, team)
        return store

    @classmethod
    def alone(cls, url: str | Path, *, create: bool = True, guarded: bool = True) -> Store:
        """Open the store at `url` without the database of a team; see :meth:`open`."""
        scheme = _scheme(url)
        if scheme != "file":
            from jupyter_pipelines import plugins

            return plugins.load("stores", scheme).open(url, create=create)  # type: ignore[no-any-return]
        store = cls(_folder(url))
        if guarded and store._is_shared():
            from jupyter_pipelines import plugins

            return plugins.load("stores", _SHARED).open(store.root, create=create)  # type: ignore[no-any-return]
        store._prepare(create)
        return store

    @property
    def own(self) -> bool:
        """Whether only the user can have written what is in it; otherwise signatures decide what is used."""
        return True

    @property
    def url(self) -> str:
        """What opens the same store again, in another process."""
        return str(self.root)

    def scratch(self, suffix: str = "") -> Path:
        """Make a private folder on the store's disk; what is left of it is removed when its process is gone.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        path = self.door.temporary(suffix)
        with writing(self.root, "a temporary folder"):
            path.mkdir(mode=0o700)
        return path

    def settle(self, records: Iterable[StepRecord]) -> None:
        """Wait until records that were put without waiting, and the blobs they name, outlast a power cut.

        Raises
        ------
        StoreError
            The disk refuses.
        """
        stored_records = list(records)
        blobs = [blob_path(artifact.digest) for record in stored_records for artifact in record.outputs.values()]
        self.door.settle_names([*blobs, *(record_path(record.key) for record in stored_records)])

    def check_writable(self) -> None:
        """Find out whether the store can be written, before anything is computed for it.

        Raises
        ------
        StoreError
            It is full (JP403) or cannot be written (JP402), or the user's key cannot be used (JP412).
        """
        check_usable()
        path = self.door.temporary()
        try:
            with writing(self.root, "an output"), create(path) as file:
                file.write(b"\0" * 4096)
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def digest(self, path: Path) -> str:
        """Return the digest of the content of a file or folder of the user; unchanged files are not read twice.

        Raises
        ------
        OSError
            Something cannot be read.
        NotStorable
            A folder holds something that is neither file nor folder (JP205).
        """
        return digest_path(path, self.index)

    def digest_many(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the digests of many files or folders of the user; those that cannot be read are left out."""
        paths = list(paths)
        digests, deferred = remembered(paths, self.index), Later(self.index)
        for path in paths:
            if path not in digests:
                with contextlib.suppress(OSError, NotStorable):
                    digests[path] = digest_path(path, deferred)
        deferred.finish()
        return digests

    def intact(self, artifact: Artifact) -> Condition:
        """Tell whether the bytes of `artifact`, for a folder those of every file in it, are there and unharmed.

        Where this environment lacks the algorithm of their digest they are ``unknown``, which is as good as missing.
        """
        if artifact.format in MANIFESTS:
            return self.blobs.verify_folder(artifact.digest)
        return self.blobs.verify(artifact.digest)

    def intact_many(self, artifacts: Iterable[Artifact]) -> dict[Artifact, Condition]:
        """Tell the same of many artifacts; for those checked before, only the status of their files is read."""
        artifacts = list(artifacts)
        conditions = self.blobs.verify_many(dict.fromkeys(artifact.digest for artifact in artifacts))
        return {
            artifact: self.blobs.verify_folder(artifact.digest)
            if artifact.format in MANIFESTS
            else conditions[artifact.digest]
            for artifact in artifacts
        }

    def load(self, artifact: Artifact) -> Any:
        """Return the value of `artifact`, checked; for a file its path in the store, for a folder that of a copy.

        Raises
        ------
        Corrupt
            The stored bytes are damaged (JP404); they are quarantined.
        StoreError
            The store does not hold them (JP405), or they cannot be read back (JP405).
        """
        if artifact.format == FOLDER_FORMAT:
            target = self.scratch() / "folder"
            self.blobs.materialise(artifact.digest, target)
            return target
        if artifact.format == GATHERED_FORMAT:
            from jupyter_pipelines.storing import gathered

            return gathered.load(self, artifact.digest)
        self.blobs.open(artifact.digest).close()
        path = self.blobs.path(artifact.digest)
        if artifact.format == FILE_FORMAT:
            return path
        from jupyter_pipelines.storing import serializers

        return serializers.load(path, artifact.format)

    def close(self) -> None:
        """Let go of the index; everything else holds nothing."""
        self.index.close()

    def _is_shared(self) -> bool:
        """Tell whether others can write to the store and the user shares stores; refuse it if they do not."""
        error = doubt(self.root) if self._exists() else None
        if error is None:
            return False
        sharing = Keyring.of_user().has_own()
        if close_if_blank(self.root, sharing=sharing):
            return False
        if not sharing:
            raise error
        return True

    def _prepare(self, make: bool) -> None:
        if not self._exists():
            if make:
                self._make()
            return
        self._check_format(make)
        self.door.sweep()

    def _exists(self) -> bool:
        try:
            # A single look, since another process may be making it right now.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.listdir(self.root)
                return True
            taken = self._is_in_the_way()
        except OSError as error:
            raise unopenable(self.root, _why(error), f"make the folder readable for you, {ELSEWHERE}") from error
        if taken:
            raise unopenable(self.root, "there is a file of that name", f"move the file away, {ELSEWHERE}")
        return False

    def _is_in_the_way(self) -> bool:
        """Tell whether there is something that is no folder: a file, or a link that leads nowhere."""
        try:
            return not stat.S_ISDIR(os.lstat(self.root).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _make(self) -> None:
        try:
            make_folder(self.root)
        except FileExistsError as error:
            raise unopenable(self.root, "there is a file of that name", f"move the file away, {ELSEWHERE}") from error
        except NotADirectoryError as error:
            raise unopenable(self.root, "a folder above it is a file", f"give another folder: {ELSEWHERE}") from error
        except OSError as error:
            raise unwritable(error, self.root, "what a run makes") from error
        self._write_mark()

    def _check_format(self, make: bool) -> None:
        try:
            document = json.loads(self.door.read(MARK))
            version = version_of(document["schema"])
        except FileNotFoundError:
            self._adopt(make)
            return
        except OSError as error:
            raise unopenable(self.root, _why(error), f"make the folder readable for you, {ELSEWHERE}") from error
        except (ValueError, TypeError, KeyError, AttributeError):
            self._adopt(make)
            return
        if version > FORMAT:
            raise StoreError(_too_new(self.root, version, document))
        if version < FORMAT and make:
            # So that an older version of this package does not take for damaged what it has no word for.
            with contextlib.suppress(StoreError):
                self._write_mark()

    def _adopt(self, make: bool) -> None:
        """Make a folder without a mark a store, but only when no other files are in it."""
        try:
            foreign_names = [name for name in sorted(os.listdir(self.root)) if not _is_ours(name)]
        except OSError as error:
            raise unopenable(self.root, _why(error), f"make the folder readable for you, {ELSEWHERE}") from error
        if foreign_names:
            raise unopenable(
                self.root,
                "the folder holds other files and is not a store",
                f"give a folder that is empty or does not exist, for instance --store {self.root / '.pipelines'}",
                (f"found there: {', '.join(foreign_names[:5])}{' …' if len(foreign_names) > 5 else ''}",),
            )
        if make:
            with contextlib.suppress(OSError):
                self.root.chmod(0o700)
            self._write_mark()

    def _write_mark(self) -> None:
        self.door.write(".gitignore", b"*\n")
        self.door.write(MARK, mark())


def mark() -> bytes:
    """Return what says that a folder is a store, and of which format."""
    return json.dumps({"schema": f"{SCHEMA}{FORMAT}", "writer": _writer()}).encode()


def _scheme(url: str | Path) -> str:
    match = _SCHEME.match(url) if isinstance(url, str) else None
    return match.group(1).lower() if match else "file"


def _folder(url: str | Path) -> Path:
    text = os.fspath(url)
    if isinstance(url, str) and text.lower().startswith("file:"):
        text = unquote(urlsplit(text).path)
    return Path(os.path.abspath(os.path.expanduser(text)))


def version_of(schema: str) -> int:
    """Return the version of a format that :func:`mark` has named; another text is a ValueError."""
    prefix, _, number = schema.rpartition("/")
    if f"{prefix}/" != SCHEMA:
        raise ValueError(schema)
    return int(number)


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(INDEX)


def _writer() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jupyter-pipelines")
    except PackageNotFoundError:
        return "unknown"


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _too_new(root: Path, version: int, document: dict[str, Any]) -> Fault:
    return Fault(
        code="JP406",
        message=f"the store `{root}` was written by a newer version of jupyter-pipelines",
        suggestion=f"update: pip install -U jupyter-pipelines, {ELSEWHERE}",
        notes=(f"its format is {version}, this version reads up to {FORMAT}", f"written by {document.get('writer')}"),
    )
