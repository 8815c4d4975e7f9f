"""Unit tests of steps: recorded inputs and outputs of a step, compared with what it makes now.

A test needs no other step and no store: its inputs lie in a folder of their own, small enough to be kept with the code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import COMMAND_LINE, Diagnostic, PlanError, shell_path
from jupyter_pipelines.execution.runs.result import Run
from jupyter_pipelines.execution.scheduler.tickets import secrets_of
from jupyter_pipelines.execution.ticket import InputSpec, OutputSpec, PublishPaths, StepOutcome, StepTicket
from jupyter_pipelines.execution.worker import worker
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.step_notebook import render
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, Artifact, FileSource, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED_FORMAT
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import file_stem
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.foreach_expansion import expand, steps_of_items
from jupyter_pipelines.planning.parameter_values import resolve
from jupyter_pipelines.storage import gathered_items
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from jupyter_pipelines.verification.value_equality import values_equal

# Cases are committed with the notebook.
MAX_BYTES = 2_000_000
"""Size of an input or output up to which it is recorded."""

CASE = "case.json"
_ID = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingReport:
    """The recorded test cases, and the steps without one.

    Parameters
    ----------
    steps : tuple of str
        Steps with a case.
    left_out : Mapping of str to str
        Steps without one, with the reason.
    path : Path
        The file of tests.
    """

    steps: tuple[str, ...]
    left_out: Mapping[str, str]
    path: Path


def file_of(notebook: Path) -> Path:
    """Return the file of tests that belongs to a notebook."""
    name = "".join(letter if letter.isalnum() else "_" for letter in notebook.stem)
    path = notebook.with_name(f"test_{name}.py")
    # Names that differ in other characters only, such as `my-nb` and `my nb`, would share a file.
    if name == notebook.stem or not path.exists() or f"{notebook.name!r}" in path.read_text("utf-8", "replace"):
        return path
    return notebook.with_name(f"test_{name}_{hashlib.sha256(notebook.name.encode()).hexdigest()[:8]}.py")


def _functions(steps: Sequence[str]) -> dict[str, str]:
    """Return the name of a function for each step; no two steps, such as ``a-b`` and ``a_b``, get the same."""
    functions: dict[str, str] = {}
    for step in steps:
        plain = "".join(letter if f"_{letter}".isidentifier() else "_" for letter in step.removesuffix("]"))
        taken = plain in functions.values()
        functions[step] = f"{plain}_{hashlib.sha256(step.encode()).hexdigest()[:8]}" if taken else plain
    return functions


def folder_of(notebook: Path) -> Path:
    """Return the folder of the cases that belong to a notebook."""
    return file_of(notebook).with_suffix(".cases")


def steps_without_test(pipeline: Pipeline, notebook: Path) -> list[str]:
    """Return the steps, and items of steps, that the file of tests does not mention."""
    text = file_of(notebook).read_text("utf-8")
    try:
        pipeline = expand(pipeline, resolve(pipeline, {}, {}))
    except PlanError:  # items that cannot be determined are no new ones, and their tests say what is wrong
        pipeline = replace(pipeline, steps=tuple(step for step in pipeline if not step.foreach))
    names = [step.name for step in _testable(pipeline)]
    return [name for name in names if f"{name!r})" not in text and f" step {name}: " not in text]


def _testable(pipeline: Pipeline) -> Iterator[Step]:
    """Yield the steps that can have a test: of a step over many items its items, since it runs no code itself."""
    return (step for step in pipeline if not step.gathering)


def record_cases(pipeline: Pipeline, run: Run, store: Store, notebook: Path) -> RecordingReport:
    """Record the inputs and outputs of every step of a run, and write the tests.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline that ran, with a step for each item.
    run : Run
        The run.
    store : Store
        The store with its artifacts.
    notebook : Path
        The notebook; the tests are written beside it.

    Raises
    ------
    PlanError
        The files cannot be written (JP604).
    """
    folder = folder_of(notebook)
    left_out: dict[str, str] = {}
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for step in _testable(pipeline):
            reason = _why_no_case(step, run, store)
            if reason:
                left_out[step.name] = reason
            else:
                _record(pipeline, step, run, store, folder / file_stem(step.name))
        steps = tuple(step.name for step in _testable(pipeline) if step.name not in left_out)
        file_of(notebook).write_text(_text(notebook, steps, left_out), "utf-8")
    except OSError as error:
        raise PlanError(_unwritable(notebook, error)) from error
    return RecordingReport(steps=steps, left_out=left_out, path=file_of(notebook))


def _artifacts(step: Step, run: Run) -> Iterator[tuple[str, str, Artifact]]:
    """Yield the inputs and outputs of a step: ``inputs`` or ``outputs``, the name, and the artifact."""
    for step_input in step.inputs:
        if (
            isinstance(step_input.source, StepOutputRef)
            and step_input.source.output in run.steps[step_input.source.step].artifacts
        ):
            yield "inputs", step_input.name, run.steps[step_input.source.step].artifacts[step_input.source.output]
    for name, artifact in run.steps[step.name].artifacts.items():
        yield "outputs", name, artifact


def _why_no_case(step: Step, run: Run, store: Store) -> str:
    """Return why a step has no case; empty when it can have one."""
    if run.steps[step.name].state not in ("succeeded", "reused"):
        return f"it has not succeeded, but {run.steps[step.name].state}"
    for step_input in step.inputs:
        if isinstance(step_input.source, UrlSource):
            return f"`{step_input.name}` is the content of a URL"
    for _, name, artifact in _artifacts(step, run):
        if artifact.format in PATH_FORMATS:
            return f"`{name}` is a {artifact.format}"
        if artifact.format == GATHERED_FORMAT:
            formats = {item.format for item in gathered_items.contents(store, artifact.digest).artifacts}
            if formats.intersection(PATH_FORMATS):
                return f"`{name}` is a list of {'folders' if 'folder' in formats else 'files'}"
        if artifact.bytes > MAX_BYTES:
            return f"`{name}` has {artifact.bytes / 1e6:.1f} MB, and {MAX_BYTES / 1e6:.0f} MB are kept at most"
    return ""


def _record(pipeline: Pipeline, step: Step, run: Run, store: Store, folder: Path) -> None:
    folder.mkdir(parents=True)
    # The values that the items come from count, too: other defaults do not take recorded items away.
    foreach = pipeline[step.item.group].foreach if step.item else None
    names = [*step.parameters, *(axis.source for axis in (foreach.axes if foreach else ()))]
    values = {name: run.parameters[name] for name in names if name in run.parameters}
    case: dict[str, Any] = {"parameters": values, "inputs": {}, "outputs": {}}
    for kind, name, artifact in _artifacts(step, run):
        case[kind][name] = artifact.to_dict()
        if artifact.format == GATHERED_FORMAT:
            case[kind][name] |= _record_items(store, artifact, folder / f"{kind}.{name}")
        else:
            store.blobs.copy(artifact.digest, folder / f"{kind}.{name}")
    (folder / CASE).write_text(json.dumps(case, indent=1) + "\n", "utf-8")


def _record_items(store: Store, gathered: Artifact, folder: Path) -> dict[str, Any]:
    """Record what a list of results consists of: its artifact names the results only."""
    folder.mkdir()
    contents = gathered_items.contents(store, gathered.digest)
    for number, artifact in enumerate(contents.artifacts):
        store.blobs.copy(artifact.digest, folder / str(number))
    items = [
        {"key": dict(key), **artifact.to_dict()}
        for key, artifact in zip(contents.keys, contents.artifacts, strict=True)
    ]
    return {"items": items, "failed": [dict(key) for key in contents.failed]}


def _put_items(store: Store, recorded: Mapping[str, Any], folder: Path) -> Artifact:
    """Store a recorded list of results, and return its artifact."""
    for number in range(len(recorded["items"])):
        store.blobs.put_file(folder / str(number), move=False)
    results = [(tuple(item["key"].items()), Artifact.from_dict(item)) for item in recorded["items"]]
    return gathered_items.put(store, [*results, *((tuple(key.items()), None) for key in recorded["failed"])])


def _text(notebook: Path, steps: Sequence[str], left_out: Mapping[str, str]) -> str:
    update = f"{COMMAND_LINE} test {shell_path(notebook.name)} --update"
    lines = [
        f'"""Tests of the steps of {_in_docstring(notebook.name)}: `{_in_docstring(update)}` renews them."""',
        "",
        "from pathlib import Path",
        "",
        "from jupyter_pipelines.verification.recorded_step_tests import check_step",
        "",
        f"NOTEBOOK = Path(__file__).with_name({notebook.name!r})",
        *(f"# no test of the step {name}: {reason}" for name, reason in left_out.items()),
    ]
    for name, function in _functions(steps).items():
        lines += ["", "", f"def test_{function}() -> None:", f"    check_step(NOTEBOOK, {name!r})"]
    return "\n".join(lines) + "\n"


def _in_docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# Checking


def check_step(notebook: str | Path, step: str) -> None:
    """Run one step with its recorded inputs, and compare what it makes with what is recorded.

    Parameters
    ----------
    notebook : str or Path
        The notebook.
    step : str
        The step; of a step over many items one item, such as ``fit[depth=2]``.

    Raises
    ------
    AssertionError
        The step fails, is gone, or makes something else.
    """
    notebook = Path(notebook)
    pipeline = read(notebook).pipeline
    if pipeline is None:
        raise AssertionError(f"{notebook.name} cannot be read: `{COMMAND_LINE} check {shell_path(notebook.name)}`")
    folder = folder_of(notebook) / file_stem(step)
    case = json.loads((folder / CASE).read_text("utf-8"))
    current_step = _current_step(pipeline, step, case)
    with tempfile.TemporaryDirectory(prefix="jp-case-") as folder_name:
        # A store of its own: a test must neither reuse nor leave results in the project.
        store = open_store(Path(folder_name, "store"))
        outcome = worker.execute(_ticket(pipeline, current_step, case, folder, store, Path(folder_name)))
        _require(outcome.fault is None, str(outcome.fault))
        _compare(outcome, case, folder, store)
        store.close()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _current_step(pipeline: Pipeline, name: str, case: Mapping[str, Any]) -> Step:
    """Return the step or item of this name, as the notebook has it now."""
    group = name.partition("[")[0]
    _require(group in pipeline, f"there is no step `{name}` any more")
    if not pipeline[group].foreach:
        _require(group == name, f"step `{group}` has no items any more")
        return pipeline[name]
    try:
        items = {step.name: step for step in steps_of_items(pipeline, pipeline[group], _values(pipeline, case))}
    except PlanError as error:
        raise AssertionError(str(error)) from None
    _require(
        name != group,
        f"step `{name}` has {len(items)} items now, each with a test of its own: record them with `--update`",
    )
    _require(
        name in items, f"step `{group}` has no item `{name}` any more, but {', '.join(items)}: `--update` records again"
    )
    return items[name]


def _values(pipeline: Pipeline, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded values of parameters, and the defaults of all others."""
    defaults = {parameter.name: None if parameter.required else parameter.default for parameter in pipeline.parameters}
    return {**defaults, **case["parameters"]}


def _ticket(
    pipeline: Pipeline, step: Step, case: Mapping[str, Any], folder: Path, store: Store, workdir: Path
) -> StepTicket:
    known_values = {**_values(pipeline, case), **(step.item.parameters if step.item else {})}
    values = {parameter: known_values[parameter] for parameter in step.parameters}
    path = str(workdir / "ticket.json")
    return StepTicket(
        id=f"{_ID}.{step.name}.1",
        run=_ID,
        step=step.name,
        notebook=render(pipeline, step, values=values, ticket=path),
        path=path,
        cwd=str(pipeline.folder),
        store=store.url,
        parameters=values,
        secrets=secrets_of(pipeline, step, values),
        inputs=dict(_inputs(step, case, folder, store)),
        outputs={output.name: OutputSpec(kind=output.kind, format=output.format) for output in step.outputs},
        timeout=step.timeout,
        kernel=step.kernel,
        publish=PublishPaths(notebook=str(workdir / "step.ipynb"), log=str(workdir / "step.log")),
    )


def _inputs(step: Step, case: Mapping[str, Any], folder: Path, store: Store) -> Iterator[tuple[str, InputSpec]]:
    for step_input in step.inputs:
        if isinstance(step_input.source, FileSource):
            yield step_input.name, InputSpec(kind="file", path=step_input.source.path, digest="")
        elif step_input.name in case["inputs"]:
            recorded, path = case["inputs"][step_input.name], folder / f"inputs.{step_input.name}"
            if recorded["format"] == GATHERED_FORMAT:
                digest = _put_items(store, recorded, path).digest
            else:
                digest = store.blobs.put_file(path, move=False).digest
            yield step_input.name, InputSpec(kind="artifact", digest=digest, format=recorded["format"])
        else:
            yield step_input.name, InputSpec(kind="missing")


def _compare(outcome: StepOutcome, case: Mapping[str, Any], folder: Path, store: Store) -> None:
    produced, expected = set(outcome.outputs), set(case["outputs"])
    _require(produced == expected, f"the step makes {sorted(produced)}, and recorded is {sorted(expected)}")
    for name, document in case["outputs"].items():
        recorded = Artifact.from_dict(document)
        if outcome.outputs[name].digest != recorded.digest:
            # Loaded only if digests differ: unpickling takes time, and needs the packages of the recording.
            store.blobs.put_file(folder / f"outputs.{name}", move=False)
            before, now = load_value(store, recorded), load_value(store, outcome.outputs[name])
            _require(
                values_equal(before, now), f"`{name}` is another value than recorded:\n{now!r}\nrecorded:\n{before!r}"
            )


def _unwritable(notebook: Path, error: OSError) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"the tests of `{notebook.name}` cannot be written: {error.strerror or error}",
        suggestion="make its folder writable",
    )


def as_document(recorded: RecordingReport) -> dict[str, Any]:
    """Return what was recorded as JSON holds it."""
    return asdict(recorded) | {"path": str(recorded.path), "left_out": dict(recorded.left_out)}
