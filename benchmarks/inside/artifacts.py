"""Hands a value from one process to another: ``artifacts.py ours|joblib KIND SIZE``.

One process has the value and saves it, hashing included; a fresh one loads it, checking included where it is done.
Making the value and importing libraries are not timed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = {"array": "numpy", "frame": "pandas", "model": "sklearn.ensemble"}
PART = "part.json"
ARTIFACT = "artifact.json"
VALUE = "value.joblib"


def make_array(size: int) -> Any:
    """Return `size` random numbers, 8 bytes each."""
    import numpy as np

    return np.random.default_rng(0).random(size)


def make_frame(size: int) -> Any:
    """Return `size` rows: four columns of integers, four of floats, two of text."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(0)
    columns: dict[str, Any] = {f"i{n}": generator.integers(0, 1000, size) for n in range(4)}
    columns |= {f"f{n}": generator.random(size) for n in range(4)}
    words = pd.Series([f"word-{n:04}" for n in range(1000)], dtype="str")
    columns |= {f"t{n}": words.take(generator.integers(0, 1000, size)).array for n in range(2)}
    return pd.DataFrame(columns)


def make_model(size: int) -> Any:
    """Return a forest of `size` trees, about 0.9 MB each."""
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    generator = np.random.default_rng(0)
    rows, target = generator.random((10_000, 20)), generator.random(10_000)
    return RandomForestRegressor(size, max_features=1, n_jobs=-1, random_state=0).fit(rows, target)


MAKERS: dict[str, Callable[[int], Any]] = {"array": make_array, "frame": make_frame, "model": make_model}


def touch_array(value: Any) -> float:
    """Read all of it."""
    return float(value.sum())


def touch_frame(value: Any) -> float:
    """Read all of it: sums, and lengths of texts."""
    return float(value.select_dtypes("number").to_numpy().sum() + sum(value[n].str.len().sum() for n in ("t0", "t1")))


def touch_model(value: Any) -> float:
    """Use all of its trees."""
    return float(value.set_params(n_jobs=1).predict([[0.5] * 20])[0])


TOUCHES: dict[str, Callable[[Any], float]] = {"array": touch_array, "frame": touch_frame, "model": touch_model}


def save_ours(value: Any) -> None:
    """Save as a step does, and put it into the store as its worker does."""
    store = _store()
    path = store.scratch() / "value"
    saved = _serializers().save(value, path)
    digest, size = store.blobs.put_file(path, digest=saved.digest)
    Path(ARTIFACT).write_text(json.dumps([digest, saved.format, size]), encoding="utf-8")


def load_ours() -> Any:
    """Verify as the worker does, and load as a step does."""
    from jupyter_pipelines.pipeline.data import Artifact

    digest, form, size = json.loads(Path(ARTIFACT).read_text(encoding="utf-8"))
    store = _store()
    if store.intact(Artifact(digest=digest, format=form, bytes=size)) != "ok":
        raise RuntimeError("the store lost it")
    return _serializers().load(store.blobs.path(digest), form)


def save_joblib(value: Any) -> None:
    """Dump, and take the digest of the file."""
    import joblib

    joblib.dump(value, VALUE)
    with Path(VALUE).open("rb") as file:
        hashlib.file_digest(file, "sha256")


def load_joblib() -> Any:
    """Load."""
    import joblib

    return joblib.load(VALUE)


def timed(action: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `action` returns, and the seconds of wall and CPU that it took."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    value = action()
    wall = time.perf_counter() - start
    now = resource.getrusage(resource.RUSAGE_SELF)
    return value, wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def write(who: str, kind: str, size: int) -> dict[str, float]:
    """Make a value and save it."""
    value = MAKERS[kind](size)
    save = save_ours if who == "ours" else save_joblib
    _, wall, cpu = timed(lambda: save(value))
    return {"write": wall, "write cpu": cpu, "sum": TOUCHES[kind](value)}


def read(who: str, kind: str) -> dict[str, float]:
    """Load the value, and then use it once."""
    value, wall, cpu = timed(load_ours if who == "ours" else load_joblib)
    found, use, use_cpu = timed(lambda: TOUCHES[kind](value))
    return {"read": wall, "read cpu": cpu, "use": use, "use cpu": use_cpu, "sum": found}


def main(who: str, kind: str, size: str, part: str = "") -> None:
    """Do both parts, each in a process of its own, and add up; or do one part."""
    if part:
        _prepare(who, kind)
        figures = write(who, kind, int(size)) if part == "write" else read(who, kind)
        Path(PART).write_text(json.dumps(figures), encoding="utf-8")
        return
    written, loaded = (_call(who, kind, size, part) for part in ("write", "read"))
    if written.pop("sum") != loaded.pop("sum"):
        raise RuntimeError("what was loaded is not what was saved")
    total = {"wall": written["write"] + loaded["read"], "cpu": written["write cpu"] + loaded["read cpu"]}
    Path("figures.json").write_text(json.dumps(total | written | loaded), encoding="utf-8")


def _call(*arguments: str) -> dict[str, float]:
    subprocess.run([sys.executable, __file__, *arguments], check=True)
    found: dict[str, float] = json.loads(Path(PART).read_text(encoding="utf-8"))
    return found


def _prepare(who: str, kind: str) -> None:
    """Import what a step that has such a value has imported, and what saves and loads it."""
    importlib.import_module(LIBRARIES[kind])
    if who == "ours":
        _store()
        _serializers()
    else:
        importlib.import_module("joblib")


def _store() -> Any:
    from jupyter_pipelines.storing.store import Store

    return Store.open(Path("store").absolute())


def _serializers() -> Any:
    from jupyter_pipelines.storing import serializers

    return serializers


if __name__ == "__main__":
    main(*sys.argv[1:])
