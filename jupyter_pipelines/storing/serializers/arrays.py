"""NumPy arrays as ``.npy`` files, which cannot hold code."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jupyter_pipelines.storing.serializers.fitting import Unsuitable

if TYPE_CHECKING:
    import numpy as np

_LARGEST_HEADER = 1 << 26


class Npy:
    """Arrays of exactly the type ``numpy.ndarray``, of any shape and order, without Python objects in them."""

    name = "npy"
    suffix = ".npy"

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is an array, and not of a class derived from it."""
        return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the array; one in neither C nor Fortran order is written in C order."""
        import numpy as np

        _check(value.dtype)
        whole = _gaps_filled(value)
        whole = whole if whole.flags.c_contiguous or whole.flags.f_contiguous else np.ascontiguousarray(whole)
        if not _write_head(whole, file):
            np.lib.format.write_array(file, whole, version=(3, 0), allow_pickle=False)
            return
        # The array's own memory, without a copy.
        flat: Any = (whole if whole.flags.c_contiguous else whole.T).reshape(-1)
        file.write(flat.view(np.uint8))

    def read(self, path: Path) -> Any:
        """Return the array in `path`, writable."""
        import numpy as np

        # The limit on headers is for files from strangers; the bytes of this one were checked.
        return np.load(path, allow_pickle=False, max_header_size=_LARGEST_HEADER)


def _write_head(array: Any, file: BinaryIO) -> bool:
    """Write what stands before the bytes of the array, unless NumPy had better write all of it."""
    import numpy as np

    if array.nbytes == 0:
        return False
    try:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    except ValueError:
        # Names of fields that the first version of the format has no letters or no room for.
        return False
    return True


def _gaps_filled(array: Any) -> Any:
    """Return the array with zeros between its fields, where there would be whatever the memory held before."""
    import numpy as np

    dtype = array.dtype
    if dtype.names is None or dtype.itemsize == sum(dtype[name].itemsize for name in dtype.names):
        return array
    clean = np.zeros(array.shape, dtype)
    for name in dtype.names:
        clean[name] = array[name]
    return clean


def _check(dtype: np.dtype[Any]) -> None:
    import numpy as np

    if dtype.hasobject:
        raise Unsuitable("the array holds Python objects")
    if dtype.metadata is not None:
        raise Unsuitable("the dtype of the array carries metadata")
    sample = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns where fields of fields lose something
            np.lib.format.write_array(sample, np.empty(0, dtype), version=(3, 0), allow_pickle=False)
        sample.seek(0)
        back = np.lib.format.read_array(sample, allow_pickle=False, max_header_size=_LARGEST_HEADER).dtype
    except (ValueError, TypeError, UserWarning) as error:
        raise Unsuitable(f"the format has no word for the dtype {dtype}") from error
    if back != dtype or back.isalignedstruct != dtype.isalignedstruct:
        raise Unsuitable(f"the format has no word for the dtype {dtype}")
