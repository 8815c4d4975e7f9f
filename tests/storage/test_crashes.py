"""A writer is killed, or a system call fails, at any moment: no torn file is ever seen, and the store heals."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from jupyter_pipelines.storage.opening import open_store
from tests.storage import helper_processes

# What a step run does to a store, and what must hold of the store at any time.
SCENE = """
import hashlib, shutil

CALLS = ("open", "replace", "rename", "fsync", "fchmod", "mkdir", "unlink", "utime", "write", "rmdir")
os.fsync = lambda _: None  # a killed process loses nothing without it, and it takes long
KEY = "ab" + "0" * 62
RUN = "20260101-000000-000000-abcdef"

def work(root):
    store = open_store(root)
    folder = store.scratch()
    source = folder / "value"
    source.write_bytes(b"moved in" * 1000)
    moved = store.blobs.put_file(source).digest
    shutil.rmtree(folder, ignore_errors=True)
    written = store.blobs.put_bytes(b"written" * 1000).digest
    folder = store.blobs.put_folder(Path(sys.argv[2])).digest
    outputs = {
        "moved": Artifact(digest=moved, format="bytes", bytes=1),
        "written": Artifact(digest=written, format="bytes", bytes=1),
        "folder": Artifact(digest=folder, format="folder", bytes=1),
    }
    made = {"run": RUN, "created": "2026", "seconds": 1.0}
    store.records.put(StepRecord(key=KEY, step="s", notebook=None, outputs=outputs, **made))
    store.runs.create(RUN)
    store.runs.write(RUN, {"state": "running"})
    store.runs.append(RUN, {"kind": "begun"})
    store.runs.write(RUN, {"state": "succeeded"})
    return {name: artifact.digest for name, artifact in outputs.items()}

def check(root):
    store = open_store(root)
    assert store.folder.ls("tmp") == [], store.folder.ls("tmp")
    assert store.folder.ls("aside") == [], store.folder.ls("aside")
    assert all(store.blobs.verify(digest) == "ok" for digest in store.blobs.digests())
    record = store.records.get(KEY)
    if record is not None:
        assert all(store.intact(artifact) == "ok" for artifact in record.outputs.values())
        assert store.records.latest("s") == record
    for run in store.runs.ids():
        assert store.runs.read(run)["state"] in ("lost", "succeeded"), store.runs.read(run)
        store.runs.events(run)
    return record is not None

def intercept(at, act, forever=False):
    count = 0
    def wrapped(real):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count == at or (forever and count > at):
                act(real, *args, **options)
            return real(*args, **options)
        return call
    for name in CALLS:
        setattr(os, name, wrapped(getattr(os, name)))
    return lambda: count
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_bytes(b"a")
    (tmp_path / "tree" / "sub" / "b").write_bytes(b"b" * 1000)
    return tmp_path / "tree"


def test_killed_before_any_call_to_the_system(tmp_path: Path, tree: Path) -> None:
    code = (
        SCENE
        + """
expected = work(Path(sys.argv[1]) / "clean")
killed = complete = 0
for at in range(1, 1000):
    root = Path(sys.argv[1]) / str(at)
    child = os.fork()
    if child == 0:
        intercept(at, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        work(root)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    killed += 1
    complete += check(root)
    assert work(root) == expected
    assert check(root)
    shutil.rmtree(root)
print(killed, complete)
"""
    )
    killed, complete = map(int, helper_processes.output_of(code, tmp_path, tree).split())
    assert killed > 50
    assert 0 < complete < killed


@pytest.mark.parametrize(
    ("code", "forever"), [("ENOSPC", False), ("ENOSPC", True), ("EIO", False), ("EROFS", True), ("EMFILE", False)]
)
def test_refused_at_any_call_to_the_system(tmp_path: Path, tree: Path, code: str, forever: bool) -> None:
    """Any failing call, once or from then on, ends in a StoreError or success, and no file is torn."""
    program = (
        SCENE
        + """
import errno
expected = work(Path(sys.argv[1]) / "clean")
number, forever = getattr(errno, sys.argv[3]), sys.argv[4] == "True"
def refuse(real, *args, **options):
    raise OSError(number, os.strerror(number), str(args[0]) if args else None)
refused = 0
for at in range(1, 1000):
    root = Path(sys.argv[1]) / str(at)
    child = os.fork()
    if child == 0:
        count = intercept(at, refuse, forever)
        try:
            work(root)
        except StoreError as error:
            (diagnostic,) = error.faults
            os._exit(3 if diagnostic.suggestion and str(root.parent) in diagnostic.message else 4)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(5)
        os._exit(0 if count() < at else 2)
    _, status = os.waitpid(child, 0)
    answer = os.waitstatus_to_exitcode(status)
    if answer == 0:
        break
    assert answer in (2, 3), (at, answer)
    refused += answer == 3
    assert work(root) == expected
    assert check(root)
    shutil.rmtree(root)
print(refused)
"""
    )
    assert int(helper_processes.output_of(program, tmp_path, tree, code, str(forever))) > 30


def test_nothing_gets_its_name_before_its_bytes_are_on_the_disk(tmp_path: Path, tree: Path) -> None:
    """A power cut may undo a name whose bytes, or whose folder's bytes, were not synced before."""
    program = (
        SCENE
        + """
log = []
real = {name: getattr(os, name) for name in ("replace", "fchmod", "mkdir")}

def name_of(handle):
    return os.readlink(f"/proc/self/fd/{handle}")

def replace(source, target):
    assert str(source) in log[log.index(str(source)):], f"not waited for: {source}"
    real["replace"](source, target)
    log.append(("named", str(target)))

def mkdir(path, *args, **options):
    real["mkdir"](path, *args, **options)
    log.append(("named", str(path)))

os.replace, os.mkdir = replace, mkdir
os.fsync = lambda handle: log.append(name_of(handle))
work(Path(sys.argv[1]) / "store")
named = {entry[1]: at for at, entry in enumerate(log) if isinstance(entry, tuple)}
scratch = [path for path in named if "/tmp/" in path]
for path, at in named.items():
    if path not in scratch:
        assert str(Path(path).parent) in log[at:], f"its folder was not waited for: {path}"
(record,) = [at for path, at in named.items() if "/records/ab/" in path]
blobs = [at for path, at in named.items() if "/blobs/" in path and len(Path(path).name) == 64]
assert len(blobs) == 5 and max(blobs) < record
for path, at in named.items():
    if "/blobs/" in path:
        assert str(Path(path).parent) in log[at:record], f"not waited for before the record: {path}"
"""
    )
    helper_processes.output_of(program, tmp_path, tree)


WRITER = """
store = open_store(sys.argv[1])
print("begun", flush=True)
for number in range(10_000):
    digests = [store.blobs.put_bytes(bytes([number % 251]) * size).digest for size in (10, 100_000, 3_000_000)]
    outputs = {str(at): Artifact(digest=digest, format="bytes", bytes=1) for at, digest in enumerate(digests)}
    key = f"{number:064x}"
    made = {"run": "r", "created": "2026", "seconds": 1.0}
    store.records.put(StepRecord(key=key, step="s", notebook=None, outputs=outputs, **made))
"""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    root = tmp_path / "store"
    chance = random.Random(0)
    seen_records = 0
    for _ in range(12):
        writer = helper_processes.start(WRITER, root)
        assert helper_processes.next_line(writer) == "begun"
        # Killed while it writes, not after a time: each round waits for another number of records.
        goal = len(list(root.glob("records/*/*.json"))) + chance.randrange(1, 6)
        while len(list(root.glob("records/*/*.json"))) < goal:
            assert writer.poll() is None
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        store = open_store(root)
        assert store.folder.ls("tmp") == []
        assert store.folder.ls("aside") == []
        keys = store.records.all_keys()
        for key in keys:
            record = store.records.get(key)
            assert record is not None
            assert [store.intact(artifact) for artifact in record.outputs.values()] == ["ok"] * 3
        assert {store.blobs.verify(digest) for digest in store.blobs.digests()} <= {"ok"}
        assert {record.key for record in store.records.for_step("s")} == set(keys)
        seen_records += len(keys)
        store.close()
    assert seen_records > 12


def test_what_the_living_write_is_not_swept(tmp_path: Path) -> None:
    code = """
    store = open_store(sys.argv[1])
    with store.blobs.writer() as writer:
        writer.write(b"half of it, ")
        print("half", flush=True)
        sys.stdin.readline()
        writer.write(b"and the rest")
    print(writer.digest, flush=True)
    """
    writer = helper_processes.start(code, tmp_path / "store")
    assert helper_processes.next_line(writer) == "half"
    store = open_store(tmp_path / "store")
    assert len(store.folder.ls("tmp")) == 1
    out, err = writer.communicate("go on\n")
    assert err == ""
    with store.blobs.open(out.strip()) as file:
        assert file.read() == b"half of it, and the rest"


def test_folders_of_the_dead_are_swept_and_strange_files_when_they_are_old(tmp_path: Path) -> None:
    code = """
    store = open_store(sys.argv[1])
    (store.scratch() / "deep" / "er").mkdir(parents=True)
    (store.scratch() / "value").write_bytes(b"x")
    """
    helper_processes.output_of(code, tmp_path / "store")
    strange = tmp_path / "store" / "tmp" / "strange"
    strange.write_bytes(b"x")
    mine = open_store(tmp_path / "store").scratch()
    store = open_store(tmp_path / "store")
    assert sorted(store.folder.ls("tmp")) == sorted(["strange", mine.name])
    os.utime(strange, (0, 0))
    os.utime(mine, (0, 0))
    assert open_store(tmp_path / "store").folder.ls("tmp") == [mine.name]
