"""Every call that the store makes to the file system fails in turn, and every invariant holds.

After each fault a process that knows nothing of it checks the store: no bytes that are not what they should be are
served (I2), no record is there without its outputs (I3), every run has ended (I5), nothing is left behind (I6); then
the same work is done again and comes to the same digests as it does when nothing goes wrong (I7). What was refused was
reported as one error that names the store and a way out (I8), and what was not refused is there (I1).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import run_program

WRITING = ("put", "keep a run", "gc", "repair", "heal")
MANY_BYTES = ("put", "keep a run", "heal")
ALL = (*WRITING, "put and flush later", "read")
MATRIX = [
    *((scenario, "crash", "once") for scenario in ALL),
    *((scenario, "ENOSPC", "once") for scenario in ALL),
    *((scenario, "ENOSPC", "forever") for scenario in WRITING),
    *((scenario, "EDQUOT", "once") for scenario in WRITING),
    *((scenario, "EROFS", "forever") for scenario in ALL),
    *((scenario, "EMFILE", "once") for scenario in ALL),
    *((scenario, "EMFILE", "forever") for scenario in WRITING),
    *((scenario, "short", "once") for scenario in MANY_BYTES),
    *((scenario, "short", "forever") for scenario in MANY_BYTES),
    *((scenario, "EIO", "once") for scenario in (*WRITING, "read")),
    *((scenario, "EIO", "forever") for scenario in ("keep a run", "gc", "heal", "read")),
]
MATRIX += [
    ("share", "crash", "once"),
    ("share", "ENOSPC", "once"),
    ("take in", "crash", "once"),
    ("take in", "EMFILE", "once"),
    *(("upgrade", kind, "once") for kind in ("crash", "ENOSPC")),
    ("copy", "crash", "once"),
]
"""R31 crash; R33 ENOSPC, EDQUOT, short; R34 EROFS; R35 EIO; R36 EMFILE; R40 read and heal; R42 gc."""


@pytest.mark.parametrize(("scenario", "kind", "how"), MATRIX)
def test_whatever_goes_wrong_nothing_wrong_comes_of_it(scenario: str, kind: str, how: str, quick: Path) -> None:
    """R31 R33 R34 R35 R36 R40 R41: one file operation fails, once or from then on, whichever it is."""
    assert run_program("inject_errors", scenario, kind, how, quick)["wrong"] == []


@pytest.mark.parametrize("scenario", ["in place", "without fsync"])
def test_the_harness_finds_a_writer_that_is_not_atomic(scenario: str, quick: Path) -> None:
    """A writer in place is found out by a crash; a writer that only forgets to fsync is not, which is right."""
    wrong = run_program("inject_errors", scenario, "crash", "once", quick)["wrong"]
    assert bool(wrong) == (scenario == "in place")
    assert all("torn bytes would be served" in violation for violation in wrong)


def test_the_harness_finds_a_writer_that_is_not_atomic_on_a_full_disk(quick: Path) -> None:
    wrong = run_program("inject_errors", "in place", "short", "forever", quick)["wrong"]
    assert any("torn bytes would be served" in violation for violation in wrong)
