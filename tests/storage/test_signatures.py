"""S07: a signature fits one record, as it is used, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.shared.resign import sign_records
from jupyter_pipelines.storage.signing.signatures import TrustPolicy, signed
from jupyter_pipelines.storage.step_record import (
    RecordSignature,
    StepRecord,
    checksum_of,
    decode,
    encode,
    path_of,
)
from jupyter_pipelines.storage.store import Store
from tests.storage.users import KEY, OTHER_KEY, StoreUser, new_user, record

ARTIFACT = Artifact(digest="sha256:" + "1" * 64, format="json", bytes=1)
OTHER: dict[str, Any] = {
    "key": OTHER_KEY,
    "step": "train",
    "notebook": None,
    "parts": {"code:1": "y"},
    "outputs": {"x": ARTIFACT},
    "run": "20260101-000000-000000-ffffff",
    "created": "2027",
    "seconds": 2.0,
    "attempts": 2,
    "warnings": ("odd",),
    "trace": {'["file","other.csv"]': "missing"},
    "asked": (('["file","a.csv"]',),),
    "changed": ("model",),
    "appended": ("rows.txt",),
    "folders": {"raw": {"a.csv": "0"}},
    "urls": {"raw": {"url": "https://example.org/a.csv", "digest": "sha256:" + "2" * 64}},
}


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreUser:
    user = new_user("ada", tmp_path)
    user.activate(monkeypatch)
    return user


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def mine(ada: StoreUser, store: Store) -> StepRecord:
    return signed(record(store))


def test_a_signed_record_is_trusted_after_it_was_written_and_read(mine: StepRecord) -> None:
    again = decode(encode(mine), KEY)
    assert again == mine
    assert again.signature == mine.signature
    assert TrustPolicy.of_user().rejection_reason(again) == ""


def test_the_table_of_changes_is_complete() -> None:
    assert set(OTHER) == {field.name for field in fields(StepRecord)} - {"signature"}


@pytest.mark.parametrize("name", OTHER)
def test_s07_nothing_of_a_record_can_be_changed(mine: StepRecord, name: str) -> None:
    changed = replace(mine, **{name: OTHER[name]})
    assert "changed" in TrustPolicy.of_user().rejection_reason(decode(encode(changed), changed.key))


@pytest.mark.parametrize(
    "change",
    [{"digest": "sha256:" + "2" * 64}, {"format": "pickle"}, {"bytes": 6}],
)
def test_s07_nothing_of_an_output_can_be_changed(mine: StepRecord, change: dict[str, Any]) -> None:
    """Least of all the format: the same bytes as a pickle are code."""
    changed = replace(mine, outputs={"x": replace(mine.outputs["x"], **change)})
    assert "changed" in TrustPolicy.of_user().rejection_reason(changed)


def test_s07_outputs_cannot_be_swapped(ada: StoreUser, store: Store) -> None:
    both = {"x": ARTIFACT, "y": replace(ARTIFACT, digest="sha256:" + "2" * 64)}
    made = signed(replace(record(store), outputs=both))
    swapped = replace(made, outputs={"x": both["y"], "y": both["x"]})
    assert TrustPolicy.of_user().rejection_reason(made) == ""
    assert "changed" in TrustPolicy.of_user().rejection_reason(swapped)


def test_s07_a_record_without_a_signature_is_not_trusted(mine: StepRecord) -> None:
    assert TrustPolicy.of_user().rejection_reason(replace(mine, signature=None)) == "it is not signed"


def test_s07_a_signature_of_another_record_does_not_fit(mine: StepRecord, store: Store) -> None:
    other = signed(record(store, b"other", key=OTHER_KEY))
    assert "changed" in TrustPolicy.of_user().rejection_reason(replace(mine, signature=other.signature))


def test_s07_an_unknown_user_is_not_trusted(mine: StepRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = new_user("bob", tmp_path)
    bob.activate(monkeypatch)
    assert "you do not trust" in TrustPolicy.of_user().rejection_reason(mine)
    bob.trusts(StoreUser("ada", tmp_path / "ada"))
    assert TrustPolicy.of_user().rejection_reason(mine) == ""


def test_s07_the_name_of_another_key_under_a_signature_does_not_help(
    mine: StepRecord, ada: StoreUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed by a stranger, under the key name of a trusted user."""
    eve = new_user("eve", tmp_path)
    eve.activate(monkeypatch)
    forged = signed(replace(mine, signature=None, step="forged"))
    assert forged.signature is not None
    assert mine.signature is not None
    ada.activate(monkeypatch)
    claimed = replace(forged, signature=replace(forged.signature, key=mine.signature.key))
    assert "changed" in TrustPolicy.of_user().rejection_reason(claimed)


@pytest.mark.parametrize("version", [0, 2])
def test_s07_a_signature_of_another_format_is_not_trusted(mine: StepRecord, version: int) -> None:
    assert mine.signature is not None
    other = replace(mine, signature=replace(mine.signature, version=version))
    assert f"version {version}" in TrustPolicy.of_user().rejection_reason(other)


@pytest.mark.parametrize("schema", ["jupyter-pipelines/record/0", "jupyter-pipelines/record/3"])
def test_s07_a_record_of_another_format_is_none(mine: StepRecord, schema: str) -> None:
    document = json.loads(encode(mine))
    document["record"]["schema"] = schema
    document["sha256"] = checksum_of(document["record"])
    with pytest.raises(ValueError, match="its format is"):
        decode(json.dumps(document).encode(), KEY)


def test_s07_a_record_under_another_key_is_none(mine: StepRecord) -> None:
    with pytest.raises(ValueError, match="another key"):
        decode(encode(mine), OTHER_KEY)


@pytest.mark.parametrize(
    "text",
    ["1", '"x"', "[]", "{}", '{"version": true, "key": "a", "value": ""}', '{"version": 1, "key": 2, "value": ""}',
     '{"version": 1, "key": "a", "value": "ä"}', '{"version": 1, "key": "a", "value": 3}'],
)  # fmt: skip
def test_what_is_no_signature(mine: StepRecord, text: str) -> None:
    document = json.loads(encode(mine)) | {"signature": json.loads(text)}
    with pytest.raises(ValueError, match=r"."):
        decode(json.dumps(document).encode(), KEY)


def test_s07_a_signature_of_no_bytes_does_not_fit(mine: StepRecord) -> None:
    assert mine.signature is not None
    for value in (b"", b"\0" * 64, mine.signature.value[:-1], mine.signature.value + b"\0"):
        made = RecordSignature(version=1, key=mine.signature.key, value=value)
        assert "changed" in TrustPolicy.of_user().rejection_reason(replace(mine, signature=made))


def test_a_store_of_ones_own_is_signed_and_asks_for_no_signature(ada: StoreUser, store: Store) -> None:
    store.records.put(record(store))
    loaded = store.records.get(KEY)
    assert loaded is not None
    assert loaded.signature is not None
    (store.root / path_of(KEY)).write_bytes(encode(replace(loaded, signature=None)))
    assert open_store(store.root).records.get(KEY) == loaded


def test_s07_without_the_package_nothing_is_trusted_and_a_store_of_ones_own_goes_on(
    ada: StoreUser, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No silent downgrade: what cannot be checked is refused, what cannot be signed is not signed and is said."""
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(StoreError) as caught:
        TrustPolicy.of_user()
    assert caught.value.code == "JP411"
    assert "jupyter-pipelines[signing]" in str(caught.value)
    with pytest.raises(StoreError, match="JP411"):
        signed(record(store), required=True)
    store.records.put(record(store))
    loaded = store.records.get(KEY)
    assert loaded is not None
    assert loaded.signature is None
    assert "not signed" in caplog.text


def test_without_a_key_nothing_is_signed_and_without_need_nothing_is_imported(tmp_path: Path) -> None:
    """A store of one's own costs nothing: also with a key, reading checks no signature."""
    lines = """
import sys
from pathlib import Path
from tests.storage.users import KEY, new_user, record
from jupyter_pipelines.storage.opening import open_store
store = open_store(sys.argv[1] + "/store")
store.check_writable()
store.records.put(record(store))
assert store.records.get(KEY).signature is None
assert "cryptography" not in sys.modules, "imported without a key"
"""
    keyless = f"{lines}import os; os._exit(0)"
    run = [sys.executable, "-c", keyless, str(tmp_path)]
    home = {"JUPYTER_PIPELINES_KEYS": str(tmp_path / "none"), "PATH": "/usr/bin"}
    done = subprocess.run(run, cwd=Path(__file__).parents[2], env=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_plan_over_a_store_of_ones_own_checks_no_signature(ada: StoreUser, store: Store) -> None:
    from jupyter_pipelines.storage.planner_view import StoreView

    store.records.put(record(store))
    lines = f"""
import sys
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.planner_view import StoreView
store = open_store({str(store.root)!r})
view = StoreView(store, "book.ipynb").at_once(["load"])
assert view.record({KEY!r}) is not None
assert view.refused({KEY!r}) == ""
assert "cryptography" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", lines], check=True)
    assert StoreView(store, None).refused(KEY) == ""


def test_what_is_stored_already_can_be_signed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = record(store), record(store, b"other", key=OTHER_KEY)
    store.records.put(good)
    store.records.put(bad)
    store.blobs.path(bad.outputs["x"].digest).unlink()
    with pytest.raises(StoreError, match="JP412"):
        sign_records(store)
    new_user("ada", tmp_path).activate(monkeypatch)
    done = sign_records(store)
    assert (done.signed, done.already, done.left_out) == (1, 0, 1)
    records = {key: store.records.read(key) for key in (KEY, OTHER_KEY)}
    assert TrustPolicy.of_user().rejection_reason(records[KEY]) == ""  # type: ignore[arg-type]
    assert records[OTHER_KEY].signature is None  # type: ignore[union-attr]
    assert sign_records(store).already == 1
