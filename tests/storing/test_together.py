"""Several processes use one store at once."""

from __future__ import annotations

from pathlib import Path

from jupyter_pipelines.storing.store import Store
from tests.storing import programs

PUT = """
store = Store.open(sys.argv[1])
sys.stdin.readline()
for number in range(60):
    digest = store.blobs.put_bytes(str(number).encode() * 10_000).digest
    key = f"{number:064x}"
    found = store.records.get(key)
    assert found is None or found.outputs["x"].digest == digest
    store.records.put(record(key, digest, created=f"2026-01-01T00:00:{number:02}"))
    assert store.blobs.open(digest).read() == str(number).encode() * 10_000
    assert store.records.latest("train") is not None
"""


def test_the_same_things_are_put_by_all_of_them(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    writers = [programs.start(PUT, tmp_path / "store") for _ in range(4)]
    assert [one.communicate("go\n") for one in writers] == [("", "")] * 4
    store = Store.open(tmp_path / "store")
    records = store.records.for_step("train")
    assert [one.key for one in records] == [f"{number:064x}" for number in reversed(range(60))]
    assert {store.intact(one.outputs["x"]) for one in records} == {"ok"}
    assert store.door.ls("tmp") == []
    assert store.door.ls("aside") == []


def test_a_new_store_is_made_by_all_of_them(tmp_path: Path) -> None:
    code = """
    sys.stdin.readline()
    store = Store.open(sys.argv[1])
    store.records.put(record(sys.argv[2] * 64, store.blobs.put_bytes(b"x").digest))
    """
    for round_ in range(3):
        root = tmp_path / f"store{round_}"
        makers = [programs.start(code, root, sign) for sign in "abcd"]
        assert [one.communicate("go\n") for one in makers] == [("", "")] * 4
        assert len(Store.open(root).records.for_step("train")) == 4


def test_each_key_is_computed_once(tmp_path: Path) -> None:
    code = """
    store = Store.open(sys.argv[1])
    sys.stdin.readline()
    for number in range(30):
        key = f"{number:064x}"
        with store.leases.lease(key):
            if store.records.get(key) is None:
                print("computed", key, flush=True)
                store.records.put(record(key, store.blobs.put_bytes(str(number).encode()).digest))
    """
    Store.open(tmp_path / "store").close()
    workers = [programs.start(code, tmp_path / "store") for _ in range(3)]
    said = [one.communicate("go\n") for one in workers]
    assert [err for _, err in said] == [""] * 3
    lines = "".join(out for out, _ in said).splitlines()
    assert len(lines) == len(set(lines)) == 30


def test_damage_is_healed_while_others_read(tmp_path: Path) -> None:
    code = """
    from jupyter_pipelines.errors import Corrupt
    store = Store.open(sys.argv[1])
    sys.stdin.readline()
    content = b"content" * 1000
    seen = set()
    for number in range(200):
        digest = store.blobs.put_bytes(content).digest
        try:
            with store.blobs.open(digest) as file:
                file.read()
            seen.add("read")
        except Corrupt:
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
    Store.open(root).close()
    workers = [
        programs.start(code, root, "read"),
        programs.start(code, root, "read"),
        programs.start(code, root, "harm"),
    ]
    assert [one.communicate("go\n") for one in workers] == [("", "")] * 3
    Store.open(root).blobs.put_bytes(b"content" * 1000)
    assert {Store.open(root).blobs.verify(digest) for digest in Store.open(root).blobs.digests()} == {"ok"}
