"""The ``convert`` command: reads a notebook, verifies or only analyses it, and writes the pipeline to a new file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, NotebookError
from jupyter_pipelines.notebook.converting.conversion_types import ConvertedNotebook, ConvertOptions
from jupyter_pipelines.notebook.converting.convert import convert
from jupyter_pipelines.notebook.converting.preconditions import refusals
from jupyter_pipelines.notebook.source.document import NotebookDocument, read_document
from jupyter_pipelines.notebook.step_notebook import NAMESPACE
from jupyter_pipelines.verification.results import CellResult, VerificationResult

if TYPE_CHECKING:
    from jupyter_pipelines.verification.verify import Runner

SUFFIX = ".pipeline.ipynb"
_RAISING = "raises-exception"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRequest:
    """A request to convert a notebook: source, target and options.

    Parameters
    ----------
    source : Path
        The notebook.
    target : Path or None
        The file to write; None for a file beside the notebook.
    static : bool
        Execute nothing.
    dry_run : bool
        Write nothing.
    wishes : ConvertOptions
        Names, cuts, and whether cells that only show something stay.
    tell : callable
        Called with a line for each stage of the work.
    """

    source: Path
    target: Path | None = None
    static: bool = False
    dry_run: bool = False
    wishes: ConvertOptions = field(default_factory=ConvertOptions)
    tell: Callable[[str], None] = lambda _: None

    @property
    def path(self) -> Path:
        """The file to write."""
        return self.target or self.source.with_name(f"{self.source.stem}{SUFFIX}")


def convert_on_request(request: ConvertRequest, run: Runner) -> VerificationResult:
    """Convert a notebook and write the pipeline, unless there is none or nothing is to be written.

    Raises
    ------
    NotebookError
        The notebook cannot be read (JP104), or the target cannot be written (JP702).
    """
    document = read_document(request.source)
    # Before the runs, which may take hours.
    _check_target(request)
    faults = refusals(document)
    if faults:
        return VerificationResult(state="refused", faults=faults, original=document)
    runnable = replace(document, kernel=_installed(document.kernel))
    result = _analysed(runnable, request) if request.static else _verified(runnable, request, run)
    result = replace(result, original=document)
    if result.conversion is None or request.dry_run:
        return result
    _write(request, result.conversion, result.verdict)
    return replace(result, written=str(request.path))


def _verified(document: NotebookDocument, request: ConvertRequest, run: Runner) -> VerificationResult:
    from jupyter_pipelines.verification.verify import verify  # brings what runs notebooks

    return verify(
        document,
        folder=request.source.resolve().parent,
        run=run,
        raises=_expected_errors(document, request.source),
        kernel=None if document.kernel in (None, "python3") else document.kernel,
        options=request.wishes,
        tell=request.tell,
    )


def _analysed(document: NotebookDocument, request: ConvertRequest) -> VerificationResult:
    raises = _expected_errors(document, request.source)
    conversion = convert(document, raises=raises, options=request.wishes)
    cells = tuple(CellResult(cell=cell.number, state="unproven") for cell in document.cells if cell.kind == "code")
    return VerificationResult(state="unproven", conversion=conversion, cells=cells, faults=(_not_executed_warning(),))


def _expected_errors(document: NotebookDocument, path: Path) -> frozenset[int]:
    """Return the cells that are meant to fail: by their tag, or because the saved notebook shows the error."""
    # An error in the saved outputs shows that its author ran past the cell on purpose.
    tagged = {cell.number for cell in document.cells if _RAISING in cell.tags}
    return frozenset(tagged | set(_saved_errors(path)))


def _saved_errors(path: Path) -> list[int]:
    if path.suffix != ".ipynb":
        return []
    content = json.loads(path.read_text("utf-8-sig"))
    sheets = content.get("worksheets") or [content]
    cells = [cell for sheet in sheets for cell in sheet.get("cells", ())]
    return [
        number
        for number, cell in enumerate(cells, start=1)
        if any(output.get("output_type") in ("error", "pyerr") for output in cell.get("outputs", ()))
    ]


def _installed(kernel: str | None) -> str | None:
    """Return the kernel a notebook asks for, if it is installed; None, for the kernel of this interpreter, if not."""
    from jupyter_pipelines.execution.kernels.launch import installed_kernels

    return kernel if kernel in installed_kernels() else None


# Writing


def _check_target(request: ConvertRequest) -> None:
    """Refuse a target that is the original, or a notebook that `convert` has not written."""
    path = request.path
    if request.dry_run:
        return
    if path.exists() and path.resolve() == request.source.resolve():
        raise NotebookError(_bad_target(path, "it is the notebook itself, and that is never written to"))
    if path.suffix != ".ipynb":
        raise NotebookError(_bad_target(path, "a pipeline notebook ends in `.ipynb`"))
    if not path.parent.is_dir():
        raise NotebookError(_bad_target(path, "its folder does not exist"))
    if path.exists() and not _is_ours(path):
        raise NotebookError(_bad_target(path, "there is another notebook already, and it was not made by `convert`"))


def _is_ours(path: Path) -> bool:
    try:
        # Marked by `convert`: such a file can be made again, a notebook of the user cannot.
        metadata: Any = json.loads(path.read_text("utf-8"))["metadata"][NAMESPACE]
        return "converted" in metadata
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(request: ConvertRequest, conversion: ConvertedNotebook, verdict: str) -> None:
    content = _notebook_document(request, conversion, verdict)
    temporary = request.path.with_name(f".{request.path.name}.new")
    try:
        # Written beside the target and renamed, so that an interruption leaves the previous pipeline.
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(request.path)
    except OSError as error:
        raise NotebookError(_bad_target(request.path, (error.strerror or str(error)).lower())) from error


def _notebook_document(request: ConvertRequest, conversion: ConvertedNotebook, verdict: str) -> Mapping[str, Any]:
    """Return the notebook with the note of where it comes from and, in another folder, where its steps run."""
    metadata: dict[str, Any] = {"converted": {"from": request.source.name, "verdict": verdict}}
    source_folder, target_folder = request.source.resolve().parent, request.path.resolve().parent
    # Relative paths in the cells are relative to the folder of the original.
    if source_folder != target_folder:
        metadata["folder"] = str(source_folder)
    return {**conversion.notebook, "metadata": {**conversion.notebook["metadata"], NAMESPACE: metadata}}


def _bad_target(path: Path, why: str) -> Diagnostic:
    return Diagnostic(
        code="JP702",
        message=f"the pipeline cannot be written to `{path}`: {why}",
        suggestion="give another file with `-o`",
    )


def _not_executed_warning() -> Diagnostic:
    return Diagnostic(
        code="JP703",
        severity="warning",
        message="nothing was executed, so nothing shows that the pipeline computes the same",
        suggestion="leave out `--static`: then both are run and compared",
    )
