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
STORE = Path("store").absolute()
value: Any = None


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


def save_ours() -> None:
    """Save as the notebook of a step does, and put it into the store as its worker does."""
    from jupyter_pipelines.running import settling
    from jupyter_pipelines.running.inside import Inside

    store = _store()
    folder = store.scratch(".make")
    ticket = _ticket("make", outputs={"value": {"kind": "value", "format": None}})
    Inside(ticket.to_dict(notebook=False), folder).outputs("value")
    taken = settling.take(ticket, store, folder)
    Path(ARTIFACT).write_text(json.dumps(taken.outputs["value"].to_dict()), encoding="utf-8")


def load_ours() -> Any:
    """Verify as the worker of the next step does, and load as its notebook does."""
    from jupyter_pipelines.running import settling
    from jupyter_pipelines.running.inside import Inside

    stored = json.loads(Path(ARTIFACT).read_text(encoding="utf-8"))
    given = {"kind": "artifact", "digest": stored["digest"], "format": stored["format"]}
    store = _store()
    folder = store.scratch(".use")
    ticket = _ticket("use", inputs={"value": given})
    laid_out = settling.lay_out(ticket, store, folder)
    return Inside({**ticket.to_dict(notebook=False), "inputs": laid_out}, folder).input("value")


def save_joblib() -> None:
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
    global value  # noqa: PLW0603 - what a step saves it has in its namespace
    value = MAKERS[kind](size)
    _, wall, cpu = timed(save_ours if who == "ours" else save_joblib)
    return {"write": wall, "write cpu": cpu, "sum": TOUCHES[kind](value)}


def read(who: str, kind: str) -> dict[str, float]:
    """Load the value, and then use it once."""
    loaded, wall, cpu = timed(load_ours if who == "ours" else load_joblib)
    found, use, use_cpu = timed(lambda: TOUCHES[kind](loaded))
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
    modules = ("running.settling", "running.guarding", "storing.serializers") if who == "ours" else ()
    for name in (*(f"jupyter_pipelines.{module}" for module in modules), "joblib"):
        importlib.import_module(name)
    _store()


def _store() -> Any:
    from jupyter_pipelines.storing.store import Store

    return Store.open(STORE)


def _ticket(step: str, **interface: Any) -> Any:
    from jupyter_pipelines.running.ticket import Ticket

    published = {"notebook": f"{step}.ipynb", "log": f"{step}.log"}
    place = {"path": f"{step}.ticket.json", "cwd": str(Path.cwd()), "store": str(STORE), "publish": published}
    return Ticket(id=f"one-{step}-1", run="one", step=step, notebook={}, **place, **interface)


if __name__ == "__main__":
    main(*sys.argv[1:])
