"""A store against a dict: whatever is done in whatever order, what it gives is what was put, or nothing."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.files.local_folder import remove
from jupyter_pipelines.storage.maintenance.garbage_collection import collect
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord, path_of

KEYS = st.integers(0, 5).map(lambda number: f"{number:064x}")
STEPS = st.sampled_from(["load", "train"])
CONTENTS = st.binary(min_size=1, max_size=20)


class StoreStateMachine(RuleBasedStateMachine):
    """Two openings of one store, and what must be in it."""

    digests = Bundle("digests")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stores = [open_store(self.folder / "store"), open_store(self.folder / "store")]
        self.contents: dict[str, bytes] = {}
        self.records: dict[str, StepRecord] = {}
        self.clock = 0

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        remove(self.folder)

    @rule(target=digests, which=st.integers(0, 1), content=CONTENTS)
    def put(self, which: int, content: bytes) -> str:
        digest = self.stores[which].blobs.put_bytes(content).digest
        self.contents[digest] = content
        return digest

    @rule(which=st.integers(0, 1), key=KEYS, step=STEPS, digest=digests)
    def record(self, which: int, key: str, step: str, digest: str) -> None:
        # As a step that ran would: its output is put before the record is.
        self.stores[which].blobs.put_bytes(self.contents[digest])
        self.clock += 1
        artifact = Artifact(digest=digest, format="bytes", bytes=len(self.contents[digest]))
        created = f"2026-01-01T00:00:00.{self.clock:06}+00:00"
        made = StepRecord(
            key=key, step=step, notebook="n", outputs={"x": artifact}, run="r", created=created, seconds=1.0
        )
        self.stores[which].records.put(made)
        self.records[key] = made

    @rule(which=st.integers(0, 1), key=KEYS)
    def forget(self, which: int, key: str) -> None:
        self.stores[which].records.forget(key)
        self.records.pop(key, None)

    @rule(digest=digests, at=st.integers(0, 19), bit=st.integers(0, 7))
    def harm_blob(self, digest: str, at: int, bit: int) -> None:
        path = self.stores[0].blobs.path(digest)
        if path.exists():
            before = path.stat()
            content = bytearray(path.read_bytes())
            if content:
                content[at % len(content)] ^= 1 << bit
            path.chmod(0o600)
            path.write_bytes(bytes(content))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(key=KEYS, at=st.integers(0, 10_000), bit=st.integers(0, 7))
    def harm_record(self, key: str, at: int, bit: int) -> None:
        path = self.folder / "store" / path_of(key)
        if path.exists():
            content = bytearray(path.read_bytes())
            content[at % len(content)] ^= 1 << bit
            path.write_bytes(bytes(content))
            self.records.pop(key, None)

    @rule(what=st.sampled_from(["*", "", "-wal", "-shm"]))
    def lose_index(self, what: str) -> None:
        for path in (self.folder / "store").glob(f"index.sqlite{what}"):
            path.unlink()

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = open_store(self.folder / "store")

    @rule(which=st.integers(0, 1))
    def collect(self, which: int) -> None:
        then = time.time() - 1000
        for path in (self.folder / "store").rglob("*"):
            if path.is_file() and path.parent.name != "store":
                os.utime(path, (then, then))
        gone = collect(self.stores[which], older_than=500)
        for key in gone.records:
            collected = self.records.pop(key, None)
            newer = [
                each
                for each in self.records.values()
                if collected and each.step == collected.step and each.created > collected.created
            ]
            assert collected is None or newer
        for collected in self.records.values():
            assert collected.outputs["x"].digest not in gone.blobs

    @invariant()
    def what_is_given_is_what_was_put(self) -> None:
        for store in self.stores:
            for digest, content in self.contents.items():
                try:
                    with store.blobs.open(digest) as file:
                        assert file.read() == content
                except StoreError as error:
                    assert error.code in ("JP404", "JP405")  # noqa: PT017
            for number in range(6):
                key = f"{number:064x}"
                loaded = store.records.get(key)
                # A flipped bit may leave a record what it was: in the white space of JSON.
                assert loaded is None or loaded == self.records.setdefault(key, loaded)
                assert loaded is not None or key not in self.records

    @invariant()
    def the_newest_of_a_step_is_found_by_a_fresh_look(self) -> None:
        store = open_store(self.folder / "store")
        for step in ("load", "train"):
            made = [record for record in self.records.values() if record.step == step]
            newest = max(made, key=lambda record: record.created, default=None)
            assert store.records.latest(step) == newest
        store.close()


TestStores = StoreStateMachine.TestCase
TestStores.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
