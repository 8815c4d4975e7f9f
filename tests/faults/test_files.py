"""Every call that the store makes to the file system goes wrong in turn, and nothing wrong comes of it.

After each fault a process that knows nothing of it looks at the store: no bytes that are not what they should be are
served (I2), no record is there without its outputs (I3), every run has ended (I5), nothing is left behind (I6); then
the same work is done again and comes to the same digests as it does when nothing goes wrong (I7). What was refused was
told as one error that names the store and a way out (I8), and what was not refused is there (I1).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.running import answer

WRITING = ("put", "keep a run", "gc", "repair", "heal")
MANY_BYTES = ("put", "keep a run", "heal")
ALL = (*WRITING, "put and settle later", "read")
MATRIX = [
    *((scene, "crash", "once") for scene in ALL),
    *((scene, "ENOSPC", "once") for scene in ALL),
    *((scene, "ENOSPC", "forever") for scene in WRITING),
    *((scene, "EDQUOT", "once") for scene in WRITING),
    *((scene, "EROFS", "forever") for scene in ALL),
    *((scene, "EMFILE", "once") for scene in ALL),
    *((scene, "EMFILE", "forever") for scene in WRITING),
    *((scene, "short", "once") for scene in MANY_BYTES),
    *((scene, "short", "forever") for scene in MANY_BYTES),
    *((scene, "EIO", "once") for scene in (*WRITING, "read")),
    *((scene, "EIO", "forever") for scene in ("keep a run", "gc", "heal", "read")),
]
MATRIX += [
    ("share", "crash", "once"),
    ("share", "ENOSPC", "once"),
    ("take in", "crash", "once"),
    ("take in", "EMFILE", "once"),
]
"""R31 crash; R33 ENOSPC, EDQUOT, short; R34 EROFS; R35 EIO; R36 EMFILE; R40 read and heal; R42 gc."""


@pytest.mark.parametrize(("scene", "kind", "how"), MATRIX)
def test_whatever_goes_wrong_nothing_wrong_comes_of_it(scene: str, kind: str, how: str, quick: Path) -> None:
    """R31 R33 R34 R35 R36 R40 R41: one file operation fails, once or from then on, whichever it is."""
    assert answer("loop", scene, kind, how, quick)["wrong"] == []


@pytest.mark.parametrize("scene", ["in place", "without fsync"])
def test_the_harness_finds_a_writer_that_is_not_atomic(scene: str, quick: Path) -> None:
    """A writer in place is found out by a crash; one that only forgets to fsync is not, which is right."""
    wrong = answer("loop", scene, "crash", "once", quick)["wrong"]
    assert bool(wrong) == (scene == "in place")
    assert all("torn bytes would be served" in one for one in wrong)


def test_the_harness_finds_a_writer_that_is_not_atomic_on_a_full_disk(quick: Path) -> None:
    wrong = answer("loop", "in place", "short", "forever", quick)["wrong"]
    assert any("torn bytes would be served" in one for one in wrong)
