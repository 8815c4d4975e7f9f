"""Cut the power after each step of a writer: the disk keeps what it must and some of the rest."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.crash_states import SimulatedDisk
from tests.faults.harness import run_program


@pytest.mark.parametrize("writer", ["put", "put and flush later", "keep a run", "upgrade", "by local folder"])
def test_after_a_power_cut_nothing_wrong_is_served_and_a_rerun_completes(writer: str, quick: Path) -> None:
    """R32: never wrong or torn bytes, never a run that seems to go on; what was reported as durable is there."""
    assert run_program("power_cut", writer, quick)["wrong"] == []


@pytest.mark.parametrize("writer", ["in place", "without fsync"])
def test_the_simulator_finds_writers_that_do_not_wait_for_the_disk(writer: str, quick: Path) -> None:
    wrong = run_program("power_cut", writer, quick)["wrong"]
    assert any("torn bytes would be served" in violation for violation in wrong)


def state_after(log: list[tuple], tmp_path: Path, fate: str, undo: float) -> dict[str, bytes]:
    disk = SimulatedDisk()
    for entry in log:
        disk.take(entry)
    disk.left(tmp_path, fate, random.Random(0), undo=undo)  # type: ignore[arg-type]
    return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


WRITTEN = [("mkdir", "d"), ("fsync", "."), ("create", "d/part"), ("write", "d/part", 0, b"bytes")]


def test_bytes_that_were_waited_for_are_kept(tmp_path: Path) -> None:
    log = [*WRITTEN, ("fsync", "d/part"), ("rename", "d/part", "d/value"), ("fsync", "d")]
    assert state_after(log, tmp_path, "dropped", 1.0) == {"d/value": b"bytes"}


def test_bytes_that_were_not_waited_for_are_lost(tmp_path: Path) -> None:
    log = [*WRITTEN, ("rename", "d/part", "d/value"), ("fsync", "d")]
    assert state_after(log, tmp_path, "zeroed", 1.0) == {"d/value": bytes(5)}


def test_a_name_that_was_not_waited_for_is_as_it_was(tmp_path: Path) -> None:
    log = [*WRITTEN, ("fsync", "d/part"), ("fsync", "d"), ("rename", "d/part", "d/value")]
    assert state_after(log, tmp_path, "dropped", 1.0) == {"d/part": b"bytes"}
