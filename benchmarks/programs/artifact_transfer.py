"""Transfer a value from a process to another: ``artifact_transfer.py ours|joblib KIND SIZE``.

The first process saves the value, including its hash; a new process loads it, including verification where the tool
verifies. Computing the value and importing libraries are not timed.
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
OWN_MODULES = (
    "jupyter_pipelines.execution.worker.staging",
    "jupyter_pipelines.execution.kernel_side.mutation_guard",
    "jupyter_pipelines.storage.serializers",
)
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
    """Read the whole array."""
    return float(value.sum())


def touch_frame(value: Any) -> float:
    """Read the whole frame: sums, and lengths of texts."""
    return float(value.select_dtypes("number").to_numpy().sum() + sum(value[n].str.len().sum() for n in ("t0", "t1")))


def touch_model(value: Any) -> float:
    """Predict with all trees."""
    return float(value.set_params(n_jobs=1).predict([[0.5] * 20])[0])


TOUCHES: dict[str, Callable[[Any], float]] = {"array": touch_array, "frame": touch_frame, "model": touch_model}


def save_ours() -> None:
    """Save as the notebook of a step does, and put it into the store as its worker does."""
    from jupyter_pipelines.execution.kernel_side.step_io import StepIO
    from jupyter_pipelines.execution.worker import staging

    store = _store()
    folder = store.scratch(".make")
    ticket = _ticket("make", outputs={"value": {"kind": "value", "format": None}})
    StepIO(ticket.to_dict(notebook=False), folder).outputs("value")
    taken = staging.stage_outputs(ticket, store, folder)
    Path(ARTIFACT).write_text(json.dumps(taken.outputs["value"].to_dict()), encoding="utf-8")


def load_ours() -> Any:
    """Verify as the worker of the next step does, and load as its notebook does."""
    from jupyter_pipelines.execution.kernel_side.step_io import StepIO
    from jupyter_pipelines.execution.worker import staging

    stored = json.loads(Path(ARTIFACT).read_text(encoding="utf-8"))
    given = {"kind": "artifact", "digest": stored["digest"], "format": stored["format"]}
    store = _store()
    folder = store.scratch(".use")
    ticket = _ticket("use", inputs={"value": given})
    laid_out = staging.stage_inputs(ticket, store, folder)
    return StepIO({**ticket.to_dict(notebook=False), "inputs": laid_out}, folder).input("value")


def save_joblib() -> None:
    """Dump the value, and compute the digest of the file."""
    import joblib

    joblib.dump(value, VALUE)
    with Path(VALUE).open("rb") as file:
        hashlib.file_digest(file, "sha256")


def load_joblib() -> Any:
    """Load the value."""
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
    global value  # noqa: PLW0603 - a step saves values of its namespace
    value = MAKERS[kind](size)
    _, wall, cpu = timed(save_ours if who == "ours" else save_joblib)
    return {"write": wall, "write cpu": cpu, "sum": TOUCHES[kind](value)}


def read(who: str, kind: str) -> dict[str, float]:
    """Load the value, and then read all of it."""
    loaded, wall, cpu = timed(load_ours if who == "ours" else load_joblib)
    checksum, use, use_cpu = timed(lambda: TOUCHES[kind](loaded))
    return {"read": wall, "read cpu": cpu, "use": use, "use cpu": use_cpu, "sum": checksum}


def main(who: str, kind: str, size: str, part: str = "") -> None:
    """Do both parts, each in its own process, and add up the times; or do a single part."""
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
    figures: dict[str, float] = json.loads(Path(PART).read_text(encoding="utf-8"))
    return figures


def _prepare(who: str, kind: str) -> None:
    """Import the libraries of the value, and the modules that save and load it."""
    importlib.import_module(LIBRARIES[kind])
    for name in (*(OWN_MODULES if who == "ours" else ()), "joblib"):
        importlib.import_module(name)
    _store()


def _store() -> Any:
    from jupyter_pipelines.storage.opening import open_store

    return open_store(STORE)


def _ticket(step: str, **interface: Any) -> Any:
    from jupyter_pipelines.execution.ticket import StepTicket

    published = {"notebook": f"{step}.ipynb", "log": f"{step}.log"}
    place = {"path": f"{step}.ticket.json", "cwd": str(Path.cwd()), "store": str(STORE), "publish": published}
    return StepTicket(id=f"transfer-{step}-1", run="transfer", step=step, notebook={}, **place, **interface)


if __name__ == "__main__":
    main(*sys.argv[1:])
