"""A process that carries out commands on a store, one after the other, and may be killed meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.locks.leases import KeyLease
from jupyter_pipelines.storage.maintenance.garbage_collection import collect
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord
from tests.faults.syscall_shim import SyscallShim

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
DIED = "died"
BUSY = "busy"


class StoreProcess:
    """Such a process, as the test controls it.

    Parameters
    ----------
    folder : Path
        Where the store is.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve_commands, args=(str(folder), theirs), daemon=True)
        self._process.start()
        theirs.close()

    def do(self, name: str, *args: Any) -> Any:
        """Carry out a command in the process; return DIED if it was killed meanwhile."""
        try:
            self._pipe.send((name, args))
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            assert self._process.exitcode == -signal.SIGKILL, "it died of something else"
            return DIED
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        """Kill it where it stands."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve_commands(folder: str, pipe: Any) -> None:
    commands = StoreCommands(Path(folder))
    with suppress(EOFError):
        while True:
            name, args = pipe.recv()
            try:
                pipe.send(getattr(commands, name)(*args))
            except Exception as error:  # noqa: BLE001 - the test gets every error
                pipe.send(error)


class StoreCommands:
    """The commands that the process knows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, KeyLease] = {}
        self._store = open_store(folder)

    def compute(self, key: str, step: str, contents: Iterable[bytes], deadly: int) -> str:
        """Compute a key as a run does: under its lease, outputs first, then the record; die on the way if `deadly`."""
        lease = self._held.get(key) or self._store.leases.try_acquire(key)
        if lease is None:
            return BUSY
        if deadly:
            SyscallShim(root=str(self._folder), kind="crash", at=deadly).install()
        outputs = {}
        for number, content in enumerate(contents):
            stored = self._store.blobs.put_bytes(content)
            outputs[f"o{number}"] = Artifact(digest=stored.digest, format="bytes", bytes=stored.size)
        created = f"{time.time():020.6f}"
        self._store.records.put(
            StepRecord(key=key, step=step, notebook="n", outputs=outputs, run="r", created=created, seconds=1.0)
        )
        if deadly:  # there were fewer calls than that
            os.kill(os.getpid(), signal.SIGKILL)
        lease.release()
        self._held.pop(key, None)
        return created

    def hold(self, key: str) -> bool:
        """Begin to compute a key, and get no further."""
        lease = self._store.leases.try_acquire(key)
        if lease is not None:
            self._held[key] = lease
        return lease is not None

    def read(self, key: str) -> list[bytes] | None:
        """Return the outputs of a key as a later step would get them; None where it would be computed again."""
        record = self._store.records.get(key)
        if record is None:
            return None
        contents = []
        for name in sorted(record.outputs):
            try:
                with self._store.blobs.open(record.outputs[name].digest) as file:
                    contents.append(file.read())
            except StoreError as error:
                if error.code not in ("JP404", "JP405"):
                    raise
                return None
        return contents

    def collect(self, older_than: float) -> tuple[str, ...]:
        """Collect; return the keys whose records went."""
        return collect(self._store, older_than=older_than).records

    def jump(self, seconds: float) -> None:
        """Let the clock of this process jump."""
        real = time.time

        def shifted() -> float:
            return real() + seconds

        time.time = shifted
        sys.modules["time"].time = shifted

    def open_again(self) -> None:
        """Let go of the store, and open it anew: what dead processes have left is swept."""
        self._store.close()
        self._store = open_store(self._folder)
