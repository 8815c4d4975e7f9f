"""The folders of the project that the import system searched for modules.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping


class ModuleSearches:
    """Logs which modules were searched for, by folder.

    Parameters
    ----------
    is_own_code : callable
        Tells whether a file holds the user's own code.
    """

    def __init__(self, is_own_code: Callable[[str], bool]) -> None:
        self._is_own_code = is_own_code
        self._searched: dict[str, dict[str, str]] = {}

    def note(self, folder: str, module: str) -> None:
        """Record that a folder was searched for a module, given by its full name."""
        self._searched.setdefault(folder, {})[module] = module.rpartition(".")[2]

    def names(self, others: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Return the names searched for in each folder, without modules that were loaded from packages.

        Parameters
        ----------
        others : Mapping of str to iterable of str
            Folders that other processes searched, each with the names.
        """
        searched = {
            folder: sorted({*self._names_in(folder), *others.get(folder, ())})
            for folder in {**self._searched, **others}
        }
        return {folder: names for folder, names in searched.items() if names}

    def _names_in(self, folder: str) -> list[str]:
        return [name for full, name in self._searched.get(folder, {}).items() if not self._is_installed(full)]

    def _is_installed(self, module: str) -> bool:
        loaded = sys.modules.get(module)
        origin = getattr(getattr(loaded, "__spec__", None), "origin", None)
        return loaded is not None and not (isinstance(origin, str) and self._is_own_code(origin))
