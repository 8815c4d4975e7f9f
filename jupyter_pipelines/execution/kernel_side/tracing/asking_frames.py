"""Tell from the stack which code makes a call: the import system, a glob pattern, a traceback, or the user's own code.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

_LIBRARY = f"{os.path.dirname(os.__file__)}/"
_LOGGING = f"{_LIBRARY}logging/"
_GLOB = f"{_LIBRARY}glob.py"
_PATHLIB = f"{_LIBRARY}pathlib"
_FINDERS = (
    f"{_LIBRARY}importlib/metadata/__init__.py",
    f"{_LIBRARY}pkgutil.py",
    "-packages/importlib_metadata/__init__.py",
    "-packages/pkg_resources/__init__.py",
)
"""Modules that list folders to find modules and packages."""
_SHOWING = (
    f"{_LIBRARY}warnings.py",
    f"{_LIBRARY}traceback.py",
    "-packages/IPython/core/ultratb.py",
    "-packages/stack_data/core.py",
)
"""Modules that read code to show it."""
_COPYING = (
    f"{_LIBRARY}subprocess.py",
    f"{_LIBRARY}multiprocessing/",
    *(
        f"-packages/{name}/"
        for name in "joblib IPython ipykernel jupyter_client jupyter_core papermill numba setuptools pip git".split()
    ),
)
"""Modules that start programs with all variables."""
_KIND_ONLY = frozenset("exists lexists isfile isdir islink ismount is_file is_dir is_symlink is_mount samefile".split())
_KIND_ONLY_FILES = (f"{_LIBRARY}linecache.py", f"{_LIBRARY}shutil.py")
"""Modules that examine files only to skip work or before opening them: their questions count as existence checks."""
_TIMES_ONLY = frozenset({"getmtime", "getctime", "getatime"})
_SHOWN_WITHIN = 10

IsOwnCode = Callable[[str], bool]


def is_import(frame: Any) -> bool:
    """Tell whether Python's import system opens or lists something."""
    return bool(frame.f_code.co_filename.startswith("<frozen importlib"))


def is_search_for_modules(frame: Any, is_own_code: IsOwnCode) -> bool:
    """Tell whether a folder is listed to find modules or packages, and not for the user's own code."""
    return is_import(frame) or (frame.f_code.co_filename.endswith(_FINDERS) and not asks_for_itself(frame, is_own_code))


def is_pattern(frame: Any) -> bool:
    """Tell whether a folder is listed by `glob` or `pathlib` for a pattern; the pattern itself is logged."""
    for _ in range(5):
        if frame is None:
            return False
        code = frame.f_code
        if code.co_filename == _GLOB or (code.co_filename.startswith(_PATHLIB) and "select" in code.co_name):
            return True
        frame = frame.f_back
    return False


def is_shown(frame: Any) -> bool:
    """Tell whether a source file is read to show its lines in a warning or a traceback."""
    for _ in range(_SHOWN_WITHIN):
        if frame is None:
            return False
        if _shows_code(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def is_copy_for_program(frame: Any, is_own_code: IsOwnCode) -> bool:
    """Tell whether a library, and not the user's own code, copies all variables for a program that it starts."""
    while frame is not None and not is_own_code(frame.f_code.co_filename):
        if any(name in frame.f_code.co_filename for name in _COPYING):
            return True
        frame = frame.f_back
    return False


def asks_for_itself(frame: Any, is_own_code: IsOwnCode) -> bool:
    """Tell whether the user's own code makes the call, directly or through the standard library."""
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and is_own_code(frame.f_code.co_filename)


def is_search_for_packages(frame: Any) -> bool:
    """Tell whether a module that finds packages asks something itself."""
    return bool(frame.f_code.co_filename.endswith(_FINDERS))


def asks_what_is_installed(frame: Any, is_own_code: IsOwnCode) -> bool:
    """Tell whether the user's own code asks, directly, through the standard library or a module that finds packages."""
    while frame is not None and (_is_library(frame.f_code.co_filename) or is_search_for_packages(frame)):
        frame = frame.f_back
    return frame is not None and is_own_code(frame.f_code.co_filename)


def what_is_asked(frame: Any, is_own_code: IsOwnCode) -> str:
    """Return which part of a file's status the code uses: ``kind``, ``size``, ``times`` or ``status`` (all of it).

    Libraries use times only to skip work, so for them the size is enough.
    """
    if frame.f_code.co_filename.startswith(_PATHLIB) and frame.f_code.co_name in ("stat", "lstat"):
        frame = frame.f_back
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    if name in _KIND_ONLY or (file in _KIND_ONLY_FILES and name != "copystat") or is_shown(frame):
        return "kind"
    if name == "getsize" or not asks_for_itself(frame, is_own_code):
        return "size"
    return "times" if name in _TIMES_ONLY else "status"


def is_comparison(frame: Any) -> bool:
    """Tell whether a file is examined to find out whether two names lead to the same file."""
    code = frame.f_code
    if code.co_name == "stat" and code.co_filename.startswith(_PATHLIB):
        code = frame.f_back.f_code
    return bool(code.co_name == "samefile")


def is_logging(frame: Any) -> bool:
    """Tell whether the standard library's `logging` makes the call."""
    return bool(frame.f_code.co_filename.startswith(_LOGGING))


def is_by_library(frame: Any) -> bool:
    """Tell whether a function of the standard library makes the call directly."""
    return _is_library(frame.f_code.co_filename)


@functools.cache
def _shows_code(file: str) -> bool:
    return file.endswith(_SHOWING)


@functools.cache
def _is_library(file: str) -> bool:
    # site-packages lies below the folder of the standard library.
    return file.startswith(("<frozen", _LIBRARY)) and "-packages/" not in file


def caller(depth: int) -> Any:
    """Return the frame that is `depth` above the one that calls this."""
    return sys._getframe(depth + 1)  # noqa: SLF001
