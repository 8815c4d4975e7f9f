"""Cache of analysis results between processes: small JSON files in the user's own cache folder.

Not in the store and not beside the notebook: a project folder may come from another user, and the content of these
files is trusted. The cache is optional: an entry that cannot be written or read, or was written by another version of
this package or of Python, is computed again. ``JUPYTER_PIPELINES_CACHE`` names another folder; ``0`` turns it off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

from jupyter_pipelines import __version__

VARIABLE = "JUPYTER_PIPELINES_CACHE"
MAX_FILES = 256
"""Largest number of files; the oldest are removed."""
_PACKAGES = ("pipeline", "notebook", "planning")
"""Packages whose results are cached; an edit of one of their modules invalidates all entries."""
_OTHERS_MAY_WRITE = 0o022
# RuntimeError: Path.home() cannot determine a home folder, as in some containers.
_IGNORED_ERRORS = (OSError, TypeError, ValueError, LookupError, RuntimeError)


def load(kind: str, subject: str) -> Any:
    """Return the content saved for `kind` and `subject`, or None."""
    with contextlib.suppress(*_IGNORED_ERRORS):
        with open(_path(kind, subject), "rb", opener=_opener) as file:
            # Cached analyses decide about reuse: an entry of another user could make a wrong result look right.
            if not _is_ours(os.fstat(file.fileno())):
                return None
            head, _, content = file.read().partition(b"\n")
        if CODE_FINGERPRINT and head == _head(content):
            return json.loads(content)
    return None


def save(kind: str, subject: str, content: Any) -> None:
    """Save `content` for :func:`load`; do nothing if that is not possible."""
    with contextlib.suppress(*_IGNORED_ERRORS):
        path = _path(kind, subject)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _remove_oldest(path.parent)
        document = json.dumps(content, separators=(",", ":")).encode("ascii")
        # Renamed without fsync: the checksum in the first line detects a file that a power cut left incomplete.
        temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
        with open(temporary, "xb", opener=_opener) as file:
            file.write(_head(document) + b"\n" + document)
        temporary.replace(path)


def folder() -> Path:
    """Return the cache folder.

    Raises
    ------
    FileNotFoundError
        The cache is turned off.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen == "0":
        raise FileNotFoundError("nothing is kept")
    return Path(chosen) if chosen else _default_cache_root() / "jupyter-pipelines"


def _default_cache_root() -> Path:
    """Return the folder for caches of all programs of the user."""
    if os.name == "nt":
        return Path(os.environ["LOCALAPPDATA"]) if "LOCALAPPDATA" in os.environ else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _path(kind: str, subject: str) -> Path:
    name = hashlib.sha256(subject.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder() / f"{kind}-{name}.json"


def _head(content: bytes) -> bytes:
    """Return the first line of a file: the fingerprint of the code that wrote it, and a checksum of the content."""
    return f"{CODE_FINGERPRINT} {hashlib.sha256(content).hexdigest()}".encode("ascii")


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o600)


def _is_ours(status: os.stat_result) -> bool:
    """Return whether only the user can have written a file."""
    mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return stat.S_ISREG(status.st_mode) and mine and not status.st_mode & _OTHERS_MAY_WRITE


def _remove_oldest(folder_path: Path) -> None:
    """Remove the oldest files, so that another file fits; the user's key is none of them."""
    # Temporary files of processes that were killed contain ".json", too, and are removed with the others.
    entries = [entry for entry in os.scandir(folder_path) if ".json" in entry.name]
    files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries)
    for _, path in files[: max(0, len(files) + 1 - MAX_FILES)]:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _code_fingerprint() -> str:
    """Return a fingerprint of this package and this Python; it changes with every edit of the package's files, too."""
    marks = [sys.version, sys.implementation.name, __version__]
    package = os.path.dirname(__file__)  # noqa: PTH120 - every command pays for it
    try:
        folders = [package, *(folder for name in _PACKAGES for folder in _folders(f"{package}/{name}"))]
        for folder in folders:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            files = [(entry.path, entry.stat()) for entry in entries if entry.name.endswith(".py")]
            marks += [f"{path.removeprefix(package)} {status.st_size} {status.st_mtime_ns}" for path, status in files]
    except OSError:
        return ""  # not in files: nothing is saved, and nothing loaded
    return hashlib.sha256("\n".join(marks).encode("utf-8", "surrogateescape")).hexdigest()


def _folders(package: str) -> list[str]:
    """Return the folders of `package` and of its sub-packages, in a fixed order."""
    subfolders = [entry for entry in os.scandir(package) if entry.is_dir() and entry.name != "__pycache__"]
    return [package, *(path for entry in sorted(subfolders, key=lambda e: e.name) for path in _folders(entry.path))]


# Computed before more modules are imported: an update in the meantime must not pass for the code that runs here.
CODE_FINGERPRINT = _code_fingerprint()
