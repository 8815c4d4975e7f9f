"""Reader of ``%%params`` cells and of cells tagged ``parameters``; nothing is executed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.headers.parser import RESERVED
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.parameters.annotations import (
    KNOWN_ANNOTATIONS,
    AnnotationParseError,
    ValueDomain,
    read_annotation,
)
from jupyter_pipelines.notebook.parameters.literals import NotLiteral, literal
from jupyter_pipelines.notebook.source.document import NotebookCell
from jupyter_pipelines.pipeline.parameters import Kind, Parameter, ParameterError

_CODES = {"type": "JP502", "range": "JP503", "choice": "JP504"}
_PRAGMA = re.compile(r"\s*(type:\s*ignore\S*|noqa(:[\s,]*[A-Z]+[0-9]+)*|(pylint|fmt|pragma|nosec):?\s.*)\s*")
_TYPED = re.compile(r"type:\s*(\S+)\s*")


def parse_params_cell(cell: NotebookCell, source_body: str) -> tuple[tuple[Parameter, ...], tuple[Diagnostic, ...]]:
    """Return the parameters that a cell declares, and what is wrong with their declarations.

    ``name: type = default`` declares a parameter, ``name: type`` a parameter without a default, ``name = default`` a
    parameter of the type of its default (a number of either kind for a number). A comment after it describes it.
    Imports, texts and magics beside them are ignored. A cell that cannot be parsed declares nothing: its syntax error
    is reported where all cells are parsed.

    Parameters
    ----------
    cell : NotebookCell
        The cell.
    source_body : str
        Its body, as :func:`~jupyter_pipelines.notebook.headers.split.split_cell` returns it.
    """
    code = parse_code(source_body, cell.number)
    reader = _ParamsCellReader(cell, code.source)
    for statement in code.tree.body if code.tree else ():
        reader.read(statement)
    return tuple(reader.parameters.values()), tuple(reader.faults)


def parameters_of_text(text: str) -> tuple[Parameter, ...]:
    """Return the parameters that a cell of this text declares, header included."""
    cell = NotebookCell(number=0, id=None, kind="code", source=text, tags=())
    return parse_params_cell(cell, split_cell(text).body)[0]


class _ParamsCellReader:
    """Reads a cell that declares parameters, statement by statement."""

    def __init__(self, cell: NotebookCell, text: str) -> None:
        self.cell = cell
        self.text = text
        self.lines = text.split("\n")
        self.parameters: dict[str, Parameter] = {}
        self.faults: list[Diagnostic] = []

    def read(self, statement: ast.stmt) -> None:
        """Record what `statement` declares, or what is wrong with it."""
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            self._declare(statement.target, statement, statement.value, statement.annotation)
        elif isinstance(statement, ast.Assign):
            for target, value in _assigned(statement):
                self._assign(statement, target, value)
        elif not _is_harmless(statement):
            self._fault(
                "JP505",
                "only parameters are declared here: `name: type = default`",
                "move this into a cell of its own, a step or a `%%setup` cell",
                statement,
            )

    def _assign(self, statement: ast.Assign, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, ast.Name) and value is not None:
            self._declare(target, statement, value, None)
            return
        self._fault(
            "JP505",
            f"`{ast.unparse(target)}` cannot be declared as a parameter",
            "declare each parameter in a line of its own: `name: type = default`",
            target,
        )

    def _declare(
        self, target: ast.Name, statement: ast.stmt, value: ast.expr | None, annotation: ast.expr | None
    ) -> None:
        if not self._is_new(target):
            return
        domain, comment = self._described(statement, annotation)
        required = annotation is not None and (value is None or _is_ellipsis(value))
        default = None if required or value is None else self._default(target.id, value)
        # A faulty parameter is declared all the same: its uses would be reported as unknown names otherwise.
        required = required or default is _UNREADABLE_DEFAULT
        if annotation is None and domain == ValueDomain():
            domain = ValueDomain(kind=_kind_of(default))
        self._add(target, value, default, _parameter(target.id, domain, comment, required=required), annotation)

    def _add(
        self, target: ast.Name, value: ast.expr | None, default: Any, parameter: Parameter, annotation: ast.expr | None
    ) -> None:
        annotation_text = ast.get_source_segment(self.text, annotation) if annotation else None
        fields: dict[str, Any] = {"annotation": annotation_text or "", "place": self._place(target)}
        if parameter.required:
            self.parameters[target.id] = replace(parameter, **fields)
            return
        try:
            fit = parameter.fit(default)
        except ParameterError as error:
            # The default is kept: the fault is reported, and uses of the parameter are checked all the same.
            self._report_unfit_default(target.id, value or target, error, parameter)
            fit = default
        self.parameters[target.id] = replace(parameter, **fields, default=fit)

    def _is_new(self, target: ast.Name) -> bool:
        if target.id in RESERVED:
            self._fault("JP103", f"`{target.id}` cannot be the name of a parameter", "write another name", target)
        elif target.id in self.parameters:
            first = self.parameters[target.id].place
            line = f"the first declaration is in line {first.line}" if first else ""
            self._fault("JP106", f"parameter `{target.id}` is declared twice", "take one away", target, line)
        else:
            return True
        return False

    def _default(self, name: str, value: ast.expr) -> Any:
        try:
            return literal(value)
        except NotLiteral as error:
            self._fault(
                "JP505",
                f"the default of parameter `{name}` is computed; its value has to be known without running anything",
                "write a literal, and compute what follows from it in a step or a `%%setup` cell",
                error.node,
            )
            return _UNREADABLE_DEFAULT

    def _described(self, statement: ast.stmt, annotation: ast.expr | None) -> tuple[ValueDomain, str]:
        """Return the domain of the annotation, and the comment as description."""
        comment = self._comment(statement)
        typed = _TYPED.match(comment)
        if typed and annotation is None:
            domain = self._commented(typed[1])
            is_none = isinstance(statement, ast.Assign) and _is_none(statement.value)
            # papermill checks no type: None is a default of every type, and a value like it.
            return replace(domain, nullable=True) if is_none else domain, comment[typed.end() :]
        return (self._domain(annotation) if annotation else ValueDomain()), comment

    def _commented(self, text: str) -> ValueDomain:
        """Return the domain of papermill's ``# type: int``; any value is allowed if the comment is something else."""
        try:
            return read_annotation(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ValueDomain()

    def _domain(self, annotation: ast.expr) -> ValueDomain:
        try:
            domain = read_annotation(annotation)
        except AnnotationParseError as error:
            note = "" if KNOWN_ANNOTATIONS in error.suggestion else f"known are {KNOWN_ANNOTATIONS}"
            self._fault("JP505", error.message, error.suggestion, error.node, note)
            return ValueDomain()
        for node, message, suggestion in domain.doubts:
            self._fault("JP505", message, suggestion, node, severity="warning")
        return domain

    def _comment(self, statement: ast.stmt) -> str:
        """Return the comment after `statement`, without directives for other tools."""
        line = self.lines[(statement.end_lineno or 1) - 1]
        # `ast` counts columns in bytes, and a default may be followed by `;`.
        tail = line.encode()[statement.end_col_offset or 0 :].decode(errors="ignore").strip(" \t;")
        return _PRAGMA.sub("", tail.lstrip("#").strip()) if tail.startswith("#") else ""

    def _report_unfit_default(self, name: str, node: ast.expr, error: ParameterError, parameter: Parameter) -> None:
        if parameter.kind == "secret":
            self.faults.append(_plain_text_secret(name, self._place(node)))
            return
        fitting = "within its limits" if error.wrong == "range" else f"that is {parameter.expected()}"
        suggestion = f"write a default {fitting}, or change the annotation"
        if _is_none(node):
            suggestion = "write `X | None` as its annotation, or leave the default out"
        self._fault(
            _CODES[error.wrong], f"the default of parameter `{name}` does not fit: {error.message}", suggestion, node
        )

    def _fault(
        self, code: str, message: str, suggestion: str, node: ast.stmt | ast.expr, *notes: str, **fields: Any
    ) -> None:
        present_notes = tuple(note for note in notes if note)
        fault = Diagnostic(
            code=code, message=message, suggestion=suggestion, place=self._place(node), notes=present_notes, **fields
        )
        self.faults.append(fault)

    def _place(self, node: ast.stmt | ast.expr) -> SourceLocation:
        line = self.lines[node.lineno - 1]
        start = _character_offset(line, node.col_offset)
        stop = _character_offset(line, node.end_col_offset or 0) if node.end_lineno == node.lineno else len(line)
        text = line.replace("\t", " ")
        return SourceLocation(
            cell=self.cell.number, line=node.lineno, column=start, length=max(stop - start, 1), text=text
        )


# Not None: that may be the default of a parameter.
_UNREADABLE_DEFAULT = object()


def _plain_text_secret(name: str, place: SourceLocation) -> Diagnostic:
    return Diagnostic(
        code="JP502",
        message=f"the default of the secret `{name}` is no reference to a secret: it may be the secret itself",
        suggestion=f'write where it is, such as `{name}: Secret = "env:{name.upper()}"`, and change a secret that was '
        "written down",
        place=replace(place, text="", length=0),  # it may be the secret, which is not to be printed again
    )


def _assigned(statement: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Yield every target of an assignment with its value; None where that cannot be determined."""
    for target in statement.targets:
        value = statement.value
        if not isinstance(target, ast.Tuple | ast.List):
            yield target, value
        elif isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, None


def _is_harmless(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _kind_of(default: Any) -> Kind:
    """Return the type of a parameter that only has a default; a default that is a number admits any number."""
    kinds: dict[type, Kind] = {
        bool: "bool", int: "number", float: "number", str: "str", list: "list", tuple: "list", dict: "dict",
    }  # fmt: skip
    return kinds.get(type(default), "any")


def _parameter(name: str, domain: ValueDomain, comment: str, *, required: bool) -> Parameter:
    return Parameter(
        name=name,
        kind=domain.kind,
        required=required,
        nullable=domain.nullable,
        choices=domain.choices,
        items=domain.items,
        limits=domain.limits,
        description=comment or domain.description,
    )


def _character_offset(line: str, offset: int) -> int:
    """Return the index of the character at byte `offset` of `line`, as ``ast`` counts bytes."""
    return len(line.encode()[:offset].decode(errors="ignore"))
