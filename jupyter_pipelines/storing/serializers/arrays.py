"""NumPy arrays as ``.npy`` files, which cannot hold code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jupyter_pipelines.storing.serializers.fitting import Unsuitable

if TYPE_CHECKING:
    import numpy as np


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
        whole = value if value.flags.c_contiguous or value.flags.f_contiguous else np.ascontiguousarray(value)
        if not _write_head(whole, file):
            np.lib.format.write_array(file, whole, allow_pickle=False)
            return
        # The array's own memory, without a copy.
        flat: Any = (whole if whole.flags.c_contiguous else whole.T).reshape(-1)
        file.write(flat.view(np.uint8))

    def read(self, path: Path) -> Any:
        """Return the array in `path`, writable."""
        import numpy as np

        return np.load(path, allow_pickle=False)


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


def _check(dtype: np.dtype[Any]) -> None:
    import numpy as np

    if dtype.hasobject:
        raise Unsuitable("the array holds Python objects")
    if dtype.metadata is not None:
        raise Unsuitable("the dtype of the array carries metadata")
    try:
        back = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype))
    except Exception as error:
        raise Unsuitable(f"the format has no word for the dtype {dtype}") from error
    if back != dtype or back.isalignedstruct != dtype.isalignedstruct or type(back) is not type(dtype):
        raise Unsuitable(f"the format has no word for the dtype {dtype}")
