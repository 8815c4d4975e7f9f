"""Cuts the power after each step of a writer: ``python -m tests.faults.cut WRITER FOLDER``.

A process of its own, because what it puts in the place of `os` stays there. It records everything that the writer does
to the disk, builds each state the disk may be in after a power cut, opens the store in that state, looks at it, works
again, and compares.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jupyter_pipelines.storing import door
from tests.faults import writers
from tests.faults.loop import asked, judged, warm_up
from tests.faults.power import WAYS, states
from tests.faults.scenes import SCENES, Scene
from tests.faults.shim import Shim

Verify = Callable[..., list[str]]
WRITERS: dict[str, tuple[Callable[[Path], dict], Verify]] = {
    "put": (SCENES["put"].work, writers.served),
    "put and settle later": (SCENES["put and settle later"].work, writers.served),
    "keep a run": (SCENES["keep a run"].work, writers.served),
    "by the door": (partial(writers.working, writers.by_the_door), writers.believed),
    "in place": (partial(writers.working, writers.in_place), writers.believed),
    "without fsync": (partial(writers.working, writers.without_fsync), writers.believed),
}
BATCH = 40


def main(name: str, folder: str) -> None:
    door._AT_ONCE = 1
    work, verify = WRITERS[name]
    sys.stdout.write(json.dumps(cut(Scene(work), Path(folder), verify)))


def cut(scene: Scene, folder: Path, verify: Verify) -> dict:
    """Record, cut everywhere, and return the count of states and what was found wrong."""
    warm_up(scene, folder / "warm", verify)
    store = folder / "disk" / "store"
    log, expected = recorded(scene, store, folder / "log")
    total, wrong = len(log) * len(WAYS), []
    for start in range(0, total, BATCH):
        which = range(start, min(start + BATCH, total))
        wrong += asked(partial(look, scene, folder, log, which, expected, verify))
    return {"faults": total, "answers": {"entries": len(log)}, "wrong": wrong}


def recorded(scene: Scene, store: Path, result: Path) -> tuple[list, dict]:
    """Work once in a child with everything written down; names are relative to the folder that the store is in."""
    store.parent.mkdir(parents=True)

    def work() -> list[str]:
        shim = Shim(str(store.parent), log=[]).install()
        digests = scene.work(store)
        entries = [[packed(one, store.parent) for one in entry] for entry in shim.log or []]
        result.write_text(json.dumps([entries, digests]))
        return []

    assert asked(work) == []
    entries, digests = json.loads(result.read_text())
    return [unpacked(entry) for entry in entries], digests


def packed(part: object, folder: Path) -> object:
    """Return a part of an entry as JSON can hold it."""
    if isinstance(part, bytes):
        return part.hex()
    return os.path.relpath(part, folder) if isinstance(part, str) and part.startswith("/") else part


def unpacked(entry: list) -> tuple:
    return (*entry[:3], bytes.fromhex(entry[3])) if entry[0] == "write" else tuple(entry)


def look(scene: Scene, folder: Path, log: list, which: range, expected: dict, verify: Verify) -> list[str]:
    """Build some of the states and look at each."""
    wrong = []
    for number, (at, what, disk, fate, undo, chance) in enumerate(states(log)):
        if number in which:
            here = folder / f"state{os.getpid()}"
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            disk.left(here, fate, random.Random(chance.random()), undo=undo)
            lost = writers.lost(here / "store", expected) if at + 1 == len(log) else []
            found = lost + judged(here / "store", scene, expected, verify)
            wrong += [f"after {at} {log[at][:2]}, {what}: {one}" for one in found]
            shutil.rmtree(here)
    return wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
