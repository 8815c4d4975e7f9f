"""Render a step as a notebook of its own, which papermill runs and users can run.

Its cells, in order: the parameters, the call that opens the step (``_step``), the shared code it reaches, its inputs,
its own cells as their author wrote them, its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import SharedCode, Step, StepCell

NAMESPACE = "jupyter_pipelines"
STEP_VARIABLE = "_step"
DEFAULT_KERNEL = "python3"

_LINE_LENGTH = 100
# Deeper than this, Python refuses to parse a literal.
_MAX_DEPTH = 80
_SPECIAL = {"nan": 'float("nan")', "inf": 'float("inf")', "-inf": 'float("-inf")'}


def render(pipeline: Pipeline, step: Step, *, values: Mapping[str, object], ticket: str) -> dict[str, Any]:
    """Return the notebook of a step, nbformat 4.5.

    Every cell says in ``metadata.jupyter_pipelines`` what it is for (``role``: ``parameters``, ``open``, ``shared``,
    ``inputs``, ``step`` or ``outputs``), which of the user's cells it is (``cell``) and how many lines that cell
    has more above (``offset``). Cells of shared code list their ``origins``: the name, the user's cell, where the piece
    stands in the rendered cell (``line``, counted from 1), and the file that it is from (``file``), if a cell runs one.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline.
    step : Step
        One of its steps.
    values : Mapping
        A value for each of the step's parameters; others are left out.
    ticket : str
        The file with the locations of the step's inputs.

    Raises
    ------
    PlanError
        The value of a parameter cannot be written down (JP502).
    """
    cells = [
        _parameters(step, values),
        _cell("open", "open", "\n".join([_open_step_code(ticket), *_secrets(pipeline, step, values)])),
        *_shared_cells(step.shared),
        *_optional(_cell("inputs", "inputs", "\n".join(_input_lines(step)))),
        *(_own(cell) for cell in step.cells),
        _cell("outputs", "outputs", _call("", "outputs", [output.name for output in step.outputs])),
    ]
    return {"cells": cells, "metadata": _metadata(pipeline, step), "nbformat": 4, "nbformat_minor": 5}


def encode_literal(value: object) -> str:
    """Return the Python expression that makes `value` again, type included.

    Raises
    ------
    TypeError
        It has no literal: only None, bool, int, float, str, bytes, and lists, tuples and dicts of them do (no
        subclasses), nested no deeper than Python parses.
    """
    return _encode(value, 0)


def _encode(value: object, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise TypeError("the value is nested too deeply")
    if value is None or type(value) in (bool, str, bytes):
        return repr(value)
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"a value of the type `{type(value).__name__}` has no literal")
    return str(encoder(value, depth + 1))


def _int(value: int, _: int) -> str:
    try:
        return repr(value)
    except ValueError:  # Python refuses to write thousands of digits, but only in the decimal system
        return hex(value)


def _float(value: float, _: int) -> str:
    return _SPECIAL.get(repr(value), repr(value))


def _list(elements: list[Any], depth: int) -> str:
    return f"[{', '.join(_encode(element, depth) for element in elements)}]"


def _tuple(elements: tuple[Any, ...], depth: int) -> str:
    return f"({', '.join(_encode(element, depth) for element in elements)}{',' if len(elements) == 1 else ''})"


def _dict(mapping: dict[Any, Any], depth: int) -> str:
    return f"{{{', '.join(f'{_encode(key, depth)}: {_encode(value, depth)}' for key, value in mapping.items())}}}"


_ENCODERS: Mapping[type, Any] = {int: _int, float: _float, list: _list, tuple: _tuple, dict: _dict}


# Cells


def _parameters(step: Step, values: Mapping[str, object]) -> dict[str, Any]:
    lines = [f"{name} = {_value(step, name, values[name])}" for name in step.parameters]
    return _cell("parameters", "parameters", "\n".join(lines) or "# this step uses no parameters", tags=["parameters"])


def _value(step: Step, name: str, value: object) -> str:
    try:
        return encode_literal(value)
    except TypeError as error:
        diagnostic = Diagnostic(
            code="JP502",
            message=f"the value of parameter `{name}` cannot be written into the notebook of `{step.name}`: {error}",
            suggestion="give it a number, a text, true or false, None, or a list or dict of these",
            step=step.name,
        )
        raise PlanError(diagnostic) from None


def _open_step_code(ticket: str) -> str:
    code = f"{STEP_VARIABLE} = step_io.open_step({encode_literal(ticket)})"
    return f"from {NAMESPACE}.execution.kernel_side import step_io\n\n{code}"


def _secrets(pipeline: Pipeline, step: Step, values: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines that replace references to secrets by their values."""
    kinds = {parameter.name: parameter.kind for parameter in pipeline.parameters}
    for name in step.parameters:
        if kinds.get(name) == "secret" and values[name] is not None:
            yield f"{name} = {STEP_VARIABLE}.secret({name})"


def _shared_cells(shared: Iterable[SharedCode]) -> Iterator[dict[str, Any]]:
    """Yield a cell for each ``%%setup`` cell, and a cell for all pieces between two ``%%setup`` cells."""
    # `groupby` compares neighbours only: pieces keep their order, and a `%%setup` cell ends a group.
    for number, (own, pieces) in enumerate(groupby(shared, key=_cell_of_its_own), start=1):
        yield _shared_cell(f"shared-{number}", list(pieces), setup=own is not None)


def _cell_of_its_own(piece: SharedCode) -> int | None:
    return piece.cell if piece.kind == "setup" else None


def _shared_cell(key: str, pieces: list[SharedCode], *, setup: bool) -> dict[str, Any]:
    # Python accepts `__future__` imports only before all other code.
    pieces.sort(key=lambda piece: not piece.source.startswith("from __future__ "))
    text, origins = "", []
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        line = text.count("\n") + 1
        file = {"file": piece.file} if piece.file else {}
        origins.append({"name": piece.name, "cell": piece.cell, "line": line, **file})
        text += _body(piece) + ("\n" * _gap(piece, following) if following else "")
    cell = _cell(key, "shared", text, origins=origins)
    if setup:
        cell["metadata"][NAMESPACE] |= {"cell": pieces[0].cell, "offset": split_cell(pieces[0].source).offset}
    return cell


def _body(piece: SharedCode) -> str:
    # Applied to a body, this changes nothing; applied to a cell with its header, it makes the body.
    return split_cell(piece.source).body if piece.kind == "setup" else piece.source.rstrip("\n")


def _gap(piece: SharedCode, following: SharedCode) -> int:
    """Return the number of line feeds between two pieces, as PEP 8 has them."""
    kinds = {piece.kind, following.kind}
    if kinds & {"function", "class"}:
        return 3
    return 1 if len(kinds) == 1 and kinds <= {"import", "constant"} else 2


def _input_lines(step: Step) -> Iterator[str]:
    """Yield the lines that bind inputs, and the paths that outputs are written to."""
    names = [step_input.name for step_input in step.inputs]
    if names:
        yield _call(", ".join(names), "inputs" if len(names) > 1 else "input", names)
    for output in step.outputs:
        if output.kind != "value":
            yield _call(output.name, "path", [output.name])


def _call(target: str, method: str, names: Iterable[str]) -> str:
    """Return a call of a method of the step, over several lines if a single line would be too long."""
    start = f"{target} = {STEP_VARIABLE}.{method}" if target else f"{STEP_VARIABLE}.{method}"
    arguments = [f'"{name}"' for name in names]
    line = f"{start}({', '.join(arguments)})"
    if len(line) <= _LINE_LENGTH:
        return line
    targets = "".join(f"    {name},\n" for name in target.split(", ")) if ", " in target else ""
    start = f"(\n{targets}) = {STEP_VARIABLE}.{method}" if targets else start
    return f"{start}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _own(cell: StepCell) -> dict[str, Any]:
    return _cell(f"step-{cell.number}", "step", cell.body, cell=cell.number, offset=cell.offset)


def _optional(cell: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell] if cell["source"] else []


def _cell(key: str, role: str, text: str, *, tags: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    cell_metadata = {"role": role, "cell": None, "offset": 0} | fields
    return {
        "cell_type": "code",
        "execution_count": None,
        # From the role and not at random: the same step is rendered as the same notebook each time.
        "id": key,
        "metadata": {NAMESPACE: cell_metadata} | ({"tags": tags} if tags else {}),
        "outputs": [],
        "source": text,
    }


def _metadata(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    kernel = step.kernel or pipeline.kernel or DEFAULT_KERNEL
    return {
        NAMESPACE: {"step": step.name, "pipeline": pipeline.name},
        "kernelspec": {"display_name": kernel, "language": "python", "name": kernel},
        "language_info": {"name": "python"},
    }
