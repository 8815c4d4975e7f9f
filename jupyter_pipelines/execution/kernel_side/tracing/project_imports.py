"""Import the modules of a project from source only, never from ``.pyc`` files.

Python takes a ``.pyc`` file for current by modification time (in seconds) and size of its source: after an edit within
the same second that keeps the size, the old code would run.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import ModuleType
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import CountedPaths
from jupyter_pipelines.execution.kernel_side.tracing.file_marks import absolute


class ProjectFinder(FileFinder):
    """Finds modules in a folder, and reports each module that is searched for there."""

    note: Callable[[str, str], None]

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Look for a module, as the base class does."""
        self.note(self.path, fullname)
        return super().find_spec(fullname, target)


class SourceOnlyLoader(SourceFileLoader):
    """Loads a module from its source; neither reads nor writes bytecode files."""

    def path_stats(self, path: Any) -> Any:
        """Refuse: without the source's time, Python neither reads nor writes compiled code."""
        raise OSError(f"the compiled code of {path} is not used")


def install(
    paths: CountedPaths, note_search: Callable[[str, str], None], note_path_entry: Callable[[str], None]
) -> None:
    """Install the path hook that imports modules of the project from source.

    Parameters
    ----------
    paths : CountedPaths
        Tells what is in the project.
    note_search : callable
        Takes a folder of the project and a module that is looked for in it.
    note_path_entry : callable
        Takes a path of the project that modules may be found in; it need not be there.
    """
    loaders = (
        (ExtensionFileLoader, list(EXTENSION_SUFFIXES)),
        (SourceOnlyLoader, list(SOURCE_SUFFIXES)),
        (SourcelessFileLoader, list(BYTECODE_SUFFIXES)),
    )

    def hook(path: str) -> FileFinder:
        folder = path or os.getcwd()
        if paths.path_of(os.path.abspath(folder)) is None or not paths.inside(os.path.abspath(folder)):
            raise ImportError(f"{path} is not in the project")
        # Noted before it is known to exist: that a folder of `sys.path` is missing is an answer, too.
        note_path_entry(os.path.abspath(folder))
        if not os.path.isdir(folder):
            raise ImportError(f"{path} is not a folder")
        finder = ProjectFinder(os.path.abspath(folder), *loaders)
        finder.note = note_search
        return finder

    sys.path_hooks.insert(0, hook)
    # Hooks are asked only for entries without a cached finder.
    for entry in list(sys.path_importer_cache):
        if paths.inside(absolute(entry or ".")):
            del sys.path_importer_cache[entry]
