"""A step as a notebook of its own: valid, readable, and run by plain papermill."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.execution.ticket import PublishPaths, StepTicket
from jupyter_pipelines.notebook.step_notebook import encode_literal, render
from jupyter_pipelines.pipeline.artifacts import FileSource, Input, Output, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import SharedCode, Step, StepCell
from tests.waiting import PATIENCE


def own(number: int, body: str, text: str | None = None, offset: int = 0) -> StepCell:
    return StepCell(number=number, id=f"c{number}", text=text or body, body=body, offset=offset)


def shared(name: str, kind: Any, source: str, cell: int = 2) -> SharedCode:
    return SharedCode(name=name, kind=kind, source=source, cell=cell)


def pipeline_of(*steps: Step, folder: Path = Path(), kernel: str | None = None) -> Pipeline:
    return Pipeline(notebook=folder / "book.ipynb", folder=folder, root=folder, steps=steps, kernel=kernel)


def rendered(step: Step, ticket: str = "/t/ticket.json", kernel: str | None = None, **values: Any) -> dict[str, Any]:
    notebook = render(pipeline_of(step, kernel=kernel), step, values=values, ticket=ticket)
    nbformat.validate(nbformat.from_dict(notebook))  # type: ignore[no-untyped-call]
    return notebook


def cells(notebook: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["metadata"]["jupyter_pipelines"]["role"] == role]


def text(notebook: dict[str, Any], role: str) -> str:
    (cell,) = cells(notebook, role)
    return str(cell["source"])


TRAIN = Step(
    name="train",
    cells=(own(5, "# %%step train\nmodel = fit(X, y)"), own(7, "%%bash\nls", offset=1)),
    inputs=(
        Input(name="X", source=StepOutputRef(step="split", output="X")),
        Input(name="y", source=StepOutputRef(step="split", output="y")),
    ),
    outputs=(Output(name="model"), Output(name="report", kind="file"), Output(name="plots", kind="folder")),
    parameters=("trees", "rate"),
    shared=(
        shared("np", "import", "import numpy as np"),
        shared("pd", "import", "import pandas as pd"),
        shared("cell 3", "setup", "# %%setup\npd.set_option('display.width', 100)\n", cell=3),
        shared("SIZE", "constant", "SIZE = 3\n", cell=4),
        shared("fit", "function", "def fit(a, b):\n    return a\n", cell=4),
        shared("annotations", "import", "from __future__ import annotations", cell=4),
    ),
)


class TestNotebook:
    def test_order_and_origin(self) -> None:
        notebook = rendered(TRAIN, trees=3, rate=0.5, other=object())
        origins = [cell["metadata"]["jupyter_pipelines"] for cell in notebook["cells"]]
        assert [(origin["role"], origin["cell"], origin["offset"]) for origin in origins] == [
            ("parameters", None, 0),
            ("open", None, 0),
            ("shared", None, 0),
            ("shared", 3, 0),
            ("shared", None, 0),
            ("inputs", None, 0),
            ("step", 5, 0),
            ("step", 7, 1),
            ("outputs", None, 0),
        ]

    def test_texts(self) -> None:
        notebook = rendered(TRAIN, ticket="/t's/ticket.json", trees=3, rate=0.5)
        assert text(notebook, "parameters") == "trees = 3\nrate = 0.5"
        assert text(notebook, "open") == (
            "from jupyter_pipelines.execution.kernel_side import step_io\n\n"
            '_step = step_io.open_step("/t\'s/ticket.json")'
        )
        assert text(notebook, "inputs") == (
            'X, y = _step.inputs("X", "y")\nreport = _step.path("report")\nplots = _step.path("plots")'
        )
        assert text(notebook, "outputs") == '_step.outputs("model", "report", "plots")'
        assert [cell["source"] for cell in cells(notebook, "step")] == [cell.body for cell in TRAIN.cells]
        assert [cell["source"] for cell in cells(notebook, "shared")] == [
            "import numpy as np\nimport pandas as pd",
            "# %%setup\npd.set_option('display.width', 100)\n",
            "from __future__ import annotations\n\nSIZE = 3\n\n\ndef fit(a, b):\n    return a",
        ]

    def test_origins_point_at_their_piece(self) -> None:
        for cell in cells(rendered(TRAIN, trees=3, rate=0.5), "shared"):
            lines = cell["source"].split("\n")
            for origin in cell["metadata"]["jupyter_pipelines"]["origins"]:
                (piece,) = [
                    candidate
                    for candidate in TRAIN.shared
                    if (candidate.name, candidate.cell) == (origin["name"], origin["cell"])
                ]
                assert lines[origin["line"] - 1] == piece.source.split("\n")[0]

    def test_a_step_with_nothing(self) -> None:
        notebook = rendered(Step(name="a", cells=(own(1, "x = 1"),)))
        assert [cell["source"] for cell in notebook["cells"]][2:] == ["x = 1", "_step.outputs()"]
        assert notebook["cells"][0]["metadata"]["tags"] == ["parameters"]
        assert ast.parse(notebook["cells"][0]["source"]).body == []

    def test_one_input_is_no_tuple(self) -> None:
        step = Step(name="a", cells=(own(1, "x"),), inputs=(Input(name="raw", source=FileSource(path="x.csv")),))
        assert text(rendered(step), "inputs") == 'raw = _step.input("raw")'

    @pytest.mark.parametrize("count", [1, 2, 9, 60])
    def test_many_names_stay_readable(self, count: int) -> None:
        names = [f"a_rather_long_name_{number}" for number in range(count)]
        inputs = tuple(Input(name=name, source=FileSource(path="x")) for name in names)
        outputs = tuple(Output(name=name) for name in names)
        notebook = rendered(Step(name="a", cells=(own(1, "x"),), inputs=inputs, outputs=outputs))
        for role in ("inputs", "outputs"):
            source = text(notebook, role)
            assert max(map(len, source.split("\n"))) <= 100
            call = ast.parse(source).body[0].value  # type: ignore[attr-defined]
            assert [argument.value for argument in call.args] == names
        (assigned,) = ast.parse(text(notebook, "inputs")).body[0].targets  # type: ignore[attr-defined]
        assert [name.id for name in getattr(assigned, "elts", [assigned])] == names

    @pytest.mark.parametrize(
        ("own_kernel", "book_kernel", "expected"), [("a", "b", "a"), (None, "b", "b"), (None, None, "python3")]
    )
    def test_kernel(self, own_kernel: str | None, book_kernel: str | None, expected: str) -> None:
        notebook = rendered(Step(name="a", cells=(own(1, "x"),), kernel=own_kernel), kernel=book_kernel)
        assert notebook["metadata"]["kernelspec"]["name"] == expected

    def test_a_value_without_literal_is_refused(self) -> None:
        with pytest.raises(PlanError) as caught:
            rendered(TRAIN, trees=object(), rate=1)
        assert caught.value.code == "JP502"
        assert "`trees`" in caught.value.faults[0].message

    def test_rendering_twice_gives_the_same(self) -> None:
        assert rendered(TRAIN, trees=3, rate=0.5) == rendered(TRAIN, trees=3, rate=0.5)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]))
    | st.binary()
    | st.integers(0, 3).map(lambda power: 10 ** (power * 2500))
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
    ),
    max_leaves=10,
)


def same(actual: Any, expected: Any) -> bool:
    """Return whether two values are equal in type, too, and in what `==` cannot tell: NaN and the sign of zero."""
    if type(actual) is not type(expected):
        return False
    if isinstance(actual, float):
        return repr(actual) == repr(expected)
    if isinstance(actual, dict):
        pairs = zip(actual.items(), expected.items(), strict=False)
        return len(actual) == len(expected) and all(same(a, b) for a, b in pairs)
    if isinstance(actual, list | tuple):
        return len(actual) == len(expected) and all(map(same, actual, expected))
    return bool(actual == expected)


class TestLiterals:
    @given(VALUES)
    def test_round_trip(self, value: Any) -> None:
        written = encode_literal(value)
        assert "\n" not in written
        assert same(eval(written, {"__builtins__": {}, "float": float}), value)

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (float("nan"), 'float("nan")'),
            (float("-inf"), 'float("-inf")'),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            ((1,), "(1,)"),
            ({"a": [True, None]}, "{'a': [True, None]}"),
        ],
    )
    def test_how_it_reads(self, value: Any, written: str) -> None:
        assert encode_literal(value) == written

    class Text(str):
        __slots__ = ()

    @pytest.mark.parametrize(
        "value",
        [object(), {1, 2}, 1j, Text("x"), range(3), Path("x"), [Text("x")], {"a": object()}, math, b"x".__class__],
        ids=lambda value: type(value).__name__,
    )
    def test_no_literal(self, value: Any) -> None:
        with pytest.raises(TypeError):
            encode_literal(value)

    def test_numpy_is_refused_and_not_turned_into_text(self) -> None:
        import numpy as np

        for value in (np.bool_(False), np.int64(3), np.float64(0.5), np.array([1]), np.str_("x")):
            with pytest.raises(TypeError):
                encode_literal(value)

    def test_nesting(self) -> None:
        value: list[Any] = []
        for _ in range(79):
            value = [value]
        assert ast.literal_eval(encode_literal(value)) == value
        endless: list[Any] = []
        endless.append(endless)
        for nested in (endless, [[value]]):
            with pytest.raises(TypeError, match="too deeply"):
                encode_literal(nested)


@pytest.mark.kernel
class TestPlainPapermill:
    """Run the notebook of a step with papermill alone, started in another folder."""

    def run(self, step: Step, folder: Path, ticket: StepTicket, **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the executed notebook and what it saved."""
        notebook = render(pipeline_of(step, folder=folder), step, values=values, ticket=ticket.path)
        source, target = folder / "step.ipynb", folder / "executed.ipynb"
        source.write_text(json.dumps(notebook))
        Path(ticket.path).write_text(json.dumps(ticket.to_dict(notebook=False)))
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(source), str(target)]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr
        saved = Path(ticket.path).with_suffix(".by-hand") / "outputs.json"
        return json.loads(target.read_text()), json.loads(saved.read_text())

    def test_a_step_runs(self, tmp_path: Path) -> None:
        from jupyter_pipelines.storage import serializers

        (tmp_path / "rows.csv").write_text("1\n2\n")
        (tmp_path / "local_helper.py").write_text("def twice(x):\n    return 2 * x\n")
        saved = serializers.save([3, 4], tmp_path / "more.json", None, name="more")
        body = "# %%step sums -i raw=rows.csv more -o total note:file -p scale\n"
        body += "import asyncio\nawait asyncio.sleep(0)\ntotal = add(raw) + sum(more)\nnote.write_text('hi')\ntotal"
        step = Step(
            name="sums",
            cells=(own(4, body),),
            inputs=(
                Input(name="raw", source=FileSource(path="rows.csv")),
                Input(name="more", source=StepOutputRef(step="before", output="more")),
            ),
            outputs=(Output(name="total"), Output(name="note", kind="file")),
            parameters=("scale",),
            shared=(
                shared("twice", "import", "from local_helper import twice"),
                shared("annotations", "import", "from __future__ import annotations"),
                shared("add", "function", "def add(path: Undefined):\n    return sum(map(int, path.open())) * scale\n"),
                shared("cell 3", "setup", "%%time\n# %%setup\nscale = twice(scale)", cell=3),
            ),
        )
        ticket = StepTicket(
            id="r.sums.1",
            run="r",
            step="sums",
            notebook={},
            path=str(tmp_path / "sums.ticket.json"),
            cwd=str(tmp_path),
            store=str(tmp_path / ".pipelines"),
            publish=PublishPaths(notebook="", log=""),
            inputs={
                "raw": {"kind": "file", "path": "rows.csv", "digest": "sha256:0"},
                "more": {
                    "kind": "artifact",
                    "path": str(tmp_path / "more.json"),
                    "digest": saved.artifact.digest,
                    "format": saved.artifact.format,
                },
            },
            outputs={"total": {"kind": "value", "format": None}, "note": {"kind": "file", "format": None}},
        )
        executed, manifest = self.run(step, tmp_path, ticket, scale=5)
        (result,) = [
            output for output in cells(executed, "step")[0]["outputs"] if output["output_type"] == "execute_result"
        ]
        assert result["data"]["text/plain"] in ("37", ["37"])
        total = manifest["outputs"]["total"]
        assert serializers.load(Path(total["path"]), total["format"]) == 37
        assert Path(manifest["outputs"]["note"]["path"]).read_text() == "hi"
