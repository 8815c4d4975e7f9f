"""What a disk may hold after the power has gone: built from the log of what was done to it.

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

Bytes = Literal["kept", "dropped", "zeroed", "torn"]
Entry = tuple


@dataclass
class Node:
    """A file: what programs see, and what is on the disk for sure."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes | None = None

    def after(self, fate: Bytes, chance: random.Random) -> bytes:
        """Return its bytes after the power was gone."""
        if self.durable == bytes(self.content) or fate == "kept":
            return bytes(self.content)
        if fate == "zeroed":
            return bytes(len(self.content))
        if fate == "torn":
            return bytes(self.content[: chance.randrange(len(self.content) + 1)])
        return self.durable or b""


@dataclass
class Change:
    """One change of names that may be undone: what stood there before."""

    folders: frozenset[str]
    before: dict[str, Node | None]


class Disk:
    """Follows a log; can say at any moment what may be left."""

    def __init__(self) -> None:
        self.names: dict[str, Node | None] = {}
        self.pending: list[Change] = []

    def take(self, entry: Entry) -> None:
        """Follow one entry of the log of a :class:`tests.faults.shim.Shim`."""
        kind, path, *more = entry
        if kind in ("create", "mkdir"):
            self._change({path: Node() if kind == "create" else None}, remove=())
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

    def _change(self, made: dict[str, Node | None], remove: Iterable[str]) -> None:
        touched = [*made, *remove]
        before = {name: self.names[name] for name in touched if name in self.names}
        top = min(touched, key=len, default="")
        folders = {
            str(Path(name).parent) for name in touched if not any(_is_in(name, one) and name != one for one in touched)
        }
        for name in remove:
            self.names.pop(name, None)
        self.names.update(made)
        # A name that is new stands in `before` as missing.
        gone = {name: before.get(name, _MISSING) for name in touched}
        self.pending.append(Change(frozenset(folders or {top}), gone))

    def left(self, root: Path, fate: Bytes, chance: random.Random, *, undo: float) -> None:
        """Write to `root` what may be left; each pending change of names is undone with this probability."""
        names = dict(self.names)
        for change in reversed(self.pending):
            if chance.random() < undo:
                _undo(names, change)
        for name, node in sorted(names.items()):
            place = root / name
            if not place.parent.is_dir():
                continue  # the folder it was in is gone
            if node is None:
                place.mkdir(exist_ok=True, mode=0o700)
            elif not place.exists():
                place.write_bytes(node.after(fate, chance))


_MISSING = Node()


def _undo(names: dict[str, Node | None], change: Change) -> None:
    for name, node in change.before.items():
        if node is _MISSING:
            names.pop(name, None)
        else:
            names[name] = node


def _is_in(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")


def states(log: Iterable[Entry], seed: int = 0) -> Iterator[tuple[int, str, Disk, Bytes, float, random.Random]]:
    """Yield for every prefix of the log in how many ways it may be left: what happens to bytes, and to names."""
    disk = Disk()
    for at, entry in enumerate(log):
        disk.take(entry)
        for number, (fate, undo) in enumerate(WAYS):
            yield at, f"{fate}, {undo:.0%} of names undone", disk, fate, undo, random.Random(seed + at * 31 + number)


WAYS: tuple[tuple[Bytes, float], ...] = (
    ("dropped", 0.0),
    ("zeroed", 0.0),
    ("torn", 0.0),
    ("dropped", 1.0),
    ("zeroed", 0.5),
    ("torn", 0.5),
    ("kept", 0.5),
)
