"""Which calls change an object in place, as far as code shows it.

What a method does depends on the type, which is not known here. So a call is *sure* to change something only where
hardly any type does otherwise; a change that is missed is found when the step runs, by comparing its inputs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

# In-place methods return None, so a call whose value is used belongs to another type, whose method returns a copy.
_IN_PLACE_WITHOUT_RESULT = frozenset(
    "add append appendleft clear difference_update discard extend extendleft fill insert intersection_update itemset "
    "load_state_dict move_to_end put register remove resize reverse rotate setfield setflags sort "
    "symmetric_difference_update update".split()
)
# They change their object and return a value, which may be the object.
_IN_PLACE_WITH_RESULT = frozenset("pop popitem popleft setdefault".split())
# Most estimators change in place; with some libraries, only the returned value matters.
_FITTING = frozenset("fit fit_predict fit_transform partial_fit set_params".split())
_FIRST_ARGUMENT = frozenset(
    "copyto fill_diagonal heapify heappop heappush heappushpop heapreplace insort insort_left insort_right putmask "
    "shuffle".split()
)
_FIRST_OF_BUILTIN = frozenset("delattr next setattr".split())
_ARRAYS = frozenset({"np", "numpy", "cp", "cupy", "jnp"})


class MutatedTarget(NamedTuple):
    """An expression whose object a call changes, whether that is sure, and how in a few words."""

    target: ast.expr
    sure: bool
    how: str


def mutated_targets(call: ast.Call, *, discarded: bool, last: bool) -> Iterator[MutatedTarget]:
    """Yield what a call changes in place.

    Parameters
    ----------
    call : ast.Call
        The call.
    discarded : bool
        Its value is not used.
    last : bool
        It is the last statement of a cell, which shows its value: perhaps the copy that some type's method returns.
    """
    if isinstance(call.func, ast.Attribute):
        yield from _by_method(call, call.func, discarded=discarded, last=last)
        # Also as an attribute of a module: `np.random.shuffle(x)`.
        yield from _by_function(call, call.func.attr, _FIRST_ARGUMENT)
        if call.func.attr in ("put", "place") and _name(call.func.value) in _ARRAYS:
            yield from _by_function(call, call.func.attr, {call.func.attr})
    elif isinstance(call.func, ast.Name):
        yield from _by_function(call, call.func.id, _FIRST_ARGUMENT | _FIRST_OF_BUILTIN)
    for keyword in call.keywords:
        if keyword.arg == "out":
            targets = keyword.value.elts if isinstance(keyword.value, ast.Tuple) else [keyword.value]
            yield from (MutatedTarget(target, True, "`out=`") for target in targets)


def _by_method(call: ast.Call, method: ast.Attribute, *, discarded: bool, last: bool) -> Iterator[MutatedTarget]:
    target, description = method.value, f"`.{method.attr}()`"
    in_place = next((keyword.value for keyword in call.keywords if keyword.arg == "inplace"), None)
    if in_place is not None and not _is_false(in_place):
        yield MutatedTarget(
            target, isinstance(target, ast.Name) and _is_true(in_place), f"`.{method.attr}(inplace=True)`"
        )
    elif method.attr in _IN_PLACE_WITH_RESULT or _is_torch_in_place(method.attr):
        yield MutatedTarget(target, True, description)
    elif method.attr in _FITTING:
        yield MutatedTarget(target, discarded, description)
    elif method.attr in _IN_PLACE_WITHOUT_RESULT and discarded:
        yield MutatedTarget(target, not last, description)


def _is_torch_in_place(name: str) -> bool:
    """Return whether `name` ends as PyTorch names what works in place: ``add_``."""
    return name.endswith("_") and not name.startswith("_") and not name.endswith("__")


def _by_function(call: ast.Call, name: str, function_names: frozenset[str] | set[str]) -> Iterator[MutatedTarget]:
    if name in function_names and call.args and not isinstance(call.args[0], ast.Starred):
        yield MutatedTarget(call.args[0], True, f"`{name}()`")


def base_name(node: ast.expr) -> ast.Name | None:
    """Return the name that leads to what `node` is part of: ``x`` for ``x.a["b"]``, nothing for ``x.f().a``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value
