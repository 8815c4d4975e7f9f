"""The same scenarios for a store that several users write to: the shared folder, and the front of one user."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from jupyter_pipelines.storage.blobs.blobs import path_of as blob_path
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.signing.keyring import UserKeyring
from jupyter_pipelines.storage.signing.signatures import make_key
from tests.faults.scenarios import KEY, Digests, FaultScenario, check, put


def use_front(root: Path, front: Path) -> Path:
    """Give this process a key and a front, and return the folder that is shared."""
    keys = root.parent / "keys"
    if not UserKeyring(keys).has_own():
        UserKeyring(keys).keep(make_key())
    os.environ |= {"JUPYTER_PIPELINES_KEYS": str(keys), "JUPYTER_PIPELINES_FRONT": str(front)}
    return root / "team"


def make_empty(root: Path) -> None:
    """A folder for several people, with nothing in it."""
    (root / "team").mkdir(parents=True)
    (root / "team").chmod(0o2777)


def make_filled(root: Path) -> None:
    """A shared store with a result that came from elsewhere; a blob of it was exchanged."""
    make_empty(root)
    digests = put(use_front(root, root.parent / "theirs"))
    shutil.rmtree(root.parent / "theirs")
    path = root / "team" / blob_path(digests["written"])
    path.unlink()
    path.write_bytes(b"planted")


def compute(root: Path) -> Digests:
    """What a step leaves, in front and behind."""
    return put(use_front(root, root / "front"))


def take_in(root: Path) -> Digests:
    """What a run does with what others have computed: it takes it in, checked, or computes it again."""
    store = open_store(use_front(root, root / "front"))
    stored = store.records.get(KEY)
    if stored is None or set(store.intact_many(stored.outputs.values()).values()) != {"ok"}:
        return compute(root)
    return {name: output.digest for name, output in stored.outputs.items()}


def check_shared(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Check the front as any store, and the shared folder as a new user with an empty front sees it."""
    wrong = [
        violation
        for front in sorted((root / "front").glob("*"))
        for violation in check(front, harmed=harmed, dead=dead)
    ]
    fresh = Path(tempfile.mkdtemp(dir=root.parent))
    store = open_store(use_front(root, fresh))
    if dead:
        wrong += [f"I6: left behind: team/tmp/{path.name}" for path in (root / "team").glob("tmp/*")]
    stored = store.records.get(KEY)
    if stored is None and (why := store.records.refusal(KEY)):
        wrong.append(f"I3: a torn record is shared: {why}")
    if stored is not None and not harmed:
        wrong += [
            f"I3: shared without `{name}`" for name, output in stored.outputs.items() if store.intact(output) != "ok"
        ]
    wrong += [
        f"I2: wrong bytes were taken in: {digest}"
        for digest in store.blobs.digests()
        if store.blobs.examine(digest) != "ok"
    ]
    store.close()
    shutil.rmtree(fresh)
    return wrong


SHARED_SCENARIOS = {
    "share": FaultScenario(compute, make_empty),
    "take in": FaultScenario(take_in, make_filled, harmed=True),
}
