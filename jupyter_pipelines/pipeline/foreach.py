"""Steps over many items: the ``--foreach`` option, its items, and the gathered results for later steps."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jupyter_pipelines.errors import SourceLocation
from jupyter_pipelines.pipeline.identifiers import normal_name, only_names

Scalar: TypeAlias = bool | int | float | str
AxisKind = Literal["values", "parameter", "files"]
FORMAT = "gathered"
"""Format of the artifact that names the results of all items."""
# Labels become parts of file names: what a file system or a shell may not accept is replaced.
_UNSAFE_CHARACTERS = re.compile(r"[^\w\x80-\U0010ffff.+-]+")
_MAX_LABEL_LENGTH = 60
_HEXDIGITS = (8, 16, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeachAxis:
    """A loop variable of ``--foreach``: a name that is bound to another value in each item.

    Parameters
    ----------
    name : str
        What the step's code calls it.
    kind : {"values", "parameter", "files"}
        Whether the values stand in the header, are those of a parameter that holds a list, or are files.
    values : tuple
        The values that stand in the header.
    source : str
        Name of the parameter, or the folder or pattern of the files.
    place : SourceLocation or None
        Where it is declared.
    """

    name: str
    kind: AxisKind
    values: tuple[Scalar, ...] = ()
    source: str = ""
    place: SourceLocation | None = None

    def __str__(self) -> str:
        return f"{self.name}={self.source or ','.join(map(str, self.values))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeachSpec:
    """The ``--foreach`` option of a step.

    Parameters
    ----------
    axes : tuple of ForeachAxis
        The names; with several, every combination of their values is an item, the last name changes first.
    at_once : int or None
        How many items may run at once.
    allowed : str
        How many may fail: ``3`` or ``10%``; empty for none.
    """

    axes: tuple[ForeachAxis, ...]
    at_once: int | None = None
    allowed: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that have another value in each item."""
        return tuple(axis.name for axis in self.axes)

    def may_fail(self, items: int) -> int:
        """Return how many of `items` may fail; parts of an item are not allowed."""
        if self.allowed.endswith("%"):
            return int(items * float(self.allowed[:-1]) // 100)
        return int(self.allowed or 0)

    def to_dict(self) -> dict[str, Any]:
        """Return what documents say of it."""
        axes = [{"name": axis.name, "kind": axis.kind, "values": str(axis).partition("=")[2]} for axis in self.axes]
        return {"axes": axes, "at_once": self.at_once, "allow_failed": self.allowed or None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeachItem:
    """One item of a step over many items.

    Parameters
    ----------
    group : str
        The step.
    values : tuple of (str, value)
        Names and values; of a file its path, as an input has it.
    files : frozenset of str
        Those of the names that are files.
    at_once : int or None
        How many items of the step may run at once.
    """

    group: str
    values: tuple[tuple[str, Scalar], ...]
    files: frozenset[str] = frozenset()
    at_once: int | None = None

    @property
    def parameters(self) -> dict[str, Scalar]:
        """The values that the step gets as parameters."""
        return {name: value for name, value in self.values if name not in self.files}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherSpec:
    """Marks a step that only gathers the results of the items of another step.

    Parameters
    ----------
    items : tuple of str
        The steps, one for each item, in their order.
    keys : tuple of tuple of (str, value)
        Names and values of each.
    may_fail : int
        How many of them may be missing.
    """

    items: tuple[str, ...]
    keys: tuple[tuple[tuple[str, Scalar], ...], ...]
    may_fail: int = 0


class GatheredResults(list):  # type: ignore[type-arg]  # a plain list for the step that gets it
    """The results of a step over many items, as a later step gets them: a list, in order, with their keys.

    Parameters
    ----------
    values : iterable
        The results.
    keys : sequence of dict
        For each of them, the values of its item by name; files are paths as written.
    failed : sequence of dict
        The same for the items that failed and are not among the results.

    Examples
    --------
    >>> models = GatheredResults(["a", "b"], [{"depth": 2}, {"depth": 4}])
    >>> models.of(depth=4)
    'b'
    >>> dict(models.items())
    {2: 'a', 4: 'b'}
    """

    def __init__(
        self,
        values: Iterable[Any] = (),
        keys: Sequence[Mapping[str, Any]] = (),
        failed: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(values)
        self.keys = [dict(key) for key in keys]
        self.failed = [dict(key) for key in failed]

    def __reduce__(self) -> tuple[Any, ...]:
        return GatheredResults, (list(self), self.keys, self.failed)

    def of(self, **values: Any) -> Any:
        """Return the only result whose item has these values.

        Raises
        ------
        KeyError
            No item has them, it failed, or several have them.
        ValueError
            Results were added or taken away.
        """
        positions = self._places(values)
        if len(positions) == 1:
            return self[positions[0]]
        if any(values.items() <= key.items() for key in self.failed):
            raise KeyError(f"the item with {values} failed")
        raise KeyError(f"{len(positions) or 'no'} items have {values}; see `.keys`")

    def where(self, **values: Any) -> GatheredResults:
        """Return the results whose items have these values."""
        positions = self._places(values)
        failed = [key for key in self.failed if values.items() <= key.items()]
        return GatheredResults(
            [self[position] for position in positions], [self.keys[position] for position in positions], failed
        )

    def items(self) -> list[tuple[Any, Any]]:
        """Return each key with its result: the value itself with one name, a tuple of them with several."""
        keys = [self.keys[position] for position in self._places({})]
        return [
            (next(iter(key.values())) if len(key) == 1 else tuple(key.values()), result)
            for key, result in zip(keys, self, strict=True)
        ]

    def reverse(self) -> None:
        """Reverse the results, and the keys with them."""
        super().reverse()
        self.keys.reverse()

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort the results, and the keys with them."""
        by = key or _identity
        # `list.sort` does not give the permutation that the keys need, too.
        order = sorted(self._places({}), key=lambda position: by(self[position]), reverse=reverse)
        self[:] = [self[position] for position in order]
        self.keys[:] = [self.keys[position] for position in order]

    def _places(self, values: Mapping[str, Any]) -> list[int]:
        """Return the positions of the results whose items have these values."""
        # `append`, `del` and slices are those of `list` and leave `keys` as they are; a result under a wrong key would
        # be worse than an error.
        if len(self) != len(self.keys):
            message = f"{len(self)} results have {len(self.keys)} keys: the list was changed; change a `list(…)` of it"
            raise ValueError(message)
        return [position for position, key in enumerate(self.keys) if values.items() <= key.items()]


def _identity(value: Any) -> Any:
    return value


def item_labels(keys: Sequence[Sequence[tuple[str, Scalar]]]) -> list[str]:
    """Return distinct names for the items of a step: ``depth=2,rate=0.1``.

    Short, of letters, digits and few signs, and unique where the case of letters does not count; a digest stands behind
    what is cut or has other characters, and would be the same as another.
    """
    labels = [",".join(f"{name}={_shown(value)}" for name, value in key) for key in keys]
    # File systems of macOS and Windows do not distinguish case: labels that differ only in it would share a file.
    seen = Counter(label.casefold() for label in labels)
    names: list[str] = []
    for digits in _HEXDIGITS:  # two items of the same name would be the same step
        names = [
            label
            if seen[label.casefold()] == 1 and len(label) <= _MAX_LABEL_LENGTH
            else f"{label[:_MAX_LABEL_LENGTH]}~{digest[:digits]}"
            for label, digest in zip(labels, map(_digest, keys), strict=True)
        ]
        if len({name.casefold() for name in names}) == len(names):
            break
    return names


def _shown(value: Scalar) -> str:
    text = str(value)
    return _UNSAFE_CHARACTERS.sub("_", only_names(normal_name(text.rpartition("/")[2] or text))) or "_"


def _digest(key: Sequence[tuple[str, Scalar]]) -> str:
    # `repr` keeps apart what `str` writes alike: `1` and `"1"`.
    exact = ",".join(f"{name}={value!r}" for name, value in key)
    return hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()
