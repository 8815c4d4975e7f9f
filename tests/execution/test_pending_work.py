"""Work that a step leaves unfinished; doubtful cases count as unfinished."""

from __future__ import annotations

import atexit
import io
import logging
import logging.handlers
import os
import subprocess
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.execution.kernel_side import pending_work
from jupyter_pipelines.execution.kernel_side.pending_work import KernelBaseline


class FinalizedObject:
    def __del__(self) -> None:
        pass


class ValueHolder:
    def __init__(self, value: object) -> None:
        self.value = value


def unfinished(before: KernelBaseline, names: dict[str, Any]) -> list[str]:
    """Return what is unfinished, without processes: other tests of this session start some."""
    return [what for what in before.pending_work(names) if what != "processes"]


def generate() -> Iterator[int]:
    yield 1


@pytest.fixture
def before(tmp_path: Path) -> KernelBaseline:
    del tmp_path  # pytest puts it away at its own exit
    return KernelBaseline.now()


def test_nothing_is_unfinished(before: KernelBaseline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    names: dict[str, Any] = {
        "x": 1,
        "text": "x",
        "many": [{"a": [1]}] * 1000,
        "function": generate,
        "kind": FinalizedObject,
    }
    names["itself"] = names
    with (tmp_path / "file").open() as file:
        names |= {"descriptor": file.fileno()}
        assert unfinished(before, names) == []


def test_without_a_look_before_everything_may_be() -> None:
    known, pending_work._KNOWN[:] = list(pending_work._KNOWN), []
    try:
        assert pending_work.pending_work({}) == ["no baseline was recorded"]
    finally:
        pending_work._KNOWN[:] = known


def test_files_that_may_be_written_count(before: KernelBaseline, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert unfinished(before, {}) == ["open files"]
    assert unfinished(before, {}) == []
    read, write = os.pipe()
    assert unfinished(before, {}) == ["open files"]
    for descriptor in (read, write):
        os.close(descriptor)


def test_threads_count(before: KernelBaseline) -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait, daemon=True)
    thread.start()
    assert unfinished(before, {}) == ["threads"]
    event.set()
    thread.join()
    assert unfinished(before, {}) == []


def test_callbacks_at_exit_count(before: KernelBaseline) -> None:
    atexit.register(generate)
    assert unfinished(before, {}) == ["callbacks at exit"]
    atexit.unregister(generate)


def test_finalizers_count(before: KernelBaseline) -> None:
    anchor = ValueHolder(1)
    finalizer = weakref.finalize(anchor, generate)
    assert unfinished(before, {}) == ["callbacks at exit"]
    finalizer.detach()


def test_a_callback_in_place_of_another_counts() -> None:
    first, second = ValueHolder(1), ValueHolder(2)
    old = weakref.finalize(first, generate)
    before = KernelBaseline.now()
    old.detach()
    new = weakref.finalize(second, generate)
    assert unfinished(before, {}) == ["callbacks at exit"]
    new.detach()


def test_handlers_of_logs_count(before: KernelBaseline) -> None:
    handler = logging.handlers.MemoryHandler(99)
    assert unfinished(before, {}) == ["logs"]
    handler.close()
    del handler
    assert unfinished(before, {}) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="seen in /proc alone")
def test_processes_count(before: KernelBaseline) -> None:
    with ExitStack() as stack:
        child = stack.enter_context(subprocess.Popen(["sleep", "600"]))
        stack.callback(child.kill)
        assert "processes" in before.pending_work({})


@pytest.mark.parametrize(
    "value",
    [
        FinalizedObject(),
        [FinalizedObject()],
        {"a": {"b": (FinalizedObject(),)}},
        ValueHolder(ValueHolder([FinalizedObject()])),
        generate(),
        [generate()],
        io.StringIO(),
    ],
    ids=["it", "list", "dict", "object", "generator", "generators", "closable"],
)
def test_what_ends_by_itself_counts_wherever_it_is(before: KernelBaseline, value: object) -> None:
    assert unfinished(before, {"value": value}) == ["objects that end by themselves"]


def test_what_cannot_be_looked_through_in_a_moment_counts(before: KernelBaseline) -> None:
    assert unfinished(before, {"value": [[[]] for _ in range(30_000)]}) == ["objects that end by themselves"]
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert unfinished(before, {"value": deep}) == ["objects that end by themselves"]
