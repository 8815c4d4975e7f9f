"""The same for a store that several people write to: the folder that they share, and a front of somebody's own."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from jupyter_pipelines.storing.blobs import path_of as blob_path
from jupyter_pipelines.storing.keyring import Keyring
from jupyter_pipelines.storing.signing import make_key
from jupyter_pipelines.storing.store import Store
from tests.faults.scenes import KEY, Digests, Scene, check, put


def sit_down(root: Path, front: Path) -> Path:
    """Let this process be somebody with a key and a front, and return the folder that is shared."""
    keys = root.parent / "keys"
    if not Keyring(keys).has_own():
        Keyring(keys).keep(make_key())
    os.environ |= {"JUPYTER_PIPELINES_KEYS": str(keys), "JUPYTER_PIPELINES_FRONT": str(front)}
    return root / "team"


def empty(root: Path) -> None:
    """A folder for several people, with nothing in it."""
    (root / "team").mkdir(parents=True)
    (root / "team").chmod(0o2777)


def filled(root: Path) -> None:
    """A shared store with a result that came from elsewhere; a blob of it was exchanged."""
    empty(root)
    digests = put(sit_down(root, root.parent / "theirs"))
    shutil.rmtree(root.parent / "theirs")
    path = root / "team" / blob_path(digests["written"])
    path.unlink()
    path.write_bytes(b"planted")


def compute(root: Path) -> Digests:
    """What a step leaves, in front and behind."""
    return put(sit_down(root, root / "front"))


def take_in(root: Path) -> Digests:
    """What a run does with what others have computed: it takes it in, checked, or computes it again."""
    store = Store.open(sit_down(root, root / "front"))
    found = store.records.get(KEY)
    if found is None or set(store.intact_many(found.outputs.values()).values()) != {"ok"}:
        return compute(root)
    return {name: one.digest for name, one in found.outputs.items()}


def check_both(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Look at the front as at any store; and at what is shared as somebody does who comes there first."""
    wrong = [one for front in sorted((root / "front").glob("*")) for one in check(front, harmed=harmed, dead=dead)]
    fresh = Path(tempfile.mkdtemp(dir=root.parent))
    store = Store.open(sit_down(root, fresh))
    if dead:
        wrong += [f"I6: left behind: team/tmp/{one.name}" for one in (root / "team").glob("tmp/*")]
    found = store.records.get(KEY)
    if found is None and (why := store.records.refusal(KEY)):
        wrong.append(f"I3: a torn record is shared: {why}")
    if found is not None and not harmed:
        wrong += [f"I3: shared without `{name}`" for name, one in found.outputs.items() if store.intact(one) != "ok"]
    wrong += [
        f"I2: wrong bytes were taken in: {one}" for one in store.blobs.digests() if store.blobs.examine(one) != "ok"
    ]
    store.close()
    shutil.rmtree(fresh)
    return wrong


SHARED = {
    "share": Scene(compute, empty),
    "take in": Scene(take_in, filled, harmed=True),
}
