"""Detection of cells that only show something and that no step needs."""

from __future__ import annotations

import ast

from jupyter_pipelines.notebook.converting import statement_features
from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, SurveyedCell

_INSPECTING = frozenset(
    "head tail info describe sample shape columns dtypes index value_counts nunique memory_usage".split()
)


def only_shows(survey: CellSurvey, unit: SurveyedCell) -> bool:
    """Return whether a cell changes nothing, as far as code or a rehearsal shows."""
    if unit.cut.whole or not unit.is_left or unit.names.binds or unit.names.deletes or unit.names.dynamic:
        return False
    if any(chunk.kind == "magic" for chunk in unit.rest) or any(
        mutation.sure for mutation in unit.names.mutates.values()
    ):
        return False
    body = survey.body([unit])
    if statement_features.sets_seed(body, survey.imported) or statement_features.sets_something(
        "", body, survey.imported
    ):
        return False
    # Without a rehearsal, only a few well-known ways of looking at a value count.
    return _has_no_effect(unit) if unit.seen is not None else all(_looks(node) for node in body)


def _has_no_effect(unit: SurveyedCell) -> bool:
    trace = unit.observed
    did = (
        trace.bound | trace.changed | trace.deleted | trace.drew | trace.wrote | (trace.unknown & set(unit.names.reads))
    )
    return not did and not trace.settings and not trace.programs and not trace.figures


def _looks(node: ast.stmt) -> bool:
    """Return whether a statement is a name, or looks at its value in a way that changes nothing."""
    value = node.value if isinstance(node, ast.Expr) else None
    while isinstance(value, ast.Call | ast.Attribute):
        if isinstance(value, ast.Attribute) and value.attr not in _INSPECTING:
            return False
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name)
