"""Record which files a cell opened, with an audit hook: Python cannot open a file without calling it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

_ELSEWHERE = ("/proc/", "/dev/", "/sys/", "/usr/", "/etc/", "/lib")
_PARTS = ("__pycache__", ".ipynb_checkpoints", "site-packages", "/.cache/", "/.config/", "/.ipython/", "/.matplotlib/")
_MOVING = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "shutil.rmtree": 0, "shutil.move": 1}
_LISTING = frozenset({"os.listdir", "os.scandir", "glob.glob"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(slots=True)
class ObservedAccess:
    """The files that were opened and the programs that were started since the last :func:`take_opened`.

    Parameters
    ----------
    read, wrote : list of str
        Absolute paths.
    programs : int
        Number of started programs.
    """

    read: list[str] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)
    programs: int = 0


_now = ObservedAccess()
_folder = ""
_private: tuple[str, ...] = ()
_listening = False


def install_audit_hook(folder: str, own: str) -> None:
    """Record opened files, but none beside `own`, for the rest of the process: audit hooks cannot be removed."""
    global _folder, _private, _listening  # noqa: PLW0603 - so is an audit hook
    _folder = folder
    _private = (os.path.dirname(own), os.path.join(tempfile.gettempdir(), "jp-"))  # noqa: PTH118, PTH120 - see below
    if not _listening:
        _listening = True
        sys.addaudithook(_audit)


def take_opened() -> ObservedAccess:
    """Return the accesses since the last call, and start a new list."""
    global _now
    opened, _now = _now, ObservedAccess()
    return opened


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Record an audit event; an exception here would be raised in the notebook's call that opens the file."""
    with contextlib.suppress(Exception):
        _record_event(event, arguments)


def _record_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _opened(*arguments)
    elif event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
        _now.programs += 1
    elif event in _MOVING:
        _note(arguments[_MOVING[event]], _now.wrote)
    elif event in _LISTING:
        _listed(event, arguments[0])
    elif event == "sqlite3.connect":
        # Audit events tell of the connection only, not of its statements: a database counts as read and written.
        _note(arguments[0], _now.wrote)
        _note(arguments[0], _now.read)


def _listed(event: str, path: Any) -> None:
    """Record a listed folder, but not one that Python's import system lists."""
    frame = sys._getframe(3)  # noqa: SLF001 - the caller that asked for the list
    if frame.f_code.co_filename.startswith("<frozen importlib"):
        return
    folder_path = path if isinstance(path, str | bytes | os.PathLike) else "."
    text = os.fsdecode(folder_path) or "."
    _note(os.path.dirname(text) or "." if event == "glob.glob" else text, _now.read)  # noqa: PTH120 - as below


def _opened(path: Any, mode: Any, flags: Any) -> None:
    # `open` reports a mode, `os.open` only flags.
    writes = bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool((flags or 0) & _WRITES)
    _note(path, _now.wrote if writes else _now.read)


def _note(path: Any, where: list[str]) -> None:
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str | os.PathLike) or not os.fspath(path) or str(path) == ":memory:":
        return
    absolute = os.path.abspath(path)  # noqa: PTH100 - called for every file; pathlib would call the hook again
    if _matters(absolute) and absolute not in where:
        where.append(absolute)


def _matters(path: str) -> bool:
    if path.startswith(_folder):
        return not path.endswith(".pyc") and not any(part in path for part in _PARTS)
    if path.startswith((sys.prefix, sys.base_prefix, *_ELSEWHERE)):
        return False
    if path.startswith(_private):
        return False
    return not path.endswith((".pyc", ".py")) and not any(part in path for part in _PARTS)
