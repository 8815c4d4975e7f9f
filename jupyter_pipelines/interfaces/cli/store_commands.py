"""The commands ``runs``, ``diff``, ``output`` and ``gc``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.interfaces.cli.command import CommandContext, cannot_write, command, write
from jupyter_pipelines.interfaces.common_options import normal_names
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.artifacts import Artifact
    from jupyter_pipelines.pipeline.graph import Pipeline

_COLLECTED = {"runs": "run", "records": "record", "blobs": "output", "aside": "damaged file"}


@command(examples="runs churn.ipynb\nruns churn.ipynb --json")
def runs(desk: CommandContext) -> None:
    """List earlier runs of NOTEBOOK, newest first."""
    from jupyter_pipelines.reporting.summary import runs_table

    documents = desk.project.runs(desk.home())
    document = {"schema": "jupyter-pipelines/runs/1", "runs": documents}
    desk.answer(document, lambda: runs_table(documents))


@command(examples="diff churn.ipynb last~1 last\ndiff churn.ipynb 3f2a91 last --json")
@click.argument("first")
@click.argument("second", default="last")
def diff(desk: CommandContext, *, first: str, second: str) -> None:
    """Compare two runs of NOTEBOOK: parameters, code, inputs, outputs, durations.

    FIRST and SECOND are ids as `runs` lists them, the beginning of an id, `last`, or `last~1` for the run before.
    SECOND is the last run when it is left out.
    """
    difference = desk.project.diff(desk.home(), first, second)
    desk.answer(difference.to_dict(), lambda: str(difference))


@command(
    examples="output churn.ipynb train.scores\noutput churn.ipynb report.chart -o chart.png\n"
    "output churn.ipynb train.model --json"
)
@click.argument("name", metavar="STEP.NAME", callback=normal_names)
@click.option("-o", "--output", "target", metavar="FILE", help="Write its bytes to a file (a folder to a folder).")
def output(desk: CommandContext, *, name: str, target: str | None) -> None:
    """Show the output STEP.NAME of NOTEBOOK as the last run left it, or write it to a file."""
    pipeline = desk.pipeline(warn=False)
    artifact, record = desk.project.artifact(pipeline, name)
    # Objects of the project's own classes are read with the modules that a kernel in this folder would import.
    sys.path.insert(0, str(Path(desk.notebook).resolve().parent))
    # The output shares a file with others ("pickle#NAME"); a file with this output alone is written for the user.
    if "#" in artifact.format:
        from jupyter_pipelines.storage.loading import store_alone

        artifact = store_alone(desk.project.store_for(pipeline), artifact)
    # Shown nevertheless: the last result may be wanted while the notebook is being edited.
    outdated = desk.project.outdated(pipeline, name.rpartition(".")[0] or name)
    if outdated:
        write(f"note: `{name}` is of run {record.run}; a run now would compute it again: {outdated}", sys.stderr)
    path = _written(desk, pipeline, artifact, Path(target)) if target else None
    if desk.as_json:
        path = path or _stored(desk, pipeline, artifact)
        origin = {"run": record.run, "created": record.created}
        document = {"schema": "jupyter-pipelines/output/1", "name": name, **artifact.to_dict(), "path": str(path)}
        desk.answer({**document, **origin}, "")
    elif path is None:
        write(_as_text(desk.project.load(pipeline, name)))
    else:
        write(f"{path} written", sys.stderr)


@command(examples="gc churn.ipynb --older-than 30d --dry-run\ngc churn.ipynb --older-than 30d")
@click.option("--older-than", "age", default="30d", show_default=True, metavar="AGE", help="What is younger stays.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def gc(desk: CommandContext, *, age: str, dry_run: bool) -> None:
    """Remove from the store of NOTEBOOK what no kept run and no step needs any more."""
    seconds = _age(age)
    if seconds is None:
        raise PlanError(_not_an_age(age))
    collected = desk.project.collect(desk.home(), older_than=seconds, dry_run=dry_run)
    document = collected.to_dict()
    desk.answer(document, lambda: _removed(document))


def _age(text: str) -> float | None:
    """Return the seconds of a duration such as ``30d``, ``2w`` or ``0``; None if it is not a duration."""
    from jupyter_pipelines.notebook.headers.units import parse_duration

    if text.rstrip("smhdw") == "0":
        return 0.0
    weeks = parse_duration(f"{text[:-1]}d") if text.endswith("w") else None
    return weeks * 7 if weeks is not None else parse_duration(text)


def _stored(desk: CommandContext, pipeline: Pipeline, artifact: Artifact) -> Path:
    """Return the path of the verified file in the store; for a folder, that of a copy."""
    store = desk.project.store_for(pipeline)
    if artifact.format in PATH_FORMATS:
        from jupyter_pipelines.storage.loading import load_value

        return Path(load_value(store, artifact))
    store.blobs.open(artifact.digest).close()
    return store.blobs.path(artifact.digest)


def _written(desk: CommandContext, pipeline: Pipeline, artifact: Artifact, target: Path) -> Path:
    """Write an artifact to `target`; an existing file is replaced, an existing folder is not.

    Raises
    ------
    PlanError, StoreError
        It cannot be written there; what is stored is damaged.
    """
    blobs = desk.project.store_for(pipeline).blobs
    if target.is_dir():
        raise PlanError(_is_folder(target))
    if artifact.format == "folder":
        blobs.materialise(artifact.digest, target)
        return target
    # In the folder of the target, so that the rename is atomic; an interrupted copy leaves the old file.
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        blobs.copy(artifact.digest, part)
        part.replace(target)
    except OSError as error:
        raise PlanError(cannot_write(target, error)) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _as_text(value: Any) -> str:
    return repr(value) if isinstance(value, bytes) else str(value)


def _removed(document: Mapping[str, Any]) -> str:
    from jupyter_pipelines.reporting.format import plural, size_in_words

    counts = ", ".join(plural(len(document[what]), noun) for what, noun in _COLLECTED.items() if document[what])
    verb = "would be removed" if document["dry_run"] else "removed"
    total = f"{size_in_words(document['bytes'])} {verb}: {counts}" if counts else "nothing to remove"
    return "\n".join([total, *(f"note: {note}" for note in document["notes"])])


def _is_folder(target: Path) -> Diagnostic:
    return Diagnostic(
        code="JP604", message=f"`{target}` is a folder", suggestion="give a file, or a folder that is not there"
    )


def _not_an_age(text: str) -> Diagnostic:
    return Diagnostic(code="JP604", message=f"`--older-than {text}` is not an age", suggestion="write `12h` or `30d`")
