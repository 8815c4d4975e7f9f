"""Contracts: what every plug-in must do, as tests that its author inherits.

A serializer, for instance, is tested by pytest with no more than this::

    from jupyter_pipelines.testing import SerializerContract

    class TestSkops(SerializerContract):
        def serializer(self):
            return Skops()

        def values(self):
            return [LogisticRegression().fit([[0], [1]], [0, 1])]

The serializers and stores of this package pass the same tests.
"""

# ruff: noqa: S101 - asserting is what tests do

from __future__ import annotations

import copy
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_pipelines.errors import Corrupt, StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing.digests import HashingWriter, digest_bytes
from jupyter_pipelines.storing.records import StepRecord
from jupyter_pipelines.storing.serializers.fitting import Unsuitable

if TYPE_CHECKING:
    from jupyter_pipelines.storing.serializers.fitting import Serializer
    from jupyter_pipelines.storing.store import Store

__all__ = ["SerializerContract", "StoreContract"]


class SerializerContract(ABC):
    """What every serializer does. Inherit in a class whose name begins with ``Test``, and say what is tested."""

    @abstractmethod
    def serializer(self) -> Serializer:
        """Return the serializer."""

    @abstractmethod
    def values(self) -> Iterable[Any]:
        """Return values that it holds exactly."""

    def refused(self) -> Iterable[Any]:
        """Return values that it must not take, since they would not come back as they were."""
        return ()

    def same(self, one: Any, other: Any) -> bool:
        """Tell whether two values are the same for every purpose."""
        return type(one) is type(other) and bool(one == other)

    repeatable = True
    """Whether equal values give equal bytes. Where they do not, steps run again though nothing has changed."""

    def test_it_has_a_name_and_a_suffix(self) -> None:
        """The name can stand behind a colon in a header, the suffix at the end of a file."""
        one = self.serializer()
        assert one.name.isidentifier()
        assert one.suffix.startswith(".")
        assert one.suffix[1:].replace(".", "").isalnum()

    def test_its_values_come_back_as_they_were(self, tmp_path: Path) -> None:
        """Reading gives what was written, and writing leaves the value alone."""
        for number, value in enumerate(self.values()):
            before = copy.deepcopy(value)
            path = self._written(value, tmp_path / str(number))
            assert self.same(before, value), f"writing has changed {before!r} into {value!r}"
            found = self.serializer().read(path)
            assert self.same(value, found), f"{value!r} has come back as {found!r}"

    def test_equal_values_give_equal_bytes(self, tmp_path: Path) -> None:
        """Early cut-off depends on it."""
        for number, value in enumerate(self.values()):
            first = self._written(value, tmp_path / f"{number}-1")
            again = self._written(copy.deepcopy(value), tmp_path / f"{number}-2")
            assert not self.repeatable or first.read_bytes() == again.read_bytes(), f"bytes differ: {value!r}"

    def test_what_does_not_fit_is_refused_before_a_byte_is_written(self) -> None:
        """Either by ``accepts``, or by ``Unsuitable`` with a reason."""
        for value in self.refused():
            if not self.serializer().accepts(value):
                continue
            file = io.BytesIO()
            with pytest.raises(Unsuitable) as caught:
                self.serializer().write(value, file)
            assert caught.value.reason
            assert file.getvalue() == b"", f"something was written before {value!r} was refused"

    def test_it_accepts_anything_without_an_error(self) -> None:
        """Values of strangers are asked about, too."""
        for value in (None, 1, "text", b"bytes", [], {}, (), object(), type, len, self):
            assert self.serializer().accepts(value) in (True, False)

    def _written(self, value: Any, path: Path) -> Path:
        """Write as a step does: to a file that can be neither read nor sought, and that is read-only afterwards."""
        assert self.serializer().accepts(value)
        with path.open("xb") as file:
            writer = HashingWriter(file)
            self.serializer().write(value, writer)  # type: ignore[arg-type]
        assert writer.digest == digest_bytes(path.read_bytes())
        path.chmod(0o444)
        return path


class StoreContract(ABC):
    """What every store does. Inherit in a class whose name begins with ``Test``, and say what is tested."""

    KEY = "0123456789abcdef" * 4

    @abstractmethod
    def open(self, tmp_path: Path) -> Store:
        """Return the store that belongs to `tmp_path`: made when it is opened first, the same one from then on."""

    @abstractmethod
    def damage(self, store: Store, digest: str) -> None:
        """Change a byte of the blob of `digest` behind the store's back."""

    def test_bytes_come_back_under_their_digest(self, tmp_path: Path) -> None:
        """The digest is that of the bytes, and another process finds them."""
        digest, size = self.open(tmp_path).blobs.put_bytes(b"content")
        assert (digest, size) == (digest_bytes(b"content"), 7)
        with self.open(tmp_path).blobs.open(digest) as file:
            assert file.read() == b"content"

    def test_a_file_can_be_moved_in_and_taken_out(self, tmp_path: Path) -> None:
        """A step writes files, and later steps get copies that they may change."""
        store = self.open(tmp_path)
        source = store.scratch() / "output"
        source.write_bytes(b"content")
        digest = store.blobs.put_file(source).digest
        assert not source.exists()
        store.blobs.copy(digest, tmp_path / "copy")
        (tmp_path / "copy").write_bytes(b"changed")
        assert store.blobs.verify(digest) == "ok"

    def test_a_folder_comes_back_as_it_was(self, tmp_path: Path) -> None:
        """Names, bytes, empty folders, and which files can be executed."""
        store = self.open(tmp_path)
        (tmp_path / "tree" / "empty").mkdir(parents=True)
        (tmp_path / "tree" / "run").write_bytes(b"#!/bin/sh")
        (tmp_path / "tree" / "run").chmod(0o755)
        stored = store.blobs.put_folder(tmp_path / "tree")
        store.blobs.materialise(stored.digest, tmp_path / "again")
        assert store.digest(tmp_path / "again") == stored.digest == store.digest(tmp_path / "tree")
        artifact = Artifact(digest=stored.digest, format="folder", bytes=stored.size)
        assert store.intact(artifact) == "ok"

    def test_damaged_bytes_are_never_served_and_heal_when_they_are_put_again(self, tmp_path: Path) -> None:
        """The most important promise of all."""
        store = self.open(tmp_path)
        digest = store.blobs.put_bytes(b"content").digest
        self.damage(store, digest)
        assert store.blobs.verify(digest) == "corrupt"
        with pytest.raises(Corrupt) as caught:
            store.blobs.open(digest).close()
        assert caught.value.code == "JP404"
        store.blobs.put_bytes(b"content")
        assert store.blobs.verify(digest) == "ok"

    def test_what_is_missing_is_missing(self, tmp_path: Path) -> None:
        """Neither a value nor an error from elsewhere."""
        store = self.open(tmp_path)
        assert store.blobs.verify(digest_bytes(b"never put")) == "missing"
        assert store.records.get(self.KEY) is None
        assert store.records.latest("train") is None
        with pytest.raises(StoreError) as caught:
            store.blobs.open(digest_bytes(b"never put")).close()
        assert caught.value.code == "JP405"

    def test_records_come_back_and_the_newest_first(self, tmp_path: Path) -> None:
        """By key, and by step and notebook."""
        store = self.open(tmp_path)
        older, newer = self._record("a" * 64, "2026-01-01"), self._record("b" * 64, "2026-01-02")
        for one in (newer, older):
            store.records.put(one)
        again = self.open(tmp_path)
        assert again.records.get(older.key) == older
        assert again.records.for_step("train") == (newer, older)
        assert again.records.latest("train", "n.ipynb") == newer
        assert again.records.latest("train", "other.ipynb") is None
        again.records.forget(newer.key)
        assert again.records.latest("train") == older

    def test_runs_come_back(self, tmp_path: Path) -> None:
        """Their documents and their events."""
        store = self.open(tmp_path)
        run = store.runs.new_id()
        store.runs.create(run)
        store.runs.write(run, {"run": run, "state": "running", "steps": []})
        assert store.runs.is_live(run)
        store.runs.append(run, {"kind": "begun"})
        store.runs.write(run, {"run": run, "state": "succeeded", "steps": []})
        again = self.open(tmp_path)
        assert again.runs.ids() == (run,)
        assert again.runs.read(run)["state"] == "succeeded"
        assert again.runs.events(run) == [{"kind": "begun"}]

    def test_one_at_a_time_computes_a_key(self, tmp_path: Path) -> None:
        """Leases exclude each other, whoever opened the store."""
        store, other = self.open(tmp_path), self.open(tmp_path)
        with store.leases.lease(self.KEY):
            assert other.leases.try_acquire(self.KEY) is None
        lease = other.leases.try_acquire(self.KEY)
        assert lease is not None
        lease.release()

    def test_it_can_be_opened_again_by_its_url(self, tmp_path: Path) -> None:
        """Tickets carry the url of the store to other processes."""
        store = self.open(tmp_path)
        digest = store.blobs.put_bytes(b"content").digest
        assert type(store).open(store.url).blobs.verify(digest) == "ok"

    def _record(self, key: str, created: str) -> StepRecord:
        outputs = {"model": Artifact(digest=digest_bytes(b"model"), format="pickle", bytes=5)}
        parts = {"code:1": "x"}
        return StepRecord(
            key=key,
            step="train",
            notebook="n.ipynb",
            parts=parts,
            outputs=outputs,
            run="r",
            created=created,
            seconds=1.0,
        )
