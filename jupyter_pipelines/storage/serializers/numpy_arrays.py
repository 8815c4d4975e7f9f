"""NumPy arrays as ``.npy`` files, which cannot hold code."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jupyter_pipelines.storage.serializers import memory_map
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, ValueHead

if TYPE_CHECKING:
    import numpy as np

_MAX_HEADER_BYTES = 1 << 26
_CHUNK_BYTES = 16 << 20


class NpySerializer:
    """Arrays of exactly the type ``numpy.ndarray``, of any shape and order, without Python objects in them."""

    name = "npy"
    suffix = ".npy"
    holds_code = False
    copied_by = "{}.copy()"

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is an array, and not of a class derived from it."""
        return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"

    def head(self, path: Path, rows: int, columns: int) -> ValueHead:  # noqa: ARG002 - the array reads what is asked
        """Return the array in `path` as a read-only map, whose pages are read on access."""
        import numpy as np

        return ValueHead(type="numpy.ndarray", value=np.load(path, mmap_mode="r", allow_pickle=False))

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the array; an array in neither C nor Fortran order is written in C order."""
        import numpy as np

        _check(value.dtype)
        if not _write_head(value, file):
            np.lib.format.write_array(file, _with_zeroed_padding(value), version=(3, 0), allow_pickle=False)
        elif _has_padding(value.dtype) or not (value.flags.c_contiguous or value.flags.f_contiguous):
            for piece in _pieces(value):
                file.write(_with_zeroed_padding(piece).view(np.uint8))
        else:
            # The array's own memory, without a copy.
            flat: Any = (value if value.flags.c_contiguous else value.T).reshape(-1)
            file.write(flat.view(np.uint8))

    def read(self, path: Path) -> Any:
        """Return the array in `path`, writable; a large array is mapped copy-on-write: changes stay in memory."""
        import numpy as np

        with path.open("rb") as file:
            status, version = os.fstat(file.fileno()), np.lib.format.read_magic(file)
            if version == (1, 0) and memory_map.is_mapped(status):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_MAX_HEADER_BYTES)
                return _array_over_memory(
                    memory_map.read_memory(path), file.tell(), (shape[::-1] if fortran else shape, dtype), fortran
                )
        # The limit on headers is for files of unknown origin; the bytes of this one were checked.
        return np.load(path, allow_pickle=False, max_header_size=_MAX_HEADER_BYTES)


def _write_head(array: Any, file: BinaryIO) -> bool:
    """Write the npy header and return True; False if NumPy has to write the whole file."""
    import numpy as np

    if array.nbytes == 0:
        return False
    try:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    except ValueError:
        # The names of fields are too long for version 1.0 of the format, or not Latin-1.
        return False
    return True


def _array_over_memory(memory: Any, start: int, kind: tuple[tuple[int, ...], Any], fortran: bool) -> Any:
    import numpy as np

    shape, dtype = kind
    array = np.frombuffer(memory, dtype=dtype, offset=start).reshape(shape)
    return array.T if fortran else array


def _pieces(array: Any) -> Iterator[Any]:
    """Yield the items of an array in the order of the file, in contiguous pieces of at most 16 MB."""
    import numpy as np

    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    size = max(_CHUNK_BYTES // array.dtype.itemsize, 1)
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    for piece in np.nditer(array, flags=flags, buffersize=size, order="F" if fortran else "C"):
        yield np.ascontiguousarray(piece)


def _has_padding(dtype: Any) -> bool:
    return dtype.names is not None and dtype.itemsize != sum(dtype[name].itemsize for name in dtype.names)


def _with_zeroed_padding(array: Any) -> Any:
    """Return the array with zeros in the padding between fields, which otherwise holds arbitrary bytes."""
    import numpy as np

    dtype = array.dtype
    if not _has_padding(dtype):
        return array
    clean = np.zeros(array.shape, dtype)
    for name in dtype.names:
        clean[name] = array[name]
    return clean


def _check(dtype: np.dtype[Any]) -> None:
    import numpy as np

    if dtype.hasobject:
        raise UnsupportedValue("the array holds Python objects")
    if dtype.metadata is not None:
        raise UnsupportedValue("the dtype of the array carries metadata")
    # A round trip of an empty array shows whether the header restores the dtype, before any byte is written.
    sample = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns where fields of fields lose something
            np.lib.format.write_array(sample, np.empty(0, dtype), version=(3, 0), allow_pickle=False)
        sample.seek(0)
        restored_dtype = np.lib.format.read_array(sample, allow_pickle=False, max_header_size=_MAX_HEADER_BYTES).dtype
    except (ValueError, TypeError, UserWarning) as error:
        raise UnsupportedValue(f"the format has no word for the dtype {dtype}") from error
    if restored_dtype != dtype or restored_dtype.isalignedstruct != dtype.isalignedstruct:
        raise UnsupportedValue(f"the format has no word for the dtype {dtype}")
