"""Compiled copies of modules (``.pyc``) that Python would run although their source has changed.

Python takes a copy for current by modification time (in seconds) and size of its source. After an edit within the same
second that keeps the size, scripts, worker processes and explicit loaders would run the old code.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source

FOLDER = "__pycache__"
"""Name of the folders in which Python keeps compiled copies."""
OUTDATED = "outdated"
"""Prefix of a problem: a compiled copy of other code than a module's own may have run; the module's path follows."""
_HEADER = struct.Struct("<4s3I")
_TAG = f".{sys.implementation.cache_tag}"
_MOMENT_NS = 2_000_000_000
_LEVELS = {"": 0, "1": 1, "2": 2}
"""Optimization levels by their names in paths of compiled copies."""


def source_of(folder: str, name: str) -> str:
    """Return the path of the source of the copy `name` in a folder of copies."""
    stem = name.partition(_TAG if _TAG in name else ".")[0]
    return f"{folder.removesuffix(f'/{FOLDER}')}/{stem}.py"


def is_copy(path: str) -> bool:
    """Tell whether a path is that of a compiled copy, or of the temporary file from which Python makes it."""
    return path.rpartition("/")[0].endswith(f"/{FOLDER}")


def drop_outdated(folders: Iterable[str], root: str) -> None:
    """Remove copies that Python takes for current, unless they are surely younger than their source.

    Python compiles the source again then, as it does after any other edit.

    Parameters
    ----------
    folders : iterable of str
        Folders of copies.
    root : str
        The project's folder; what links lead to elsewhere stays.
    """
    real_root = os.path.realpath(root)
    for folder in folders:
        if os.path.realpath(folder).startswith(f"{real_root.rstrip('/')}/"):
            _drop_outdated_in(folder)


def _drop_outdated_in(folder: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _TAG in name and name.endswith(".pyc"):
                copy = f"{folder}/{name}"
                if _may_be_outdated(source_of(folder, name), copy):
                    with contextlib.suppress(OSError):
                        os.remove(copy)


def outdated(paths: Iterable[str]) -> list[str]:
    """Return a problem for each module of which an outdated copy may have run: it could not be removed in time."""
    return [f"{OUTDATED}\0{path}" for path in paths if path.endswith(".py") and _runs_old_code(path)]


def _runs_old_code(source: str) -> bool:
    """Tell whether Python would run another code than that of a source, because a copy of it is outdated."""
    return any(
        _may_be_outdated(source, copy) and _differs(source, copy, _LEVELS[level]) for level, copy in _copies(source)
    )


def _copies(source: str) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(NotImplementedError):
        for level in _LEVELS:
            yield level, cache_from_source(source, optimization=level)


def _may_be_outdated(source: str, copy: str) -> bool:
    """Tell whether Python takes a copy for current that is not surely younger than the last change of its source."""
    try:
        of_copy, of_source = os.stat(copy), os.stat(source)
        # The time of the last change cannot be set back, as that of the last modification can. Within a moment, Python
        # may have read the source before it was edited, and written the copy afterwards.
        if of_copy.st_mtime_ns > of_source.st_ctime_ns + _MOMENT_NS:
            return False
        with open(copy, "rb") as file:
            magic, flags, seconds, size = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return False
    expected = (int(of_source.st_mtime) & 0xFFFFFFFF, of_source.st_size & 0xFFFFFFFF)
    return magic == MAGIC_NUMBER and flags == 0 and (seconds, size) == expected


def _differs(source: str, copy: str, level: int) -> bool:
    try:
        with open(source, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            now = compile(file.read(), source, "exec", dont_inherit=True, optimize=level)
        with open(copy, "rb") as file:
            before = marshal.loads(file.read()[_HEADER.size :])  # noqa: S302 - what Python itself would run
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, RecursionError):
        return True
    return bool(now != before)
