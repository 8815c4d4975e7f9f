"""Contracts for plug-ins: abstract test classes that the author of a plug-in inherits.

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
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest

from jupyter_pipelines.errors import CorruptOutput, StoreError
from jupyter_pipelines.execution.ticket import OutputSpec, PublishPaths, StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.artifacts import Artifact, Output
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step, StepCell
from jupyter_pipelines.storage.blobs.digests import HashingWriter, digest_bytes
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue
from jupyter_pipelines.storage.step_record import StepRecord

if TYPE_CHECKING:
    from jupyter_pipelines.execution.executors import StepExecutor
    from jupyter_pipelines.storage.serializers.protocol import ValueSerializer
    from jupyter_pipelines.storage.store import Store

__all__ = ["ExecutorContract", "SerializerContract", "StoreContract"]


class SerializerContract(ABC):
    """What every serializer does. Inherit in a class whose name begins with ``Test``, and say what is tested."""

    @abstractmethod
    def serializer(self) -> ValueSerializer:
        """Return the serializer."""

    @abstractmethod
    def values(self) -> Iterable[Any]:
        """Return values that it holds exactly."""

    def refused(self) -> Iterable[Any]:
        """Return values that it must not take, since they would not come back as they were."""
        return ()

    def same(self, left: Any, right: Any) -> bool:
        """Tell whether two values are the same for every purpose."""
        return type(left) is type(right) and bool(left == right)

    repeatable = True
    """Whether equal values give equal bytes. Where they do not, steps run again though nothing has changed."""

    def test_it_has_a_name_and_a_suffix(self) -> None:
        """The name can stand behind a colon in a header, the suffix at the end of a file."""
        serializer = self.serializer()
        assert serializer.name.isidentifier()
        assert serializer.suffix.startswith(".")
        assert serializer.suffix[1:].replace(".", "").isalnum()

    def test_its_values_come_back_as_they_were(self, tmp_path: Path) -> None:
        """Reading gives what was written, and writing leaves the value alone."""
        for number, value in enumerate(self.values()):
            # A serializer that changes its value would change what the next steps of a live notebook see.
            before = copy.deepcopy(value)
            path = self._written(value, tmp_path / str(number))
            assert self.same(before, value), f"writing has changed {before!r} into {value!r}"
            restored = self.serializer().read(path)
            assert self.same(value, restored), f"{value!r} has come back as {restored!r}"

    def test_equal_values_give_equal_bytes(self, tmp_path: Path) -> None:
        """Early cut-off depends on it."""
        for number, value in enumerate(self.values()):
            first = self._written(value, tmp_path / f"{number}-1")
            second = self._written(copy.deepcopy(value), tmp_path / f"{number}-2")
            assert not self.repeatable or first.read_bytes() == second.read_bytes(), f"bytes differ: {value!r}"

    def test_what_does_not_fit_is_refused_before_a_byte_is_written(self) -> None:
        """Either by ``accepts``, or by ``UnsupportedValue`` with a reason."""
        for value in self.refused():
            if not self.serializer().accepts(value):
                continue
            file = io.BytesIO()
            with pytest.raises(UnsupportedValue) as caught:
                self.serializer().write(value, file)
            assert caught.value.reason
            assert file.getvalue() == b"", f"something was written before {value!r} was refused"

    def test_it_accepts_anything_without_an_error(self) -> None:
        """``accepts`` is called with values of any type."""
        for value in (None, 1, "text", b"bytes", [], {}, (), object(), type, len, self):
            assert self.serializer().accepts(value) in (True, False)

    def _written(self, value: Any, path: Path) -> Path:
        """Write as a step does: to a file that can be neither read nor sought, and that is read-only afterwards."""
        assert self.serializer().accepts(value)
        with path.open("xb") as file:
            writer = HashingWriter(file)
            self.serializer().write(value, writer)  # type: ignore[arg-type]
        assert writer.digest == digest_bytes(path.read_bytes())
        # As blobs are: a serializer that opens files for writing fails here and not in a user's run.
        path.chmod(0o444)
        return path


class StoreContract(ABC):
    """What every store does. Inherit in a class whose name begins with ``Test``, and say what is tested."""

    KEY = "0123456789abcdef" * 4

    @abstractmethod
    def open(self, tmp_path: Path) -> Store:
        """Return the store that belongs to `tmp_path`: made when it is opened first, the same store from then on."""

    @abstractmethod
    def damage(self, store: Store, digest: str) -> None:
        """Change a byte of the blob of `digest` behind the store's back."""

    def test_bytes_come_back_under_their_digest(self, tmp_path: Path) -> None:
        """The digest is that of the bytes, and another process finds them."""
        digest, size = self.open(tmp_path).blobs.put_bytes(b"content")
        assert (digest, size) == (digest_bytes(b"content"), 7)
        # Opened again, so that nothing that one instance holds in memory can pass for stored.
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
        with pytest.raises(CorruptOutput) as caught:
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
        for record in (newer, older):
            store.records.put(record)
        reopened = self.open(tmp_path)
        assert reopened.records.get(older.key) == older
        assert reopened.records.for_step("train") == (newer, older)
        assert reopened.records.latest("train", "n.ipynb") == newer
        assert reopened.records.latest("train", "other.ipynb") is None
        reopened.records.forget(newer.key)
        assert reopened.records.latest("train") == older

    def test_runs_come_back(self, tmp_path: Path) -> None:
        """Their documents and their events."""
        store = self.open(tmp_path)
        run = store.runs.new_id()
        store.runs.create(run)
        store.runs.write(run, {"run": run, "state": "running", "steps": []})
        assert store.runs.is_live(run)
        store.runs.append(run, {"kind": "begun"})
        store.runs.write(run, {"run": run, "state": "succeeded", "steps": []})
        reopened = self.open(tmp_path)
        assert reopened.runs.ids() == (run,)
        assert reopened.runs.read(run)["state"] == "succeeded"
        assert reopened.runs.events(run) == [{"kind": "begun"}]

    def test_one_at_a_time_computes_a_key(self, tmp_path: Path) -> None:
        """Leases exclude each other, also between two instances of the store."""
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


class IndexContract(ABC):
    """What every index does. Inherit in a class whose name begins with ``Test``, and say what is tested."""

    KEY = "a" * 64

    @abstractmethod
    def open(self, tmp_path: Path) -> Store:
        """Return a store with the index; every call opens the same store."""

    def test_the_newest_come_first(self, tmp_path: Path) -> None:
        """Of a step, and of a step of one notebook."""
        index = self.open(tmp_path).index
        for number, created in ((1, "2026-01-02"), (2, "2026-01-03"), (3, "2026-01-01")):
            index.add_record(self.record(f"{number:064x}", created))
        index.add_record(self.record(f"{4:064x}", "2026-01-04", notebook="other.ipynb"))
        order = [f"{number:064x}" for number in (2, 1, 3)]
        assert list(index.keys_of("train", "n.ipynb")) == order
        assert list(index.keys_of("train", None)) == [f"{4:064x}", *order]
        assert index.latest_keys(["train", "none"], "n.ipynb") == {"train": order[0]}
        assert index.latest_keys(["train"], None) == {"train": f"{4:064x}"}

    def test_what_is_added_twice_is_there_once_and_what_is_dropped_is_gone(self, tmp_path: Path) -> None:
        """Dropping what is not there does no harm."""
        index = self.open(tmp_path).index
        for _ in range(2):
            index.add_record(self.record(self.KEY, "2026-01-01"))
        assert index.keys_of("train", None) == (self.KEY,)
        for _ in range(2):
            index.drop_record(self.KEY)
        assert index.keys_of("train", None) == ()
        assert index.latest_keys(["train"], None) == {}

    def test_two_instances_see_the_same(self, tmp_path: Path) -> None:
        """At once, and after it was closed."""
        store, other_store = self.open(tmp_path), self.open(tmp_path)
        store.records.put(self.record(self.KEY, "2026-01-01"))
        assert other_store.index.keys_of("train", None) == (self.KEY,)
        store.close()
        assert store.index.keys_of("train", None) == (self.KEY,)
        assert other_store.records.latest("train") == store.records.get(self.KEY)

    @staticmethod
    def record(key: str, created: str, notebook: str = "n.ipynb") -> StepRecord:
        """Return a record of the step ``train``."""
        return StepRecord(
            key=key, step="train", notebook=notebook, parts={}, outputs={}, run="r", created=created, seconds=1.0
        )


class ExecutorContract(ABC):
    """What every executor does. Inherit in a class whose name begins with ``Test``, and say what is tested.

    Its workers have to see this machine's files.
    """

    HANG = "import time\nprint('hanging', flush=True)\ntime.sleep(600)"

    @abstractmethod
    def executor(self, jobs: int) -> StepExecutor:
        """Return a new executor for `jobs` tickets at once."""

    def ticket(self, folder: Path, code: str, *outputs: str, **ticket_fields: Any) -> StepTicket:
        """Return a ticket for a step that runs `code` in `folder`."""
        from jupyter_pipelines.notebook.step_notebook import render
        from jupyter_pipelines.storage.opening import open_store

        key = secrets.token_hex(4)
        step_outputs = tuple(Output(name=name) for name in outputs)
        step = Step(name="step", cells=(StepCell(number=1, id=None, text=code, body=code),), outputs=step_outputs)
        pipeline = Pipeline(notebook=None, folder=folder, root=folder, steps=(step,))
        path = folder / "run" / key
        return StepTicket(
            id=key,
            run="run",
            step="step",
            notebook=render(pipeline, step, values={}, ticket=f"{path}.json"),
            path=f"{path}.json",
            cwd=str(folder),
            store=open_store(folder / "store").url,
            outputs={name: OutputSpec(kind="value", format=None) for name in outputs},
            publish=PublishPaths(notebook=f"{path}.ipynb", log=f"{path}.log"),
            **ticket_fields,
        )

    def test_a_success_is_in_the_store_and_is_not_recorded(self, tmp_path: Path) -> None:
        """Executors return outcomes, and the loop alone writes records."""
        from jupyter_pipelines.storage.loading import load_value
        from jupyter_pipelines.storage.opening import open_store

        ticket = self.ticket(tmp_path, "x = 40 + 2", "x")
        with closing(self.executor(1)) as executor:
            executor.submit(ticket)
            (outcome,) = self._outcomes(executor, 1)
            assert list(executor.poll(0)) == []
        store = open_store(tmp_path / "store")
        assert (outcome.ticket, outcome.state, outcome.fault) == (ticket.id, "succeeded", None)
        assert load_value(store, outcome.outputs["x"]) == 42
        assert store.records.latest("step") is None
        assert Path(ticket.publish["notebook"]).is_file()
        assert Path(ticket.publish["log"]).is_file()

    def test_more_tickets_than_jobs_wait_for_their_turn(self, tmp_path: Path) -> None:
        """And each of them gets a single outcome."""
        tickets = [self.ticket(tmp_path, f"x = {number}", "x") for number in range(3)]
        with closing(self.executor(2)) as executor:
            for ticket in tickets:
                executor.submit(ticket)
            outcomes = self._outcomes(executor, 3)
        assert sorted(outcome.ticket for outcome in outcomes) == sorted(ticket.id for ticket in tickets)
        assert {outcome.state for outcome in outcomes} == {"succeeded"}

    def test_jobs_run_at_the_same_time(self, tmp_path: Path) -> None:
        """Each of the two waits for the other."""
        code = (
            "import pathlib, time\npathlib.Path({!r}).touch()\nend = time.monotonic() + 600\n"
            "while not pathlib.Path({!r}).exists():\n    assert time.monotonic() < end\n    time.sleep(0.01)"
        )
        first, second = str(tmp_path / "a"), str(tmp_path / "b")
        with closing(self.executor(2)) as executor:
            for names in ((first, second), (second, first)):
                executor.submit(self.ticket(tmp_path, code.format(*names)))
            assert [outcome.fault for outcome in self._outcomes(executor, 2)] == [None, None]

    def test_failures_and_deaths_are_outcomes_and_it_goes_on(self, tmp_path: Path) -> None:
        """Polling never raises, and nothing that ends early is a success."""
        with closing(self.executor(1)) as executor:
            outcomes = []
            for code in ("1 / 0", "import os; os._exit(0)", "import sys; sys.exit(0)", "x = 1"):
                executor.submit(self.ticket(tmp_path, code, "x"))
                outcomes += self._outcomes(executor, 1)
        assert [outcome.state for outcome in outcomes] == ["failed", "died", "failed", "succeeded"]
        assert [outcome.fault.code if outcome.fault else None for outcome in outcomes] == [
            "JP300",
            "JP302",
            "JP303",
            None,
        ]

    def test_progress_comes_before_the_outcome(self, tmp_path: Path) -> None:
        """And both name the ticket."""
        ticket = self.ticket(tmp_path, "print('hello')")
        with closing(self.executor(1)) as executor:
            executor.submit(ticket)
            messages = list(self._until_outcome(executor))
        assert {message.ticket for message in messages} == {ticket.id}
        assert [message.cell for message in messages[:-1] if isinstance(message, TicketProgress) and message.cell]

    @pytest.mark.parametrize("hard", [False, True])
    def test_what_is_cancelled_has_an_outcome(self, tmp_path: Path, hard: bool) -> None:
        """Cancelling twice, or an unknown ticket, changes nothing; unless it is hard, the code can clean up."""
        cleaned = tmp_path / "cleaned"
        code = f"try:\n{indent(self.HANG, '    ')}\nfinally:\n    open({str(cleaned)!r}, 'w').close()"
        ticket = self.ticket(tmp_path, code)
        with closing(self.executor(1)) as executor:
            executor.submit(ticket)
            while not any(
                isinstance(message, TicketProgress) and message.text == "hanging" for message in executor.poll(5)
            ):
                pass
            # A cancellation may come twice, or when its step has just finished.
            for name in (ticket.id, ticket.id, "unknown"):
                executor.cancel(name, hard=hard)
            (outcome,) = self._outcomes(executor, 1)
            assert outcome.state == "cancelled", outcome
            assert cleaned.exists() is not hard
            executor.cancel(ticket.id)
            assert list(executor.poll(0)) == []

    def test_what_waits_can_be_cancelled_and_never_runs(self, tmp_path: Path) -> None:
        """It does not have to wait for its turn to be told so."""
        hanging = self.ticket(tmp_path, self.HANG)
        waiting = self.ticket(tmp_path, f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
        with closing(self.executor(1)) as executor:
            executor.submit(hanging)
            executor.submit(waiting)
            executor.cancel(waiting.id)
            assert [(outcome.ticket, outcome.state) for outcome in self._outcomes(executor, 1)] == [
                (waiting.id, "cancelled")
            ]
        assert not (tmp_path / "ran").exists()

    def test_a_timeout_is_an_outcome(self, tmp_path: Path) -> None:
        """The executor enforces the timeout of a ticket."""
        with closing(self.executor(1)) as executor:
            executor.submit(self.ticket(tmp_path, self.HANG, timeout=0.5))
            (outcome,) = self._outcomes(executor, 1)
            assert outcome.state == "timed-out", outcome

    def test_it_says_what_there_is(self) -> None:
        """Without starting anything."""
        with closing(self.executor(3)) as executor:
            assert executor.jobs == 3
            capacity = executor.capacity()
            assert all(amount is None or amount >= 0 for amount in (capacity.cpus, capacity.gpus, capacity.memory))
            assert list(executor.poll(0)) == []

    def test_it_can_be_closed_at_any_time_and_twice(self, tmp_path: Path) -> None:
        """What runs then is ended."""
        executor = self.executor(1)
        executor.submit(self.ticket(tmp_path, self.HANG))
        executor.close()
        executor.close()
        assert list((tmp_path / "store" / "tmp").glob("*")) == []

    def _until_outcome(self, executor: StepExecutor) -> Iterator[TicketProgress | StepOutcome]:
        """Yield all messages up to the next outcome; a time limit of the test ends a hang."""
        while True:
            for message in executor.poll(5):
                yield message
                if isinstance(message, StepOutcome):
                    return

    def _outcomes(self, executor: StepExecutor, count: int) -> list[StepOutcome]:
        outcomes: list[StepOutcome] = []
        while len(outcomes) < count:
            outcomes += [message for message in executor.poll(5) if isinstance(message, StepOutcome)]
        return outcomes
