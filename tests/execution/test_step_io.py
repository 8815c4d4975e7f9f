"""The functions that a step's notebook calls, without a kernel."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import StepFailed
from jupyter_pipelines.execution.kernel_side import step_io
from jupyter_pipelines.execution.kernel_side.mutation_guard import MutationGuard, fingerprint
from tests.execution.sample_tickets import TicketFactory


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TicketFactory:
    monkeypatch.delenv(step_io.ATTEMPT, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return TicketFactory(tmp_path)


def opened(factory: TicketFactory, **about: Any) -> step_io.StepIO:
    """Open a step as when a user runs its notebook by hand."""
    ticket = factory.ticket("pass", **about)
    document = ticket.to_dict(notebook=False)
    for given in document["inputs"].values():
        if given["kind"] == "artifact":
            given["path"] = str(factory.store.blobs.path(given["digest"]))
    Path(ticket.path).parent.mkdir(exist_ok=True)
    Path(ticket.path).write_text(json.dumps(document))
    return step_io.open_step(ticket.path)


def finish(step: step_io.StepIO, **namespace: Any) -> dict[str, Any]:
    """Call ``_step.outputs()`` where these names are bound, and return the manifest."""
    exec("_step.outputs()", {"_step": step, **namespace})
    (manifest,) = Path("..", "run").resolve().glob("*.by-hand/outputs.json")
    return json.loads(manifest.read_text())


def codes(step: step_io.StepIO, **namespace: Any) -> list[str]:
    with pytest.raises(StepFailed) as caught:
        finish(step, **namespace)
    return [diagnostic.code for diagnostic in caught.value.faults]


def test_by_hand_a_step_works_where_its_notebook_came_from(factory: TicketFactory) -> None:
    opened(factory)
    assert Path.cwd() == factory.project
    assert str(factory.project) in sys.path


def test_by_hand_outputs_stay_beside_the_ticket(factory: TicketFactory) -> None:
    blobs = sorted(factory.store.blobs.digests())
    manifest = finish(opened(factory, outputs="x"), x=1)
    path = Path(manifest["outputs"]["x"]["path"])
    assert path.read_text() == "1"
    assert ".by-hand" in str(path)
    assert sorted(factory.store.blobs.digests()) == blobs


def test_a_step_can_be_finished_again_by_hand(factory: TicketFactory) -> None:
    step = opened(factory, outputs="x")
    finish(step, x=1)
    assert Path(finish(step, x=2)["outputs"]["x"]["path"]).read_text() == "2"


def test_another_workers_attempt_is_none_of_ours(
    factory: TicketFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    (attempt / "attempt.json").write_text(json.dumps({"ticket": "/another.json", "log": "/dev/null"}))
    monkeypatch.setenv(step_io.ATTEMPT, str(attempt))
    finish(opened(factory, outputs="x"), x=1)
    assert not (attempt / "outputs.json").exists()


def test_inputs_come_as_values_or_paths(factory: TicketFactory) -> None:
    (factory.project / "a.csv").write_text("1")
    step = opened(factory, inputs={"X": {"a": [1]}, "raw": factory.project / "a.csv", "extra": None})
    assert step.inputs("X", "raw", "extra") == ({"a": [1]}, factory.project / "a.csv", None)


def test_an_unknown_input_lists_those_there_are(factory: TicketFactory) -> None:
    with pytest.raises(StepFailed, match="use one of its inputs: X") as caught:
        opened(factory, inputs={"X": 1}).input("Y")
    assert caught.value.code == "JP310"


def test_a_ticket_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="run the pipeline again") as caught:
        step_io.open_step(str(tmp_path / "gone.json"))
    assert caught.value.code == "JP310"


def test_an_output_that_equals_nothing_but_is_set_counts(factory: TicketFactory) -> None:
    assert finish(opened(factory, outputs="x"), x=None)["outputs"]["x"]["format"] == "json"


def test_all_faults_come_at_once(factory: TicketFactory) -> None:
    step = opened(factory, inputs={"rows": [1]}, outputs="x y report:file")
    step.input("rows").append(2)
    assert codes(step) == ["JP204", "JP204", "JP204", "JP307"]


def test_a_folder_is_there_before_the_step_writes_to_it(factory: TicketFactory) -> None:
    step = opened(factory, outputs="plots:folder")
    assert step.path("plots").is_dir()
    assert finish(step)["outputs"]["plots"]["kind"] == "folder"


def test_importing_it_costs_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import jupyter_pipelines.execution.kernel_side.step_io\n"
        "print([name for name in ('sqlite3', 'nbformat', 'papermill', 'pandas', 'numpy', 'psutil', 'asyncio', "
        "'jupyter_pipelines.storage') if name in set(sys.modules) - before])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# The mutation guard


class LazyTotals:
    """An object that fills caches when it is read."""

    def __init__(self) -> None:
        self.rows = [1, 2]
        self._cache: dict[str, int] = {}

    @functools.cached_property
    def total(self) -> int:
        return sum(self.rows)

    def read(self) -> int:
        self._cache["total"] = self.total
        return self.total


def frame() -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "n": [1, 2, 3],
            "t": ["b", "a", None],
            "c": pd.Categorical(["x", "y", "x"]),
            "when": pd.date_range("2026-01-01", periods=3, tz="UTC"),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "lists": [[1], [2], [3]],
        },
        index=pd.Index([10, 20, 30], name="key"),
    )


def read_frame(value: Any) -> None:
    value.groupby("c", observed=True)["n"].mean()
    value.sort_values("t")
    value.loc[20]
    value.index.get_loc(30)
    value["when"].dt.year.value_counts()
    value.describe()
    value[["n"]].to_numpy()
    value._consolidate_inplace()


def array() -> Any:
    import numpy as np

    return np.arange(12.0).reshape(3, 4)


def model() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=1).fit([[0], [1], [2]], [0, 1, 1])


def sparse() -> Any:
    from scipy.sparse import csr_array

    return csr_array(([1.0, 2.0, 3.0], [2, 0, 1], [0, 2, 3]), shape=(2, 3))


READ = {
    "list": (lambda: [3, 1, 2], lambda value: (sorted(value), value.index(1))),
    "dict": (lambda: {"a": {"b": [1]}}, lambda value: (value.get("x"), list(value["a"]))),
    "set": (lambda: {"a", "b"}, lambda value: value | {"c"}),
    "array": (array, lambda value: (value.sum(), value.T @ value, value[0])),
    "frame": (frame, read_frame),
    "series": (lambda: frame()["t"], lambda value: (value.str.upper(), value.isin(["a"]))),
    "model": (model, lambda value: (value.predict([[0]]), value.score([[0]], [0]))),
    "sparse": (sparse, lambda value: (value.sum(), value.sort_indices())),
    "lazy": (LazyTotals, lambda value: value.read()),
    "nested": (lambda: {"frame": frame(), "model": [model()]}, lambda value: read_frame(value["frame"])),
}

CHANGED = {
    "list": lambda value: value.append(1),
    "dict": lambda value: value["a"]["b"].append(1),
    "set": lambda value: value.add("c"),
    "array": lambda value: value.__setitem__((0, 0), 99),
    "frame": lambda value: value.__setitem__("n", 0),
    "series": lambda value: value.__setitem__(10, "z"),
    "model": lambda value: value.fit([[0], [5]], [1, 0]),
    "sparse": lambda value: value.data.__setitem__(0, 7),
    "lazy": lambda value: value.rows.append(3),
    "nested": lambda value: value["frame"].pop("n"),
}


@pytest.mark.parametrize("kind", READ)
def test_reading_a_value_changes_nothing(kind: str) -> None:
    make, read = READ[kind]
    value, guard = make(), MutationGuard()
    assert fingerprint(value) is not None
    guard.remember("value", value)
    read(value)
    assert guard.changed() == {}


@pytest.mark.parametrize("kind", CHANGED)
def test_changing_a_value_is_noticed(kind: str) -> None:
    value, guard = READ[kind][0](), MutationGuard()
    guard.remember("value", value)
    CHANGED[kind](value)
    assert guard.changed() == {"value": True}


@pytest.mark.parametrize(
    "change",
    [
        lambda value: setattr(value.columns, "name", "fields"),
        lambda value: setattr(value, "index", [1, 2, 3]),
        lambda value: value["lists"].iloc[0].append(2),
        lambda value: value.attrs.update(a=1),
        lambda value: value.pop("n"),
        lambda value: value.insert(0, "new", 1),
        lambda value: value.__setitem__("n", value["n"].astype("float64")),
    ],
)
def test_every_part_of_a_frame_counts(change: Any) -> None:
    value, guard = frame(), MutationGuard()
    guard.remember("value", value)
    change(value)
    assert list(guard.changed()) == ["value"]


def test_what_cannot_be_looked_at_is_left_alone() -> None:
    guard = MutationGuard()
    guard.remember("value", iter([1]))
    guard.remember("lock", __import__("threading").Lock())
    assert guard.changed() == {}


def test_an_input_that_the_step_drops_is_not_kept() -> None:
    import weakref

    guard, value = MutationGuard(), frame()
    guard.remember("value", value)
    alive = weakref.ref(value)
    del value
    assert alive() is None
    assert guard.changed() == {}


def test_a_changed_input_fails_the_step(factory: TicketFactory) -> None:
    step = opened(factory, inputs={"rows": [1]}, outputs="x")
    step.input("rows").append(2)
    assert codes(step, x=1) == ["JP307"]


def test_two_outputs_of_one_object_are_told(factory: TicketFactory) -> None:
    rows = [1]
    manifest = finish(opened(factory, outputs="a b c"), a=rows, b=rows, c=1)
    assert [warning["code"] for warning in manifest["warnings"]] == ["JP213"]
