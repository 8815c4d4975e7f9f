"""Which processes are certainly no children of a kernel, those that have ended included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_pipelines.execution.kernel_side.tracing.other_kernels import OtherKernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux says which processes there are")


@pytest.fixture
def ended() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a kernel, below that of all kernels of the run."""
    folder = tmp_path / "jp-run" / "1"
    folder.mkdir(parents=True)
    return folder


def test_the_kernel_of_another_step_is_known_when_it_has_ended(folder: Path) -> None:
    program = f"from {OtherKernels.__module__} import OtherKernels; OtherKernels({str(folder)!r})"
    other = subprocess.Popen([sys.executable, "-c", program])
    assert other.wait() == 0
    assert OtherKernels(str(folder)).is_foreign(other.pid)


def test_of_another_process_that_has_ended_nothing_is_known(folder: Path, ended: int) -> None:
    assert not OtherKernels(str(folder)).is_foreign(ended)


def test_a_number_may_be_given_out_again_after_as_many_processes_as_there_are_numbers(folder: Path, ended: int) -> None:
    forks = int(Path("/proc/stat").read_text("ascii").partition("\nprocesses ")[2].split()[0])
    numbers = int(Path("/proc/sys/kernel/pid_max").read_text("ascii"))
    file = folder.parent / "kernels"
    file.write_text(f"{ended} {forks - numbers}\n", "ascii")
    assert not OtherKernels(str(folder)).is_foreign(ended)
    file.write_text(f"{ended} {forks}\n", "ascii")
    assert OtherKernels(str(folder)).is_foreign(ended)


def test_the_kernel_itself_and_its_children_are_its_own(folder: Path) -> None:
    kernels = OtherKernels(str(folder))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert not kernels.is_foreign(os.getpid())
        assert not kernels.is_foreign(child.pid)
        child.communicate(b"\n")


def test_a_kernel_alone_in_its_folder_leaves_no_number(tmp_path: Path) -> None:
    OtherKernels(str(tmp_path / "alone"))
    assert list(tmp_path.iterdir()) == []
