"""Staging of inputs into a step's folder and of outputs out of it, without a kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_pipelines.errors import StepFailed
from jupyter_pipelines.execution.kernel_side.step_io import MANIFEST
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.execution.worker.staging import stage_inputs, stage_outputs
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.blobs import digests
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.serializers import memory_map
from tests.execution.sample_tickets import TicketFactory

LARGE = np.arange(200_000.0)


@pytest.fixture
def factory(tmp_path: Path) -> TicketFactory:
    return TicketFactory(tmp_path)


def left(factory: TicketFactory, **values: Any) -> Path:
    """Return a folder as a step leaves it that has these outputs; texts stand for files, dicts for folders."""
    folder = factory.store.scratch()
    saved = {name: _write_output(folder / "outputs" / name / name, value) for name, value in values.items()}
    (folder / MANIFEST).write_text(json.dumps({"outputs": saved, "warnings": []}))
    return folder


def _write_output(path: Path, value: Any) -> dict[str, Any]:
    path.parent.mkdir(parents=True)
    if isinstance(value, str):
        path.write_text(value)
        return {"kind": "file", "path": str(path)}
    if isinstance(value, dict):
        path.mkdir()
        for name, text in value.items():
            (path / name).write_text(text)
        return {"kind": "folder", "path": str(path)}
    saved = serializers.save(value, path)
    return {"kind": "value", "path": str(path), "mark": saved.mark.to_list()} | saved.artifact.to_dict()


def test_outputs_are_moved_into_the_store(factory: TicketFactory) -> None:
    ticket = factory.ticket("pass", outputs="rows report:file plots:folder")
    folder = left(factory, rows=LARGE, report="hello", plots={"a": "A", "b": "B"})
    inodes = {path.stat().st_ino for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST}
    taken = stage_outputs(ticket, factory.store, folder)
    assert taken.fault is None
    values = factory.values(taken.outputs)
    assert values["rows"].tolist() == LARGE.tolist()
    assert values["report"].read_text() == "hello"
    assert {path.name: path.read_text() for path in values["plots"].iterdir()} == {"a": "A", "b": "B"}
    assert {name: artifact.format for name, artifact in taken.outputs.items()} == {
        "rows": "npy",
        "report": "file",
        "plots": "folder",
    }
    stored = {factory.store.blobs.path(digest).stat().st_ino for digest in factory.store.blobs.digests()}
    assert inodes <= stored
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / MANIFEST]


def test_an_output_that_was_changed_after_it_was_saved_does_not_count(factory: TicketFactory) -> None:
    ticket = factory.ticket("pass", outputs="rows other")
    folder = left(factory, rows=LARGE, other=1)
    with (folder / "outputs" / "rows" / "rows").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    taken = stage_outputs(ticket, factory.store, folder)
    assert taken.fault is not None
    assert taken.fault.code == "JP404"
    assert taken.outputs == {}
    assert list(factory.store.blobs.digests()) == []


def spoiled(factory: TicketFactory, ticket: StepTicket) -> Path:
    """Change the stored input in place, which no program should do."""
    path = factory.store.blobs.path(ticket.inputs["x"]["digest"])
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    return path


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_stored_value_that_changes_while_it_is_mapped_fails_the_step(
    factory: TicketFactory, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem_features, "is_local", lambda device: True)
    ticket = factory.ticket("pass", inputs={"x": LARGE}, outputs="y")
    folder = left(factory, y=1)
    stage_inputs(ticket, factory.store, folder)
    path = spoiled(factory, ticket)
    if how == "gone":
        path.unlink()
    taken = stage_outputs(ticket, factory.store, folder)
    assert taken.fault is not None
    assert taken.fault.code == "JP307"
    assert list(taken.outputs) == []


def test_a_value_that_was_read_at_once_is_no_concern_afterwards(factory: TicketFactory) -> None:
    ticket = factory.ticket("pass", inputs={"x": [1, 2, 3]}, outputs="y")
    folder = left(factory, y=1)
    stage_inputs(ticket, factory.store, folder)
    spoiled(factory, ticket)
    assert stage_outputs(ticket, factory.store, folder).fault is None


def test_a_large_input_is_not_read_for_its_digest_between_steps(
    factory: TicketFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = factory.ticket("pass", outputs="rows")
    taken = stage_outputs(ticket, factory.store, left(factory, rows=LARGE))
    monkeypatch.setattr(digests, "_hash", lambda *args: pytest.fail("read once more"))
    next_ticket = factory.ticket("pass", inputs={"rows": taken.outputs["rows"]}, outputs="y")
    folder = left(factory, y=1)
    given = stage_inputs(next_ticket, factory.store, folder)
    assert given["rows"]["path"] == str(factory.store.blobs.path(taken.outputs["rows"].digest))
    assert memory_map.is_mapped(Path(given["rows"]["path"]).stat())
    assert stage_outputs(next_ticket, factory.store, folder).fault is None


def test_an_input_that_cannot_be_checked_is_not_laid_out(
    factory: TicketFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = factory.ticket("pass", inputs={"x": LARGE}, outputs="y")
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    with pytest.raises(StepFailed, match="blake3") as caught:
        stage_inputs(ticket, factory.store, factory.store.scratch())
    assert caught.value.code == "JP310"


def test_files_of_the_user_are_compared_in_the_way_they_were_digested(
    factory: TicketFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (factory.project / "data.bin").write_bytes(bytes(2 << 20))
    ticket = factory.ticket("pass", inputs={"x": factory.project / "data.bin"}, outputs="y")
    assert stage_outputs(ticket, factory.store, left(factory, y=1)).fault is None
    with monkeypatch.context() as patch:
        # Not to be told here; the run that hands out tickets looks, too.
        patch.setattr(digests, "_blake3", lambda: None)
        assert stage_outputs(ticket, factory.store, left(factory, y=1)).fault is None
    (factory.project / "data.bin").write_bytes(bytes(2 << 20) + b"!")
    diagnostic = stage_outputs(ticket, factory.store, left(factory, y=1)).fault
    assert diagnostic is not None
    assert diagnostic.code == "JP307"
