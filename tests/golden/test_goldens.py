"""One small notebook for each thing that makes conversions wrong: the pipeline shows the same, or it is refused.

What a notebook shows is saved in it; it came from a plain run. The comparison here shares nothing with the converter's.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.project import try_out
from jupyter_pipelines.verification.convert_command import ConvertRequest, convert_on_request
from jupyter_pipelines.verification.verify import TrialRun

HERE = Path(__file__).parent
GOLDENS = sorted(path.stem for path in HERE.glob("*.ipynb"))


@dataclass
class OutputRecorder:
    """Run pipelines, and record the outputs of the last run by the number of the original cell."""

    shown: dict[int, list[str]] = field(default_factory=dict)

    def __call__(self, path: Path, store: Path, force: Sequence[str]) -> TrialRun:
        tried = try_out(path, store, force)
        cells = json.loads(path.read_text("utf-8"))["cells"]
        if tried.run is not None:
            for step in tried.run.steps.values():
                self.shown |= dict(_by_origin(cells, step.notebook)) if step.state == "succeeded" else {}
        return tried


def _by_origin(cells: list[dict[str, Any]], notebook: str | None) -> Iterator[tuple[int, list[str]]]:
    for cell in json.loads(Path(str(notebook)).read_text("utf-8"))["cells"]:
        about = cell["metadata"].get("jupyter_pipelines", {})
        origin = cells[about["cell"] - 1]["metadata"]["jupyter_pipelines"]["origin"] if about.get("cell") else None
        if about.get("role") == "step" and origin is not None:
            yield origin, texts(cell)


def texts(cell: Mapping[str, Any]) -> list[str]:
    """Return what a cell shows, stream by stream and value by value."""
    streams: dict[str, str] = {}
    values = []
    for output in cell.get("outputs", ()):
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + "".join(output["text"])
        elif output["output_type"] == "error":
            values.append(f"{output['ename']}: {output['evalue']}")
        else:
            values += [f"{kind}: {''.join(data)}" for kind, data in sorted(output["data"].items())]
    return [_plain(text) for text in (*(streams[name] for name in sorted(streams)), *values)]


def _plain(text: str) -> str:
    # On a busy machine %timeit warns before it tells.
    text = re.sub(r"(The slowest run took [^\n]*\n)?[^\n]*± [^\n]*|(CPU times|Wall time)[^\n]*", "timed", text)
    text = re.sub(r"/\S*ipykernel_\d+/\d+\.py:\d+", "cell", re.sub(r"0x[0-9a-f]+", "0x", text))
    return "\n".join(line.rpartition("\r")[2] for line in text.strip().split("\n"))


@pytest.mark.kernel
@pytest.mark.parametrize("name", GOLDENS)
def test_the_pipeline_shows_the_same(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.ipynb"
    shutil.copy(HERE / source.name, source)
    original = json.loads(source.read_text("utf-8"))
    recorder = OutputRecorder()

    result = convert_on_request(ConvertRequest(source=source), recorder)

    expected = original["metadata"]["golden"]["expected"]
    assert source.read_bytes() == (HERE / source.name).read_bytes()
    if expected == "refused":
        assert (result.state, result.conversion) == ("refused", None)
        assert result.faults[0].suggestion
        return
    assert result.state == "identical", result.verdict
    assert bool(result.unstable) == (expected == "unstable")
    unstable = {cell.cell for cell in result.cells if cell.state == "unstable"}
    for number, cell in enumerate(original["cells"], start=1):
        if cell["cell_type"] == "code" and number not in unstable:
            assert recorder.shown.get(number, []) == texts(cell), number


def test_there_is_a_notebook_for_every_hazard() -> None:
    assert len(GOLDENS) >= 40
