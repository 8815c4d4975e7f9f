"""The packages that a process has loaded, by top-level name, and the paths that would shadow a module.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing.file_marks import absolute

_INSTALLED = "-packages/"
"""Part of the paths of installed packages (``site-packages``, ``dist-packages``) only."""


class RequestFinder:
    """Finds no module; notes which top-level modules the import system is asked for, also those that are not there.

    No event shows `importlib.util.find_spec`, and imports of modules that are not installed, such as optional
    dependencies of packages; the finder, which is asked first, sees them all.

    Parameters
    ----------
    is_noting : callable
        Tells whether requests count at the moment.
    report : callable
        Takes ``request`` and the name of a module that is asked for, the first time that it is.

    Attributes
    ----------
    names : dict of str to None
        The modules that were asked for.
    """

    def __init__(self, is_noting: Callable[[], bool], report: Callable[[str, str], None]) -> None:
        self.names: dict[str, None] = {}
        self._is_noting = is_noting
        self._report = report

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002 - as it is called
        """Note a module that is in no package, and leave it to the next finder."""
        if path is None and fullname not in self.names and self._is_noting():
            self.names[fullname] = None
            self._report("request", fullname)

    def packages(self) -> list[str]:
        """Return the packages that are loaded or were asked for, by top-level name."""
        return sorted({*_loaded_packages(), *filter(_is_sought, self.names)})


def _is_sought(name: str) -> bool:
    """Tell whether a module that was asked for may be a package, and is not loaded: most are not installed."""
    may_be_package = bool(name) and name.isprintable() and "." not in name and name not in sys.stdlib_module_names
    return may_be_package and not _place(sys.modules.get(name))


def _loaded_packages() -> list[str]:
    """Return the top-level names of the installed packages that are loaded, directly or by other packages."""
    names = sys.stdlib_module_names
    modules = [(name, module) for name, module in list(sys.modules.items()) if "." not in name and name not in names]
    return sorted(name for name, module in modules if _is_installed(name, _place(module)))


def module_origins(imported: Collection[str]) -> dict[str, list[str]]:
    """Return, for modules loaded from given files, the paths that Python tries in order, up to the module's own.

    Parameters
    ----------
    imported : collection of str
        Absolute paths of the files that count.
    """
    origins: dict[str, list[str]] = {}
    if not imported:
        return origins
    folders = [absolute(entry) for entry in sys.path]
    for name, module in list(sys.modules.items()):
        file = absolute(place) if "." not in name and (place := _place(module)) else ""
        if file not in imported:
            continue
        places = [f"{folder}/{name}{ending}" for folder in folders for ending in ("/__init__.py", ".py")]
        if file in places[1:]:
            origins[name] = list(dict.fromkeys(places[: places.index(file) + 1]))
    return origins


def _is_installed(name: str, place: str) -> bool:
    """Tell whether a path is that of an installed package `name`; copies vendored in other packages are not."""
    _, installed, path = place.rpartition(_INSTALLED)
    return bool(installed) and path.partition("/")[0].partition(".")[0] == name


def _place(module: Any) -> str:
    """Return the file or folder of a module, without triggering the import of a lazy module."""
    try:
        names = object.__getattribute__(module, "__dict__")
        path = names.get("__path__", ())
        # The path of a namespace package searches all folders again when it is asked; `_path` holds what it knows.
        return str(names.get("__file__") or next(iter(getattr(path, "_path", path)), ""))
    except (AttributeError, TypeError):
        return ""
