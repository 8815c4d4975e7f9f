"""Opening a store: what is no store, what is not ours, what is too new, what cannot be written, what is full."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from jupyter_pipelines.errors import PluginError, StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.store import Store
from tests.storage import helper_processes

KEY = "ab" + "0" * 62


def checked_text(error: StoreError, code: str, where: Path) -> str:
    """Check that an error says what, where and what to do; return its text."""
    (diagnostic,) = error.faults
    assert diagnostic.code == code
    assert str(where) in diagnostic.message
    assert diagnostic.suggestion
    assert not diagnostic.suggestion.endswith("?")
    return str(error)


def refused(path: Path | str, code: str, where: Path) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(path)
    return checked_text(caught.value, code, where)


def record(store: Store) -> StepRecord:
    digest, size = store.blobs.put_bytes(b"value")
    outputs = {"x": Artifact(digest=digest, format="bytes", bytes=size)}
    return StepRecord(key=KEY, step="s", notebook=None, outputs=outputs, run="r", created="2026", seconds=1.0)


# Opening


def test_a_store_is_made_where_there_is_none(tmp_path: Path) -> None:
    store = open_store(tmp_path / "deep" / "store")
    assert (store.root / ".gitignore").read_text() == "*\n"
    assert json.loads((store.root / "format.json").read_bytes())["schema"] == "jupyter-pipelines/store/3"
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
    assert store.root == tmp_path / "deep" / "store"


def test_git_sees_nothing_of_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    store = open_store(tmp_path / ".pipelines")
    store.records.put(record(store))
    done = subprocess.run(["git", "-C", tmp_path, "status", "--porcelain"], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_plain_paths_and_file_urls_mean_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "a b%20ü{}"
    store = open_store(root)
    monkeypatch.chdir(tmp_path)
    for url in (root, str(root), root.name, root.as_uri(), f"./{root.name}", store.url):
        assert open_store(url).root == root
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store(f"~/{root.name}").root == root


def test_another_scheme_is_looked_up_among_plug_ins(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        open_store("warehouse://bucket/store")
    assert caught.value.code == "JP602"


def test_a_missing_store_can_be_read_as_an_empty_one(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=False)
    assert store.records.get(KEY) is None
    assert store.records.latest("s") is None
    assert store.runs.ids() == ()
    assert store.blobs.verify("sha256:" + "0" * 64) == "missing"
    assert not store.root.exists()


def test_an_empty_folder_becomes_a_store_and_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o777)
    store = open_store(tmp_path / "store")
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.tex").write_text("x")
    text = refused(tmp_path / "project", "JP401", tmp_path / "project")
    assert "thesis.tex" in text
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["thesis.tex"]


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("precious")
    text = refused(tmp_path / "store", "JP401", tmp_path / "store")
    assert "there is a file of that name" in text
    assert (tmp_path / "store").read_text() == "precious"


def test_many_may_make_it_at_once(tmp_path: Path) -> None:
    """A process that opens it while another creates the folder finds a store, or creates it; it never fails."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            for number in range(100):
                together = Barrier(4)

                def open_it(url: Path = tmp_path / f"store{number}", together: Barrier = together) -> Store:
                    together.wait()
                    return open_store(url)

                stores = [opening.result() for opening in [pool.submit(open_it) for _ in range(4)]]
                assert [store.root for store in stores] == [tmp_path / f"store{number}"] * 4
                for store in stores:
                    store.close()
    finally:
        sys.setswitchinterval(before)


def test_a_file_above_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "is a file" in refused(tmp_path / "file" / "store", "JP401", tmp_path / "file" / "store")


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "nowhere")
    assert str(tmp_path / "store") in refused(tmp_path / "store", "JP401", tmp_path / "store")


def test_a_link_to_a_folder_is_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = open_store(tmp_path / "store")
    store.records.put(record(store))
    assert open_store(tmp_path / "disk").records.get(KEY) is not None


def test_a_store_that_a_newer_version_wrote(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.records.put(record(store))
    (store.root / "format.json").write_text('{"schema": "jupyter-pipelines/store/4", "writer": "7.0"}')
    text = refused(store.root, "JP406", store.root)
    assert "7.0" in text
    assert "pip install -U" in text
    assert store.records.get(KEY) is not None


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b"[]", b'{"schema": 3}', b'{"schema": "something/else"}'])
def test_a_damaged_mark_is_written_again(tmp_path: Path, content: bytes) -> None:
    store = open_store(tmp_path / "store")
    store.records.put(record(store))
    (store.root / "format.json").write_bytes(content)
    again = open_store(store.root)
    assert again.records.get(KEY) is not None
    assert json.loads((store.root / "format.json").read_bytes())["schema"] == "jupyter-pipelines/store/3"


def test_a_store_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.root.chmod(0o770)
    text = refused(store.root, "JP401", store.root)
    assert "run their code" in text
    assert "chmod" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_store_of_another_user_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    os.chown(store.root, 12345, -1)
    assert "belongs to another user" in refused(store.root, "JP401", store.root)


def test_nothing_leads_out_of_a_store(tmp_path: Path) -> None:
    folder = open_store(tmp_path / "store").folder
    for path in ("", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/.", "a\0b"):
        for act in (folder.locate, folder.exists, folder.open, folder.rm):
            with pytest.raises(ValueError, match="not a path inside a store"):
                act(path)


# Read-only and full


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(folder: Path) -> None:
    """Use up every byte that is free."""
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def write_blob(store: Store) -> None:
    store.blobs.put_bytes(os.urandom(3_000_000))


def move_blob(store: Store) -> None:
    source = store.root.parent.parent / "source"
    source.write_bytes(os.urandom(3_000_000))
    try:
        store.blobs.put_file(source)
    except StoreError:
        assert source.exists()
        raise
    assert not source.exists()


def write_record(store: Store) -> None:
    from dataclasses import replace

    huge = {str(number): "x" * 100_000 for number in range(30)}
    store.records.put(replace(record(store), parts=huge))


def write_run(store: Store) -> None:
    run = store.runs.new_id()
    store.runs.create(run)
    store.runs.write(run, {"state": "running", "text": "x" * 3_000_000})


def append_event(store: Store) -> None:
    run = store.runs.new_id()
    store.runs.create(run)
    for _ in range(40):
        store.runs.append(run, {"text": "x" * 100_000})


def save_value(store: Store) -> None:
    serializers.save(os.urandom(3_000_000), store.scratch() / "value")


def save_array(store: Store) -> None:
    import numpy as np

    serializers.save(np.zeros(3_000_000, "u1"), store.scratch() / "value")


def save_frame(store: Store) -> None:
    import pandas as pd

    serializers.save(pd.DataFrame({"a": range(400_000)}), store.scratch() / "value")


def save_pickle(store: Store) -> None:
    serializers.save((os.urandom(3_000_000),), store.scratch() / "value")


WRITES = [write_blob, move_blob, write_record, write_run, append_event, save_value, save_array, save_frame, save_pickle]


@pytest.mark.parametrize("write", WRITES)
def test_a_full_store_is_told_loses_nothing_and_goes_on_when_there_is_room(
    mounted: Path, write: Callable[[Store], None]
) -> None:
    store = open_store(mounted / "store")
    before = record(store)
    store.records.put(before)
    with pytest.raises(StoreError) as caught:
        write(store)
    text = checked_text(caught.value, "JP403", mounted / "store")
    assert "MB are free" in text
    assert "gc" in text
    assert [name for name in store.folder.ls("tmp") if (store.root / "tmp" / name).is_file()] == []
    again = open_store(store.root)
    assert again.records.get(KEY) == before
    assert again.blobs.verify(before.outputs["x"].digest) == "ok"
    subprocess.run(["mount", "-o", "remount,size=20m", mounted], check=True)
    write(again)


def test_a_store_without_any_room_left_still_answers(mounted: Path) -> None:
    store = open_store(mounted / "store")
    before = record(store)
    store.records.put(before)
    store.close()
    fill(mounted)
    again = open_store(mounted / "store")
    assert again.records.latest("s") == before
    assert load_value(again, before.outputs["x"]) == b"value"
    with pytest.raises(StoreError) as caught:
        again.check_writable()
    checked_text(caught.value, "JP403", mounted / "store")
    with pytest.raises(StoreError) as caught:
        again.records.put(before)
    checked_text(caught.value, "JP403", mounted / "store")
    (mounted / "filler").unlink()
    again.check_writable()


def test_a_new_store_on_a_full_disk_is_told(mounted: Path) -> None:
    fill(mounted)
    text = refused(mounted / "store", "JP403", mounted / "store")
    assert "0.0 MB are free" in text
    (mounted / "filler").unlink()
    open_store(mounted / "store").check_writable()


def test_a_limit_on_the_size_of_files_is_told(tmp_path: Path) -> None:
    code = """
    import resource
    store = open_store(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        store.blobs.put_bytes(bytes(1_000_000))
    except StoreError as error:
        print(error.code, error)
    print(os.listdir(store.root / "tmp"), store.blobs.put_bytes(b"small").size)
    """
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    out = helper_processes.output_of(code, tmp_path / "store")
    assert out.startswith("JP403")
    assert "files may not become this large" in out
    assert out.endswith("[] 5\n")


def test_a_read_only_store_can_be_read(mounted: Path) -> None:
    store = open_store(mounted / "store")
    before = record(store)
    store.records.put(before)
    (store.root / "records" / "ff").mkdir()
    (store.root / "records" / "ff" / f"{'f' * 64}.json").write_text("damaged")
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    again = open_store(mounted / "store")
    assert again.records.get(KEY) == before
    assert again.records.latest("s") == before
    assert again.records.get("f" * 64) is None
    assert load_value(again, before.outputs["x"]) == b"value"
    assert again.digest(mounted / "store" / "format.json")


@pytest.mark.parametrize(
    "write",
    [
        write_blob,
        write_run,
        lambda store: store.records.put(StepRecord(key=KEY, step="s", notebook=None, run="r", created="", seconds=0.0)),
        lambda store: store.records.forget(KEY),
        lambda store: store.leases.lease(KEY),
        lambda store: store.leases.try_acquire(KEY),
        lambda store: store.scratch(),
        lambda store: store.check_writable(),
    ],
)
def test_a_read_only_store_is_told_when_it_is_written(mounted: Path, write: Callable[[Store], None]) -> None:
    store = open_store(mounted / "store")
    store.records.put(record(store))
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(StoreError) as caught:
        write(open_store(mounted / "store"))
    assert "read-only file system" in checked_text(caught.value, "JP402", mounted / "store")


def test_a_new_store_on_a_read_only_disk_is_told(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    assert "read-only file system" in refused(mounted / "store", "JP402", mounted / "store")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_store_that_may_not_be_written_or_read_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    for folder in tmp_path.parents:
        if folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    code = """
    os.seteuid(65534)
    for path in sys.argv[1:]:
        try:
            open_store(path)
        except StoreError as error:
            print(error.code, error.faults[0].message)
    """
    lines = helper_processes.output_of(code, store.root, tmp_path / "new").splitlines()
    assert lines[0].startswith("JP401")
    assert lines[1].startswith("JP402")
    assert "permission denied" in lines[0]
    assert "permission denied" in lines[1]


def test_a_store_that_disappears_is_told_and_not_made_elsewhere(tmp_path: Path) -> None:
    import shutil

    store = open_store(tmp_path / "store")
    before = record(store)
    store.records.put(before)
    shutil.rmtree(store.root)
    assert store.records.get(KEY) is None
    assert store.records.latest("s") is None
    assert store.blobs.verify(before.outputs["x"].digest) == "missing"
    # What is written makes it anew.
    store.records.put(record(store))
    assert open_store(store.root).records.get(KEY) is not None


def test_opening_costs_no_more_than_it_has_to(tmp_path: Path) -> None:
    code = """
    store = open_store(sys.argv[1])
    store.records.get("0" * 64)
    heavy = {"sqlite3", "psutil", "filelock", "numpy", "pandas", "pyarrow", "cloudpickle"}
    print(*sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
    """
    assert helper_processes.output_of(code, tmp_path / "store") == "\n"
