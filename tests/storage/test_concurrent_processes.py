"""Several processes use a store at the same time."""

from __future__ import annotations

from pathlib import Path

from jupyter_pipelines.storage.opening import open_store
from tests.storage import helper_processes

PUT = """
store = open_store(sys.argv[1])
sys.stdin.readline()
for number in range(60):
    digest = store.blobs.put_bytes(str(number).encode() * 10_000).digest
    key = f"{number:064x}"
    stored = store.records.get(key)
    assert stored is None or stored.outputs["x"].digest == digest
    store.records.put(record(key, digest, created=f"2026-01-01T00:00:{number:02}"))
    assert store.blobs.open(digest).read() == str(number).encode() * 10_000
    assert store.records.latest("train") is not None
"""


def test_the_same_things_are_put_by_all_of_them(tmp_path: Path) -> None:
    open_store(tmp_path / "store").close()
    writers = [helper_processes.start(PUT, tmp_path / "store") for _ in range(4)]
    assert [writer.communicate("go\n") for writer in writers] == [("", "")] * 4
    store = open_store(tmp_path / "store")
    records = store.records.for_step("train")
    assert [record.key for record in records] == [f"{number:064x}" for number in reversed(range(60))]
    assert {store.intact(record.outputs["x"]) for record in records} == {"ok"}
    assert store.folder.ls("tmp") == []
    assert store.folder.ls("aside") == []


def test_a_new_store_is_made_by_all_of_them(tmp_path: Path) -> None:
    code = """
    sys.stdin.readline()
    store = open_store(sys.argv[1])
    store.records.put(record(sys.argv[2] * 64, store.blobs.put_bytes(b"x").digest))
    """
    for round_ in range(3):
        root = tmp_path / f"store{round_}"
        makers = [helper_processes.start(code, root, sign) for sign in "abcd"]
        assert [maker.communicate("go\n") for maker in makers] == [("", "")] * 4
        assert len(open_store(root).records.for_step("train")) == 4


def test_each_key_is_computed_once(tmp_path: Path) -> None:
    code = """
    store = open_store(sys.argv[1])
    sys.stdin.readline()
    for number in range(30):
        key = f"{number:064x}"
        with store.leases.lease(key):
            if store.records.get(key) is None:
                print("computed", key, flush=True)
                store.records.put(record(key, store.blobs.put_bytes(str(number).encode()).digest))
    """
    open_store(tmp_path / "store").close()
    workers = [helper_processes.start(code, tmp_path / "store") for _ in range(3)]
    outputs = [worker.communicate("go\n") for worker in workers]
    assert [err for _, err in outputs] == [""] * 3
    lines = "".join(out for out, _ in outputs).splitlines()
    assert len(lines) == len(set(lines)) == 30


def test_damage_is_healed_while_others_read(tmp_path: Path) -> None:
    code = """
    from jupyter_pipelines.errors import CorruptOutput
    store = open_store(sys.argv[1])
    sys.stdin.readline()
    content = b"content" * 1000
    seen = set()
    for number in range(200):
        digest = store.blobs.put_bytes(content).digest
        try:
            with store.blobs.open(digest) as file:
                file.read()
            seen.add("read")
        except CorruptOutput:
            seen.add("corrupt")
        except StoreError as error:
            assert error.code == "JP405", error
            seen.add("missing")
        if sys.argv[2] == "harm":
            try:
                os.truncate(store.blobs.path(digest), 0)
            except FileNotFoundError:
                pass
    assert "read" in seen
    """
    root = tmp_path / "store"
    open_store(root).close()
    workers = [
        helper_processes.start(code, root, "read"),
        helper_processes.start(code, root, "read"),
        helper_processes.start(code, root, "harm"),
    ]
    assert [worker.communicate("go\n") for worker in workers] == [("", "")] * 3
    open_store(root).blobs.put_bytes(b"content" * 1000)
    assert {open_store(root).blobs.verify(digest) for digest in open_store(root).blobs.digests()} == {"ok"}
