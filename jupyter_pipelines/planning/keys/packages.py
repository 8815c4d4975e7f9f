"""Versions of installed packages by import name, for the requested names.

A step's key holds the versions of the packages it imports. So a package is looked up where Python would import it from,
and then:

- the file belongs to an installed distribution (its ``RECORD`` lists it): the version is enough, unless it was
  installed from a folder, an archive or a repository, where the same version may mean other files: then their
  checksums count, too;
- no distribution owns the file (an editable install, ``PYTHONPATH``, a file put there by hand): its sources count, and
  the sources of everything else without an owner that it imports;
- it is not there: ``not installed``.

``importlib.metadata.packages_distributions`` reads every distribution with an e-mail parser (0.12 s for 170 of them)
and knows no editable installs; one pass over the ``RECORD`` files takes a tenth of that, so nothing has to be
remembered from one plan to the next, and nothing remembered can be stale.

Nothing but the standard library is imported: other interpreters run this file as a script, see :mod:`.environment`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MISSING = "not installed"
STANDARD = "standard library"
_HEXDIGITS = 16
# Bytes: larger files, such as compiled libraries, are told apart by status and not by content.
_LARGE = 16 << 20
_SITES = ("site-packages", "dist-packages")
_ENDINGS = (".dist-info", ".egg-info")
_COMPILED = (".pyc", ".pyo")
_FIELD = re.compile(rb"^Version:[ \t]*([^\r\n]+)", re.MULTILINE)
_IMPORT = re.compile(
    rb"(?:^|[;:])[ \t]*(?:from[ \t]+([A-Za-z_\x80-\xff][\w\x80-\xff]*)|import[ \t]+([^#;\r\n]+))", re.MULTILINE
)
_NAME = re.compile(r"[^\W\d]\w*")
_REQUIREMENT = re.compile(rb"^Requires-Dist:[ \t]*([\w.-]+)([^\r\n]*)", re.MULTILINE)
OF_KERNELS = {
    **{
        name: name.replace("_", "-").lower()
        for name in """
        IPython ipykernel traitlets jedi parso tornado pygments prompt_toolkit decorator comm psutil jupyter_client
        jupyter_core jupyter_pipelines six matplotlib_inline stack_data executing asttokens pure_eval wcwidth pexpect
        ptyprocess platformdirs nest_asyncio debugpy packaging typing_extensions ipywidgets exceptiongroup
        cloudpickle msgpack threadpoolctl
        """.split()
    },
    "dateutil": "python-dateutil",
    "zmq": "pyzmq",
    **dict.fromkeys(("sitecustomize", "usercustomize", "_distutils_hack"), ""),
}
"""Distributions that every kernel loads, by import name; they count where a step uses or a package requires them."""


class InstalledDistribution(NamedTuple):
    """An installed distribution.

    Parameters
    ----------
    name : str
        Its name, as its folder spells it.
    folder : Path
        Its ``.dist-info`` or ``.egg-info``, or the file in place of such a folder.
    """

    name: str
    folder: Path

    @property
    def version(self) -> str:
        """Its version, from its metadata."""
        for name in ("METADATA", "PKG-INFO", ""):
            match = _FIELD.search(self.read(name))
            if match:
                return match.group(1).decode("utf-8", "replace").strip()
        return "of unknown version"

    def read(self, name: str) -> bytes:
        """Return the content of a file of its metadata; empty if there is none."""
        with contextlib.suppress(OSError):
            return (self.folder / name).read_bytes()
        return b""

    def describe(self) -> str:
        """Return its version, with a checksum of its files where the version alone says too little."""
        # Present for installations from a folder, an archive or a repository: their version may stay the same.
        if not self.read("direct_url.json"):
            return self.version
        return f"{self.version} (files {_short(_checksums(self.read('RECORD')))})"


class ImportOrigin(NamedTuple):
    """The origin of an import name: file or folder, the folder it was found in, and its path from there."""

    path: Path
    base: Path
    relative: str


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of the package of every import name, as this Python would import it now."""
    # Finders cache the contents of folders: a package installed a moment ago would not be found.
    importlib.invalidate_caches()
    search = _DistributionSearch()
    return {name: search.describe(name) for name in names}


class _DistributionSearch:
    """A search in the installed distributions; every folder and file is read once."""

    def __init__(self) -> None:
        self._shelves: dict[Path, list[tuple[InstalledDistribution, bytes]]] = {}
        self._sources: dict[str, list[ImportOrigin]] = {}

    def describe(self, name: str) -> str:
        if is_standard(name):
            return STANDARD
        sources = self._locate(name)
        if not sources:
            return MISSING
        owners = self._owners(name)
        if owners is None:
            return self._unowned(name)
        if len(owners) == 1:
            return owners[0].describe()
        return ", ".join(sorted(f"{owner.name} {owner.describe()}" for owner in owners))

    def _locate(self, name: str) -> list[ImportOrigin]:
        if name not in self._sources:
            self._sources[name] = list(_locate(name))
        return self._sources[name]

    def _owners(self, name: str) -> list[InstalledDistribution] | None:
        """Return the distributions that `name` belongs to; None when a part of it belongs to no distribution."""
        owners_by_folder: dict[Path, InstalledDistribution] = {}
        for source in self._locate(name):
            # Eggs and packages of Debian have no line in a `RECORD`: they are found by their names.
            owners = self._recorded(source) or (self._named(name, source) if _is_site(source.base) else [])
            if not owners:
                return None
            owners_by_folder.update((owner.folder, owner) for owner in owners)
        return list(owners_by_folder.values())

    def _recorded(self, source: ImportOrigin) -> list[InstalledDistribution]:
        record_line = _record_line(source)
        return [distribution for distribution, record in self._distributions_in(source.base) if record_line in record]

    def _named(self, name: str, source: ImportOrigin) -> list[InstalledDistribution]:
        distributions = [distribution for distribution, _ in self._distributions_in(source.base)]
        by_content = [
            distribution
            for distribution in distributions
            if name in distribution.read("top_level.txt").decode("utf-8", "replace").split()
        ]
        return by_content or [
            distribution
            for distribution in distributions
            if _normalized_name(distribution.name) == _normalized_name(name)
        ]

    def _distributions_in(self, base: Path) -> list[tuple[InstalledDistribution, bytes]]:
        if base not in self._shelves:
            # A newline before the first line, so that every line can be searched with its beginning.
            self._shelves[base] = [
                (distribution, b"\n" + distribution.read("RECORD")) for distribution in _distributions(base)
            ]
        return self._shelves[base]

    def _unowned(self, name: str) -> str:
        named = {
            distribution.folder: distribution
            for source in self._locate(name)
            for distribution in self._named(name, source)
        }
        sources = f"sources {_short(self._closure(name))}"
        return f"{', '.join(distribution.version for distribution in named.values())} ({sources})" if named else sources

    def _closure(self, name: str) -> list[str]:
        """Return checksums of `name` and of all it imports, however far, until something installed is reached."""
        contents: dict[str, str] = {}
        pending = [name]
        while pending:
            module = pending.pop()
            if module in contents or is_standard(module):
                continue
            if self._locate(module) and self._owners(module) is None:
                contents[module], imported = _read(self._locate(module))
                pending.extend(imported)
            else:
                contents[module] = self.describe(module)
        return [f"{module} {content}" for module, content in sorted(contents.items())]

    def required(self, name: str) -> list[str]:
        """Return the import names of the kernel's own packages that the distributions of `name` require."""
        texts = [owner.read("METADATA") for owner in self._owners(name) or () if not is_standard(name)]
        distributions = {
            _normalized_name(distribution.decode("ascii", "replace"))
            for text in texts
            for distribution, marker in _REQUIREMENT.findall(text)
            # Requirements of extras are optional: nothing tells whether they were installed for this package.
            if b"extra" not in marker
        }
        return sorted(module for module, distribution in OF_KERNELS.items() if distribution in distributions)


def is_standard(name: str) -> bool:
    """Tell whether `name` is a module of the standard library."""
    return name in sys.builtin_module_names or name in getattr(sys, "stdlib_module_names", ())


def _locate(name: str) -> Iterator[ImportOrigin]:
    spec = _find_spec(name)
    if spec is None:
        return
    origin = spec.origin if spec.has_location else None
    archive = getattr(spec.loader, "archive", None)
    if archive:
        yield _source(Path(archive))
    elif origin and spec.submodule_search_locations is not None:
        folder, file = Path(origin).parent, Path(origin).name
        yield ImportOrigin(folder, folder.parent, f"{folder.name}/{file}")
    elif origin:
        yield _source(Path(origin))
    else:
        # A namespace package has no origin, and may lie in several folders: all of them count.
        yield from (_source(path) for path in map(Path, spec.submodule_search_locations or ()) if path.is_dir())


def _source(path: Path) -> ImportOrigin:
    return ImportOrigin(path, path.parent, path.name + ("/" if path.is_dir() else ""))


def _find_spec(name: str) -> Any:
    """Return where a fresh interpreter would find `name`, whatever this interpreter has loaded under it."""
    # Not `importlib.util.find_spec`: it returns the spec of a loaded module, and raises for one without a spec.
    for finder in sys.meta_path:
        # A finder that an editable install has left behind may fail: others still have to be asked.
        with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
            spec = finder.find_spec(name, None)
            if spec is not None:
                return spec
    return None


def _record_line(source: ImportOrigin) -> bytes:
    # A comma ends a path in a `RECORD`: without it, `a.py` would be found in `a.pyi`.
    end = "" if source.relative.endswith("/") else ","
    return f"\n{source.relative}{end}".encode("utf-8", "replace")


def _distributions(base: Path) -> list[InstalledDistribution]:
    with contextlib.suppress(OSError):
        paths = sorted(base.iterdir())
        distributions = [InstalledDistribution(_stem(path), path) for path in paths if path.name.endswith(_ENDINGS)]
        return distributions + [InstalledDistribution(_stem(base), path) for path in paths if path.name == "EGG-INFO"]
    return []


def _stem(path: Path) -> str:
    return path.name.rpartition(".")[0].split("-")[0]


def _is_site(base: Path) -> bool:
    return base.name in _SITES or base.name.endswith(".egg")


def _normalized_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _checksums(record: bytes) -> list[str]:
    """Return the lines of a ``RECORD`` for files of the package itself, without those of its installation."""
    lines = record.decode("utf-8", "replace").splitlines()
    return sorted(line for line in lines if not line.startswith(("..", "/")) and not _is_install_metadata(line))


def _is_install_metadata(line: str) -> bool:
    return ".dist-info/" in line or "__pycache__/" in line


def _read(sources: Sequence[ImportOrigin]) -> tuple[str, set[str]]:
    """Return a checksum of all files of `sources`, and the top-level names that the Python files import."""
    lines: list[str] = []
    imported: set[str] = set()
    for source in sources:
        for path in _files(source.path):
            content = _content(path)
            lines.append(f"{os.path.relpath(path, source.base)} {_content_digest(path, content)}")
            if path.suffix == ".py":
                imported.update(_imports(content or b""))
    return _short(lines), imported


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        # Sorted in place, as `os.walk` descends in this order: checksums must not depend on that of the file system.
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        names = sorted(name for name in files if not name.startswith(".") and not name.endswith(_COMPILED))
        yield from (Path(folder) / name for name in names)


def _content(path: Path) -> bytes | None:
    """Return the content of a file; None if it is too large to be read for every plan, or cannot be read."""
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size <= _LARGE:
            return path.read_bytes()
    return None


def _content_digest(path: Path, content: bytes | None) -> str:
    if content is not None:
        return hashlib.sha256(content).hexdigest()
    with contextlib.suppress(OSError):
        status = path.stat()
        return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return "unreadable"


def _imports(content: bytes) -> Iterator[str]:
    for source, plain_imports in _IMPORT.findall(content):
        for clause in (source or plain_imports).decode("utf-8", "replace").split(","):
            match = _NAME.match(clause.strip())
            if match:
                yield match.group()


def _short(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:_HEXDIGITS]


def answer(names: Sequence[str]) -> Mapping[str, Any]:
    """Return the document that another interpreter reads: minor version, package versions, and what these require."""
    importlib.invalidate_caches()
    search = _DistributionSearch()
    return {
        "python": python(),
        "versions": {name: search.describe(name) for name in names},
        "required": {name: search.required(name) for name in names},
    }


def python() -> str:
    """Return the minor version of this Python, with its name unless it is CPython."""
    number = ".".join(str(part) for part in sys.version_info[:2])
    return number if sys.implementation.name == "cpython" else f"{sys.implementation.name} {number}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(sys.argv[1:])))
