"""What goes into a step's folder and what is taken out of it, without a kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_pipelines.errors import StepFailed
from jupyter_pipelines.running.inside import MANIFEST
from jupyter_pipelines.running.settling import lay_out, take
from jupyter_pipelines.running.ticket import Ticket
from jupyter_pipelines.storing import digests, disks, serializers
from jupyter_pipelines.storing.serializers import mapped
from tests.running.tickets import Workshop

LARGE = np.arange(200_000.0)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def left(shop: Workshop, **values: Any) -> Path:
    """Return a folder as a step leaves it that has these outputs; texts stand for files, dicts for folders."""
    folder = shop.store.scratch()
    saved = {name: _left_one(folder / "outputs" / name / name, value) for name, value in values.items()}
    (folder / MANIFEST).write_text(json.dumps({"outputs": saved, "warnings": []}))
    return folder


def _left_one(path: Path, value: Any) -> dict[str, Any]:
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


def test_outputs_are_moved_into_the_store(shop: Workshop) -> None:
    ticket = shop.ticket("pass", outputs="rows report:file plots:folder")
    folder = left(shop, rows=LARGE, report="hello", plots={"a": "A", "b": "B"})
    inodes = {path.stat().st_ino for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST}
    taken = take(ticket, shop.store, folder)
    assert taken.fault is None
    found = shop.values(taken.outputs)
    assert found["rows"].tolist() == LARGE.tolist()
    assert found["report"].read_text() == "hello"
    assert {path.name: path.read_text() for path in found["plots"].iterdir()} == {"a": "A", "b": "B"}
    assert {name: one.format for name, one in taken.outputs.items()} == {
        "rows": "npy",
        "report": "file",
        "plots": "folder",
    }
    stored = {shop.store.blobs.path(digest).stat().st_ino for digest in shop.store.blobs.digests()}
    assert inodes <= stored
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / MANIFEST]


def test_an_output_that_was_changed_after_it_was_saved_does_not_count(shop: Workshop) -> None:
    ticket = shop.ticket("pass", outputs="rows other")
    folder = left(shop, rows=LARGE, other=1)
    with (folder / "outputs" / "rows" / "rows").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    taken = take(ticket, shop.store, folder)
    assert taken.fault is not None
    assert taken.fault.code == "JP404"
    assert taken.outputs == {}
    assert list(shop.store.blobs.digests()) == []


def spoiled(shop: Workshop, ticket: Ticket) -> Path:
    """Change the stored input in place, as nobody should."""
    path = shop.store.blobs.path(ticket.inputs["x"]["digest"])
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    return path


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_stored_value_that_changes_while_it_is_mapped_fails_the_step(
    shop: Workshop, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "is_local", lambda device: True)
    ticket = shop.ticket("pass", inputs={"x": LARGE}, outputs="y")
    folder = left(shop, y=1)
    lay_out(ticket, shop.store, folder)
    path = spoiled(shop, ticket)
    if how == "gone":
        path.unlink()
    taken = take(ticket, shop.store, folder)
    assert taken.fault is not None
    assert taken.fault.code == "JP307"
    assert list(taken.outputs) == []


def test_a_value_that_was_read_at_once_is_no_concern_afterwards(shop: Workshop) -> None:
    ticket = shop.ticket("pass", inputs={"x": [1, 2, 3]}, outputs="y")
    folder = left(shop, y=1)
    lay_out(ticket, shop.store, folder)
    spoiled(shop, ticket)
    assert take(ticket, shop.store, folder).fault is None


def test_a_large_input_is_not_read_for_its_digest_between_steps(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = shop.ticket("pass", outputs="rows")
    taken = take(ticket, shop.store, left(shop, rows=LARGE))
    monkeypatch.setattr(digests, "_hash", lambda *args: pytest.fail("read once more"))
    next_one = shop.ticket("pass", inputs={"rows": taken.outputs["rows"]}, outputs="y")
    folder = left(shop, y=1)
    given = lay_out(next_one, shop.store, folder)
    assert given["rows"]["path"] == str(shop.store.blobs.path(taken.outputs["rows"].digest))
    assert mapped.is_mapped(Path(given["rows"]["path"]).stat())
    assert take(next_one, shop.store, folder).fault is None


def test_an_input_that_cannot_be_checked_is_not_laid_out(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = shop.ticket("pass", inputs={"x": LARGE}, outputs="y")
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    with pytest.raises(StepFailed, match="blake3") as caught:
        lay_out(ticket, shop.store, shop.store.scratch())
    assert caught.value.code == "JP310"


def test_files_of_the_user_are_compared_in_the_way_they_were_digested(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.project / "data.bin").write_bytes(bytes(2 << 20))
    ticket = shop.ticket("pass", inputs={"x": shop.project / "data.bin"}, outputs="y")
    assert take(ticket, shop.store, left(shop, y=1)).fault is None
    with monkeypatch.context() as patch:
        # Not to be told here; the run that hands out tickets looks, too.
        patch.setattr(digests, "_blake3", lambda: None)
        assert take(ticket, shop.store, left(shop, y=1)).fault is None
    (shop.project / "data.bin").write_bytes(bytes(2 << 20) + b"!")
    fault = take(ticket, shop.store, left(shop, y=1)).fault
    assert fault is not None
    assert fault.code == "JP307"
