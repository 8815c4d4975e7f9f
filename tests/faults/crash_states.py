"""What a disk may hold after a power cut, built from the log of what was done to it.

The model is the weakest that POSIX allows. Bytes are on the disk when their file was fsynced, names when their folder
was. Everything else may be there or not: bytes dropped, or zeros in their place; a name made, removed or moved, or as
it was before. A move is undone as a whole or not at all, as every file system with a journal does.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ByteFate = Literal["kept", "dropped", "zeroed", "torn"]
LogEntry = tuple


@dataclass
class DiskFile:
    """A file: what programs see, and what is on the disk for sure."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes | None = None

    def after(self, fate: ByteFate, chance: random.Random) -> bytes:
        """Return its bytes after the power was gone."""
        if self.durable == bytes(self.content) or fate == "kept":
            return bytes(self.content)
        if fate == "zeroed":
            return bytes(len(self.content))
        if fate == "torn":
            return bytes(self.content[: chance.randrange(len(self.content) + 1)])
        return self.durable or b""


@dataclass
class NameChange:
    """One change of names that may be undone: what stood there before."""

    folders: frozenset[str]
    before: dict[str, DiskFile | None]


class SimulatedDisk:
    """Replays a log and builds the states that a power cut may leave."""

    def __init__(self) -> None:
        self.names: dict[str, DiskFile | None] = {}
        self.pending: list[NameChange] = []

    def take(self, entry: LogEntry) -> None:
        """Replay an entry of the log of a :class:`tests.faults.syscall_shim.SyscallShim`."""
        kind, path, *more = entry
        if kind in ("create", "mkdir"):
            self._change({path: DiskFile() if kind == "create" else None}, remove=())
        elif kind in ("unlink", "rmdir"):
            self._change({}, remove=[path])
        elif kind == "rename":
            moved = {more[0] + name[len(path) :]: node for name, node in self.names.items() if _is_in(name, path)}
            self._change(moved, remove=[name for name in self.names if _is_in(name, path)])
        elif kind == "fsync":
            self._settle(path)
        elif kind in ("write", "ftruncate"):
            self._write(path, kind, more)

    def _write(self, path: str, kind: str, more: list) -> None:
        node = self.names.get(path)
        if node is None:
            return
        if kind == "write":
            start, data = more
            node.content[start : start + len(data)] = data
        else:
            del node.content[more[0] :]

    def _settle(self, path: str) -> None:
        node = self.names.get(path)
        if node is not None:
            node.durable = bytes(node.content)
        else:
            self.pending = [change for change in self.pending if path not in change.folders]

    def _change(self, made: dict[str, DiskFile | None], remove: Iterable[str]) -> None:
        touched = [*made, *remove]
        before = {name: self.names[name] for name in touched if name in self.names}
        top = min(touched, key=len, default="")
        folders = {
            str(Path(name).parent)
            for name in touched
            if not any(_is_in(name, folder) and name != folder for folder in touched)
        }
        for name in remove:
            self.names.pop(name, None)
        self.names.update(made)
        # A name that is new stands in `before` as missing.
        gone = {name: before.get(name, _MISSING) for name in touched}
        self.pending.append(NameChange(frozenset(folders or {top}), gone))

    def left(self, root: Path, fate: ByteFate, chance: random.Random, *, undo: float) -> None:
        """Write to `root` what may be left; each pending change of names is undone with this probability."""
        names = dict(self.names)
        for change in reversed(self.pending):
            if chance.random() < undo:
                _undo(names, change)
        for name, node in sorted(names.items()):
            path = root / name
            if not path.parent.is_dir():
                continue  # the folder it was in is gone
            if node is None:
                path.mkdir(exist_ok=True, mode=0o700)
            elif not path.exists():
                path.write_bytes(node.after(fate, chance))


_MISSING = DiskFile()


def _undo(names: dict[str, DiskFile | None], change: NameChange) -> None:
    for name, node in change.before.items():
        if node is _MISSING:
            names.pop(name, None)
        else:
            names[name] = node


def _is_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")


def states(
    log: Iterable[LogEntry], seed: int = 0
) -> Iterator[tuple[int, str, SimulatedDisk, ByteFate, float, random.Random]]:
    """Yield for every prefix of the log in how many ways it may be left: what happens to bytes, and to names."""
    disk = SimulatedDisk()
    for at, entry in enumerate(log):
        disk.take(entry)
        for number, (fate, undo) in enumerate(WAYS):
            yield at, f"{fate}, {undo:.0%} of names undone", disk, fate, undo, random.Random(seed + at * 31 + number)


WAYS: tuple[tuple[ByteFate, float], ...] = (
    ("dropped", 0.0),
    ("zeroed", 0.0),
    ("torn", 0.0),
    ("dropped", 1.0),
    ("zeroed", 0.5),
    ("torn", 0.5),
    ("kept", 0.5),
)
