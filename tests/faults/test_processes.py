"""R30 R31 R38 R40 R42 R44: several processes at one store, killed, told the wrong time, and given damaged files.

What is read is what was computed last, or nothing; no process waits for a dead one; in the end nothing is left.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jupyter_pipelines.storage.files.local_folder import remove
from tests.faults.store_process import BUSY, DIED, StoreProcess

PROCESSES = st.integers(0, 2)
KEYS = st.integers(0, 2).map(lambda number: f"{number:064x}")
DAY = 86_400.0


class ProcessStateMachine(RuleBasedStateMachine):
    """Three processes, and what each key may read."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "store"
        self.processes = [StoreProcess(self.folder) for _ in range(3)]
        self.may: dict[str, list[list[bytes] | None]] = {}
        self.holders: dict[str, int] = {}
        self.turn = 0

    def teardown(self) -> None:
        for process in self.processes:
            process.kill()
        last = StoreProcess(self.folder)
        last.do("open_again")
        for key in (f"{number:064x}" for number in range(3)):
            assert last.do("hold", key), "a dead process keeps others waiting"
            self._check_read(last, key)
        assert [path for path in (self.folder / "tmp").rglob("*") if path.is_file()] == []
        last.kill()
        remove(self.folder.parent)

    def _check_read(self, process: StoreProcess, key: str) -> None:
        assert process.do("read", key) in self.may.get(key, [None])

    def _replace(self, who: int) -> None:
        self.processes[who].kill()
        self.processes[who] = StoreProcess(self.folder)
        self.holders = {key: holder for key, holder in self.holders.items() if holder != who}

    @rule(who=PROCESSES, key=KEYS, shared=st.booleans(), deadly=st.one_of(st.just(0), st.integers(1, 30)))
    def compute(self, who: int, key: str, shared: bool, deadly: int) -> None:
        """Half of the outputs are the same in every process; the other half is new each time."""
        self.turn += 1
        contents = [b"same" if shared else str(self.turn).encode(), key.encode()]
        answer = self.processes[who].do("compute", key, f"step {key[-1]}", contents, deadly)
        assert (answer == BUSY) == (self.holders.get(key, who) != who)
        if answer == DIED:
            self.may[key] = [*self.may.get(key, [None]), contents]
            self._replace(who)
        elif answer != BUSY:
            self.may[key] = [contents]
            self.holders.pop(key, None)

    @rule(who=PROCESSES, key=KEYS)
    def begin(self, who: int, key: str) -> None:
        assert self.processes[who].do("hold", key) == (key not in self.holders)
        self.holders.setdefault(key, who)

    @rule(who=PROCESSES)
    def kill(self, who: int) -> None:
        self._replace(who)

    @rule(who=PROCESSES, seconds=st.sampled_from([-400 * DAY, -DAY, -1.0, 1.0, DAY, 400 * DAY]))
    def jump(self, who: int, seconds: float) -> None:
        self.processes[who].do("jump", seconds)

    @rule(who=PROCESSES)
    def open_again(self, who: int) -> None:
        self._replace(who)

    @rule(who=PROCESSES, older_than=st.sampled_from([0.0, DAY, 30 * DAY]))
    def collect(self, who: int, older_than: float) -> None:
        """The newest record of every step stays, whatever time it is."""
        assert self.processes[who].do("collect", older_than) == ()

    @rule(
        kind=st.sampled_from(["blobs", "records"]),
        which=st.integers(0, 9),
        how=st.sampled_from(["flip", "cut", "gone"]),
    )
    def damage(self, kind: str, which: int, how: str) -> None:
        files = sorted(path for path in (self.folder / kind).rglob("*") if path.is_file())
        if not files:
            return
        path = files[which % len(files)]
        content = path.read_bytes()
        path.chmod(0o600)
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(content[: len(content) // 2] if how == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
        self.may = {key: [*each, None] for key, each in self.may.items()}

    @invariant()
    def what_is_read_was_computed(self) -> None:
        for key in self.may:
            self._check_read(self.processes[self.turn % 3], key)


TestProcesses = ProcessStateMachine.TestCase
TestProcesses.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
