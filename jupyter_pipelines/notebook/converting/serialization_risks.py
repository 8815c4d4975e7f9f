"""Names whose values probably cannot be serialized, as far as code shows; used without a rehearsal."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

_RISKY_CALLS: Mapping[str, str] = {
    **dict.fromkeys(("open", "urlopen", "ZipFile", "NamedTemporaryFile"), "may be an open file"),
    **dict.fromkeys(("connect", "create_engine", "cursor", "Session", "session", "MongoClient"), "may be a connection"),
    **dict.fromkeys(("iter", "map", "filter", "zip", "enumerate", "reversed", "iterrows", "itertuples", "finditer",
                     "scandir", "product", "chain", "cycle", "count"), "may be used up by looking at it"),
    **dict.fromkeys(("subplots", "figure", "gca", "gcf", "axes", "subplot", "add_subplot", "twinx", "imshow", "scatter",
                     "plot", "hist", "bar", "contour", "contourf", "pcolormesh", "FacetGrid", "PairGrid", "pairplot",
                     "JointGrid", "jointplot", "lmplot", "catplot", "relplot", "displot", "boxplot", "heatmap"),
                    "may be a live figure"),
    **dict.fromkeys(("Lock", "RLock", "Thread", "Pool", "ThreadPoolExecutor", "ProcessPoolExecutor", "interactive",
                     "interact", "Output", "IntSlider", "FloatSlider"), "may be alive"),
}  # fmt: skip
_INHERITED_RISKS = ("may be an open file", "may be a connection", "may be a live figure")


def unserializable_names(body: Iterable[ast.stmt]) -> dict[str, str]:
    """Return the names that are bound to values which probably cannot be serialized, with the reason."""
    reasons: dict[str, str] = {}
    functions = _generators(body := list(body))
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Assign):
            why = _risk_of(node.value, reasons, functions)
            for target in node.targets if why else ():
                reasons |= dict.fromkeys(_names(target), why)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            reasons |= dict.fromkeys(_names(node.optional_vars), "may be open only inside `with`")
    return reasons


def _generators(body: list[ast.stmt]) -> set[str]:
    """Return the functions that make generators."""
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    yields = (ast.Yield, ast.YieldFrom)
    return {function.name for function in functions if any(isinstance(node, yields) for node in ast.walk(function))}


def _risk_of(value: ast.expr, reasons: Mapping[str, str], functions: set[str]) -> str:
    if isinstance(value, ast.GeneratorExp):
        return "is used up by looking at it"
    if not isinstance(value, ast.Call):
        return ""
    function = value.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in functions:
        return "is used up by looking at it"
    root = function.value if isinstance(function, ast.Attribute) else None
    # Methods of an open file or connection return objects that depend on it; `read` returns plain data.
    if isinstance(root, ast.Name) and reasons.get(root.id) in _INHERITED_RISKS and name != "read":
        return reasons[root.id]
    if any(
        isinstance(argument, ast.Lambda) for argument in (*value.args, *(keyword.value for keyword in value.keywords))
    ):
        return "may hold a function that was made on the spot" if name[:1].isupper() or name == "defaultdict" else ""
    return _RISKY_CALLS.get(name, "")


def _names(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
