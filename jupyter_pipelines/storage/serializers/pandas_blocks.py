"""Assemble columns into a pandas data frame, without a copy where they lie at equal distances in memory.

pandas keeps columns of one dtype in a two-dimensional block. Columns that were written to a file one after the other
lie in memory like the rows of such a block, so that a strided view over them can serve as the block.
"""

from __future__ import annotations

from typing import Any

_MAX_BLOCKS = 50
"""Largest number of blocks of a frame; with more, pandas is slow and emits a PerformanceWarning."""


def assemble(values: list[Any], index: Any, labels: Any) -> Any:
    """Return a frame with these columns.

    Parameters
    ----------
    values : list of numpy.ndarray or pandas.api.extensions.ExtensionArray
        The columns. Those of NumPy become part of the frame.
    index, labels : pandas.Index
        Names of rows and columns.
    """
    try:
        from pandas.api.internals import create_dataframe_from_blocks  # type: ignore[import-not-found, unused-ignore]
    except ImportError:  # before pandas 3
        return _copied(values, index, labels)
    if not values:
        return _copied(values, index, labels)
    return create_dataframe_from_blocks(_blocks(values), index, labels)


def _copied(values: list[Any], index: Any, labels: Any) -> Any:
    import pandas as pd

    # Numbered first: labels need not be unique, and a dict puts columns of one type side by side.
    columns = {number: _typed(column, index) for number, column in enumerate(values)}
    frame = pd.DataFrame(columns, index=index, copy=len(values) > _MAX_BLOCKS)
    frame.columns = labels
    return frame


def _typed(values: Any, index: Any) -> Any:
    """Return object columns as Series of dtype object, for which pandas does not infer a string dtype."""
    import pandas as pd

    return pd.Series(values, index=index, dtype=object, copy=False) if values.dtype == object else values


def _blocks(values: list[Any]) -> list[tuple[Any, Any]]:
    """Return blocks, each with the positions of its columns."""
    import numpy as np

    blocks = []
    by_type: dict[Any, list[int]] = {}
    for number, column in enumerate(values):
        if isinstance(column, np.ndarray):
            by_type.setdefault(column.dtype, []).append(number)
        else:
            # A block of an extension array has exactly one column.
            blocks.append((column, np.array([number])))
    for numbers in by_type.values():
        blocks += _blocks_of_one_type([values[number] for number in numbers], numbers)
    return blocks


def _blocks_of_one_type(arrays: list[Any], numbers: list[int]) -> list[tuple[Any, Any]]:
    import numpy as np

    runs = _strided_ranges([array.__array_interface__["data"][0] for array in arrays])
    if len(runs) > _MAX_BLOCKS or arrays[0].dtype.hasobject:
        return [(np.array(arrays), np.array(numbers))]
    return [(_stacked_view(arrays[first:end]), np.array(numbers[first:end])) for first, end in runs]


def _strided_ranges(addresses: list[int]) -> list[tuple[int, int]]:
    """Return half-open ranges of positions in which the addresses lie at equal distances."""
    runs: list[tuple[int, int]] = []
    first = 0
    for position in range(1, len(addresses) + 1):
        step = addresses[first + 1] - addresses[first] if first + 1 < position else None
        continues = position < len(addresses) and (
            addresses[position] > addresses[position - 1]
            if step is None
            else addresses[position] - addresses[position - 1] == step
        )
        if not continues:
            runs.append((first, position))
            first = position
    return runs


def _stacked_view(arrays: list[Any]) -> Any:
    """Return arrays at equal distances in one buffer as a two-dimensional view; a copy if they have several owners."""
    import numpy as np

    first = arrays[0]
    if len(arrays) == 1 or not _share_memory(arrays):
        return first.reshape(1, -1) if len(arrays) == 1 else np.array(arrays)
    step = arrays[1].__array_interface__["data"][0] - first.__array_interface__["data"][0]
    return np.lib.stride_tricks.as_strided(first, (len(arrays), len(first)), (step, first.itemsize), writeable=True)


def _share_memory(arrays: list[Any]) -> bool:
    """Tell whether all arrays have the same owner of their memory, which keeps the view valid."""
    owner = arrays[0].base
    return owner is not None and all(_owner(array) is _owner(arrays[0]) for array in arrays)


def _owner(array: Any) -> Any:
    base = array.base
    return base.obj if isinstance(base, memoryview) else base
