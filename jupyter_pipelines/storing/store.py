"""The store: one folder, and the doors to what is in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.errors import Fault, NotStorable, StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing.blobs import Blobs, Condition
from jupyter_pipelines.storing.blobs import path_of as blob_path
from jupyter_pipelines.storing.digests import Later, remembered
from jupyter_pipelines.storing.door import ASIDE, TEMPORARY, Folder, create, make_folder
from jupyter_pipelines.storing.faults import ELSEWHERE, unopenable, unwritable, writing
from jupyter_pipelines.storing.folders import digest_path
from jupyter_pipelines.storing.index import NAME as INDEX
from jupyter_pipelines.storing.index import Index
from jupyter_pipelines.storing.leases import Leases
from jupyter_pipelines.storing.records import Records, StepRecord
from jupyter_pipelines.storing.records import path_of as record_path
from jupyter_pipelines.storing.runs import Runs

SCHEMA = "jupyter-pipelines/store/"
FORMAT = 2
"""2: blobs may have BLAKE3 digests, and say so in their names. What 1 wrote is read as it is."""
MARK = "format.json"
FILE_FORMAT = "file"
FOLDER_FORMAT = "folder"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_OURS = frozenset({MARK, ".gitignore", "blobs", "records", "runs", "leases", "served", TEMPORARY, ASIDE})
_OTHERS_MAY_WRITE = 0o022
_OTHERS_MAY_PASS = 0o011
_ROOMS = ("blobs", "records", "runs", TEMPORARY)


class Store:
    """Where artifacts, step records and runs outlive the kernel. Get one by :meth:`open`.

    Parameters
    ----------
    root : Path
        The folder it lives in.

    Attributes
    ----------
    root : Path
        The folder it lives in.
    door : Folder
        Reads and writes relative paths.
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
            Make the folder when there is none; otherwise a missing one is an empty store.
        guarded : bool
            Refuse one that others can write to; False only for who looks at it and loads nothing.

        Raises
        ------
        StoreError
            There can be no store (JP401), it cannot be written (JP402), is full (JP403) or was written by a newer
            version (JP406).
        PluginError
            There is no store of this scheme (JP602), or its package is broken (JP601).
        """
        scheme = _scheme(url)
        if scheme != "file":
            from jupyter_pipelines import plugins

            return plugins.load("stores", scheme).open(url, create=create)  # type: ignore[no-any-return]
        store = cls(_folder(url))
        store._prepare(create, guarded)
        return store

    @property
    def url(self) -> str:
        """What opens the same store again, in another process."""
        return str(self.root)

    def scratch(self, suffix: str = "") -> Path:
        """Make a private folder on the store's disk; whatever is left of it goes when its process is gone.

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
        found = list(records)
        blobs = [blob_path(artifact.digest) for record in found for artifact in record.outputs.values()]
        self.door.settle_names([*blobs, *(record_path(record.key) for record in found)])

    def check_writable(self) -> None:
        """Find out whether the store can be written, before anything is computed for it.

        Raises
        ------
        StoreError
            It is full (JP403) or cannot be written (JP402).
        """
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
        found, later = remembered(paths, self.index), Later(self.index)
        for path in paths:
            if path not in found:
                with contextlib.suppress(OSError, NotStorable):
                    found[path] = digest_path(path, later)
        later.finish()
        return found

    def intact(self, artifact: Artifact) -> Condition:
        """Tell whether the bytes of `artifact`, for a folder those of every file in it, are there and unharmed.

        Where this environment lacks the algorithm of their digest they are ``unknown``, which is as good as missing.
        """
        if artifact.format == FOLDER_FORMAT:
            return self.blobs.verify_folder(artifact.digest)
        return self.blobs.verify(artifact.digest)

    def intact_many(self, artifacts: Iterable[Artifact]) -> dict[Artifact, Condition]:
        """Tell the same of many artifacts; those that were checked before cost one look at each of their files."""
        artifacts = list(artifacts)
        found = self.blobs.verify_many(dict.fromkeys(artifact.digest for artifact in artifacts))
        return {
            artifact: self.blobs.verify_folder(artifact.digest)
            if artifact.format == FOLDER_FORMAT
            else found[artifact.digest]
            for artifact in artifacts
        }

    def load(self, artifact: Artifact) -> Any:
        """Return the value of `artifact`, checked; for a file its path in the store, for a folder that of a copy.

        Raises
        ------
        Corrupt
            The stored bytes are damaged (JP404); they are put aside.
        StoreError
            The store does not hold them (JP405), or they cannot be read back (JP405).
        """
        if artifact.format == FOLDER_FORMAT:
            target = self.scratch() / "folder"
            self.blobs.materialise(artifact.digest, target)
            return target
        self.blobs.open(artifact.digest).close()
        path = self.blobs.path(artifact.digest)
        if artifact.format == FILE_FORMAT:
            return path
        from jupyter_pipelines.storing import serializers

        return serializers.load(path, artifact.format)

    def close(self) -> None:
        """Let go of the index; everything else holds nothing."""
        self.index.close()

    def _prepare(self, make: bool, guarded: bool) -> None:
        if not self._exists():
            if make:
                self._make()
            return
        if guarded:
            self._check_private()
        self._check_format(make)
        self.door.sweep()

    def _exists(self) -> bool:
        try:
            if self.root.is_dir():
                os.listdir(self.root)
                return True
            taken = os.path.lexists(self.root)
        except OSError as error:
            raise unopenable(self.root, _why(error), f"make the folder readable for you, {ELSEWHERE}") from error
        if taken:
            raise unopenable(self.root, "there is a file of that name", f"move the file away, {ELSEWHERE}")
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

    def _check_private(self) -> None:
        """Refuse a store that others can write to: what is unpickled from it is code."""
        if not hasattr(os, "geteuid"):
            return
        try:
            status = self.root.stat()
        except OSError as error:
            raise unopenable(self.root, _why(error), f"make the folder readable for you, {ELSEWHERE}") from error
        if status.st_uid != os.geteuid():
            raise unopenable(
                self.root,
                "the folder belongs to another user, and what is loaded from it could run their code",
                f"make it yours: chown -R $(id -u) {self.root}, {ELSEWHERE}",
                (f"its owner has the uid {status.st_uid}, you have {os.geteuid()}",),
            )
        if status.st_mode & _OTHERS_MAY_WRITE:
            self._close_to_others()
        elif status.st_mode & _OTHERS_MAY_PASS:
            self._check_rooms()

    def _check_rooms(self) -> None:
        """Refuse a store that others cannot write to, but one of whose folders they can."""
        for name in _ROOMS:
            with contextlib.suppress(FileNotFoundError):
                room = self.root / name
                status = room.stat()
                if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
                    raise unopenable(
                        self.root,
                        f"other users can write to `{name}` in it, and what is loaded from there could run their code",
                        f"look at it and repair it: jupyter pipelines fsck NOTEBOOK --repair, {ELSEWHERE}",
                    )

    def _close_to_others(self) -> None:
        if not self._is_blank():
            raise unopenable(
                self.root,
                "other users can write to the folder, and what is loaded from it could run their code",
                f"close it to others: chmod -R go-w {self.root}, {ELSEWHERE}",
            )
        with contextlib.suppress(OSError):
            self.root.chmod(0o700)

    def _is_blank(self) -> bool:
        return not os.listdir(self.root)

    def _check_format(self, make: bool) -> None:
        try:
            mark = json.loads(self.door.read(MARK))
            version = _version(mark["schema"])
        except FileNotFoundError:
            self._adopt(make)
            return
        except OSError as error:
            raise unopenable(self.root, _why(error), f"make the folder readable for you, {ELSEWHERE}") from error
        except (ValueError, TypeError, KeyError, AttributeError):
            self._adopt(make)
            return
        if version > FORMAT:
            raise StoreError(_too_new(self.root, version, mark))
        if version < FORMAT and make:
            # So that an older version of this package does not take for damaged what it has no word for.
            with contextlib.suppress(StoreError):
                self._write_mark()

    def _adopt(self, make: bool) -> None:
        """Make a store of a folder without a mark, but only when nothing of anybody else is in it."""
        strange = [name for name in sorted(os.listdir(self.root)) if not _is_ours(name)]
        if strange:
            raise unopenable(
                self.root,
                "the folder holds other files and is not a store",
                f"give a folder that is empty or does not exist, for instance --store {self.root / '.pipelines'}",
                (f"found there: {', '.join(strange[:5])}{' …' if len(strange) > 5 else ''}",),
            )
        if make:
            with contextlib.suppress(OSError):
                self.root.chmod(0o700)
            self._write_mark()

    def _write_mark(self) -> None:
        self.door.write(".gitignore", b"*\n")
        self.door.write(MARK, json.dumps({"schema": f"{SCHEMA}{FORMAT}", "writer": _writer()}).encode())


def _scheme(url: str | Path) -> str:
    found = _SCHEME.match(url) if isinstance(url, str) else None
    return found.group(1).lower() if found else "file"


def _folder(url: str | Path) -> Path:
    text = os.fspath(url)
    if isinstance(url, str) and text.lower().startswith("file:"):
        text = unquote(urlsplit(text).path)
    return Path(os.path.abspath(os.path.expanduser(text)))


def _version(schema: str) -> int:
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


def _too_new(root: Path, version: int, mark: dict[str, Any]) -> Fault:
    return Fault(
        code="JP406",
        message=f"the store `{root}` was written by a newer version of jupyter-pipelines",
        suggestion=f"update: pip install -U jupyter-pipelines, {ELSEWHERE}",
        notes=(f"its format is {version}, this version reads up to {FORMAT}", f"written by {mark.get('writer')}"),
    )
