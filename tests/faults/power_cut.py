"""Cut the power after each step of a writer: ``python -m tests.faults.power_cut WRITER FOLDER``.

A process of its own, because what it puts in the place of `os` stays there. It records everything that the writer does
to the disk, builds each state the disk may be in after a power cut, opens the store in that state, checks it, works
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

from jupyter_pipelines.storage.files import local_folder
from tests.faults import writers
from tests.faults.crash_states import WAYS, states
from tests.faults.inject_errors import ask_in_child, check_recovery, warm_up
from tests.faults.scenarios import SCENARIOS, FaultScenario
from tests.faults.syscall_shim import SyscallShim

Verify = Callable[..., list[str]]


def upgrade_after_a_while(root: Path) -> dict[str, str]:
    """Make a store of the older format where there is none, and bring it up to date."""
    if not (root / "format.json").exists():
        SCENARIOS["upgrade"].prepare(root)
    return SCENARIOS["upgrade"].work(root)


WRITERS: dict[str, tuple[Callable[[Path], dict], Verify]] = {
    "put": (SCENARIOS["put"].work, writers.wrongly_served),
    "put and flush later": (SCENARIOS["put and flush later"].work, writers.wrongly_served),
    "keep a run": (SCENARIOS["keep a run"].work, writers.wrongly_served),
    "upgrade": (upgrade_after_a_while, writers.wrongly_served),
    "by local folder": (partial(writers.write_twice, writers.by_local_folder), writers.torn_bytes),
    "in place": (partial(writers.write_twice, writers.in_place), writers.torn_bytes),
    "without fsync": (partial(writers.write_twice, writers.without_fsync), writers.torn_bytes),
}
BATCH = 40


def main(name: str, folder: str) -> None:
    local_folder._MAX_THREADS = 1
    work, verify = WRITERS[name]
    sys.stdout.write(json.dumps(cut(FaultScenario(work), Path(folder), verify)))


def cut(scenario: FaultScenario, folder: Path, verify: Verify) -> dict:
    """Record, cut everywhere, and return the count of states and the violations."""
    warm_up(scenario, folder / "warm", verify)
    store = folder / "disk" / "store"
    log, expected = recorded(scenario, store, folder / "log")
    total, wrong = len(log) * len(WAYS), []
    for start in range(0, total, BATCH):
        which = range(start, min(start + BATCH, total))
        wrong += ask_in_child(partial(check_states, scenario, folder, log, which, expected, verify))
    return {"faults": total, "answers": {"entries": len(log)}, "wrong": wrong}


def recorded(scenario: FaultScenario, store: Path, result: Path) -> tuple[list, dict]:
    """Work once in a child with everything written down; names are relative to the folder that the store is in."""
    store.parent.mkdir(parents=True)

    def work() -> list[str]:
        shim = SyscallShim(str(store.parent), log=[]).install()
        digests = scenario.work(store)
        entries = [[packed(part, store.parent) for part in entry] for entry in shim.log or []]
        result.write_text(json.dumps([entries, digests]))
        return []

    assert ask_in_child(work) == []
    entries, digests = json.loads(result.read_text())
    return [unpacked(entry) for entry in entries], digests


def packed(part: object, folder: Path) -> object:
    """Return a part of an entry as JSON can hold it."""
    if isinstance(part, bytes):
        return part.hex()
    return os.path.relpath(part, folder) if isinstance(part, str) and part.startswith("/") else part


def unpacked(entry: list) -> tuple:
    return (*entry[:3], bytes.fromhex(entry[3])) if entry[0] == "write" else tuple(entry)


def check_states(
    scenario: FaultScenario, folder: Path, log: list, which: range, expected: dict, verify: Verify
) -> list[str]:
    """Build some of the states and check each."""
    wrong = []
    for number, (at, what, disk, fate, undo, chance) in enumerate(states(log)):
        if number in which:
            here = folder / f"state{os.getpid()}"
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            disk.left(here, fate, random.Random(chance.random()), undo=undo)
            lost = writers.lost_results(here / "store", expected) if at + 1 == len(log) else []
            violations = lost + check_recovery(here / "store", scenario, expected, verify)
            wrong += [f"after {at} {log[at][:2]}, {what}: {violation}" for violation in violations]
            shutil.rmtree(here)
    return wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
