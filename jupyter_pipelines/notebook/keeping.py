"""What was found out about notebooks, kept for the next process: small JSON files in the user's own cache folder.

Not in the store and not beside the notebook: a project folder may come from somebody else, and what stands here is
believed. Nothing here is needed: what cannot be written or read, or was written by other code or another Python, is
found out anew. ``JUPYTER_PIPELINES_CACHE`` names another folder; ``0`` keeps nothing.
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
MOST = 256
"""Files that are kept; the oldest go."""
_ROOMS = (".", "notebook", "pipeline", "planning")
_OTHERS_MAY_WRITE = 0o022
_NO_MATTER = (OSError, TypeError, ValueError, LookupError, RuntimeError)


def load(kind: str, about: str) -> Any:
    """Return what was kept of a kind about a thing, or None."""
    with contextlib.suppress(*_NO_MATTER):
        with open(_path(kind, about), "rb", opener=_opener) as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            head, _, content = file.read().partition(b"\n")
        if MAKER and head == _head(content):
            return json.loads(content)
    return None


def save(kind: str, about: str, content: Any) -> None:
    """Keep something for :func:`load`; nothing happens if that is not possible."""
    with contextlib.suppress(*_NO_MATTER):
        path = _path(kind, about)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_room(path.parent)
        document = json.dumps(content, separators=(",", ":")).encode("ascii")
        temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
        with open(temporary, "xb", opener=_opener) as file:
            file.write(_head(document) + b"\n" + document)
        temporary.replace(path)


def folder() -> Path:
    """Return where things are kept.

    Raises
    ------
    FileNotFoundError
        Nothing is to be kept.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen == "0":
        raise FileNotFoundError("nothing is kept")
    return Path(chosen) if chosen else _usual() / "jupyter-pipelines"


def _usual() -> Path:
    """Return where the programs of a user keep what can be made anew."""
    if os.name == "nt":
        return Path(os.environ["LOCALAPPDATA"]) if "LOCALAPPDATA" in os.environ else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _path(kind: str, about: str) -> Path:
    name = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder() / f"{kind}-{name}.json"


def _head(content: bytes) -> bytes:
    """Return the first line of a file: who made it, and a checksum of the rest."""
    return f"{MAKER} {hashlib.sha256(content).hexdigest()}".encode("ascii")


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o600)


def _is_ours(status: os.stat_result) -> bool:
    """Tell whether nobody but the user can have written a file."""
    mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return stat.S_ISREG(status.st_mode) and mine and not status.st_mode & _OTHERS_MAY_WRITE


def _make_room(place: Path) -> None:
    """Remove the oldest files, so that one more can come."""
    files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(place))
    for _, path in files[: max(0, len(files) + 1 - MOST)]:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _maker() -> str:
    """Return what tells our code and this Python from any other, also while somebody works on our code."""
    marks = [sys.version, sys.implementation.name, __version__]
    package = Path(__file__).parents[1]
    try:
        for room in _ROOMS:
            entries = sorted(os.scandir(package / room), key=lambda entry: entry.name)
            files = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py")]
            marks += [f"{room}/{name} {status.st_size} {status.st_mtime_ns}" for name, status in files]
    except OSError:
        return ""  # not in files: nothing is kept, and nothing believed
    return hashlib.sha256("\n".join(marks).encode("utf-8", "surrogateescape")).hexdigest()


# Found out before more of our code is imported: what an update brings meanwhile is not mistaken for what runs here.
MAKER = _maker()
