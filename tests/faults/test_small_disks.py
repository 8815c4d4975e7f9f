"""Disks that are really full, really read-only, and files that may not grow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.opening import open_store
from tests.storage import helper_processes


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    path = tmp_path / "small"
    path.mkdir()
    mount(path, "-t", "tmpfs", "-o", "size=1m", "none")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount(path: Path, *options: str) -> None:
    """Mount a disk, or skip the test with the reason."""
    done = subprocess.run(["mount", *options, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 10_000)


def test_a_full_disk_is_told_harms_nothing_and_is_used_when_there_is_room_again(small: Path) -> None:
    """R33: what was stored is still served, nothing torn is left, and once there is room the same put succeeds."""
    store = open_store(small / "store")
    kept = store.blobs.put_bytes(b"kept" * 1000).digest
    filler = small / "filler"
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    with pytest.raises(StoreError) as caught:
        store.blobs.put_bytes(os.urandom(500_000))
    assert caught.value.code == "JP403"
    assert "MB are free there" in str(caught.value)
    store.close()
    again = open_store(small / "store")
    assert again.folder.ls("tmp") == []
    assert again.blobs.verify(kept) == "ok"
    filler.unlink()
    content = os.urandom(300_000)
    with again.blobs.open(again.blobs.put_bytes(content).digest) as file:
        assert file.read() == content
    again.close()


def test_a_read_only_disk_is_read_from_and_refuses_before_anything_is_computed(small: Path) -> None:
    """R34: what is stored is served; that nothing can be stored is reported beforehand."""
    store = open_store(small / "store")
    kept = store.blobs.put_bytes(b"kept").digest
    store.close()
    mount(small, "-o", "remount,ro")
    store = open_store(small / "store")
    with store.blobs.open(kept) as file:
        assert file.read() == b"kept"
    with pytest.raises(StoreError, match="read-only") as caught:
        store.check_writable()
    assert caught.value.code == "JP402"
    store.close()


def test_a_store_that_is_unmounted_meanwhile(small: Path) -> None:
    """R35: the store goes away under a program that uses it: a miss or one error of ours, and nothing elsewhere."""
    store = open_store(small / "store")
    kept = store.blobs.put_bytes(b"kept").digest
    subprocess.run(["umount", "--lazy", str(small)], check=True)
    assert store.blobs.verify(kept) == "missing"
    assert store.records.all_keys() == ()
    store.close()
    mount(small, "-t", "tmpfs", "none")  # for the fixture to take away


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """R33: with RLIMIT_FSIZE the error names the limit, and what is stored stays."""
    code = """
    import resource
    store = open_store(sys.argv[1])
    kept = store.blobs.put_bytes(b"kept").digest
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        store.blobs.put_bytes(os.urandom(500_000))
    except StoreError as error:
        print(error.code, "ulimit -f" in str(error), store.blobs.verify(kept), store.folder.ls("tmp"))
    """
    assert helper_processes.output_of(code, tmp_path / "store").strip() == "JP403 True ok []"


def test_too_many_open_files(tmp_path: Path) -> None:
    """R36: an error of ours, no partial record, and what was stored is neither served wrongly nor put aside."""
    code = """
    import resource
    store = open_store(sys.argv[1])
    digest = store.blobs.put_bytes(b"kept").digest
    store.records.put(record("a" * 64, digest))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
    seen = []
    for act in (lambda: store.blobs.put_bytes(b"more"), lambda: store.blobs.open(digest)):
        try:
            act()
        except StoreError as error:
            seen.append(error.code)
    seen.append(store.blobs.verify(digest))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(*seen, store.records.get("a" * 64) is not None, store.blobs.verify(digest), store.folder.ls("aside"))
    """
    assert helper_processes.output_of(code, tmp_path / "store").strip() == "JP402 JP401 unknown True ok []"
