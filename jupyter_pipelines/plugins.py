"""Plug-ins: look up a class by kind and name; the only module that reads entry points.

Built-ins stand in a table of dotted names; other packages register entry points in the group
``jupyter_pipelines.<kind>``. Only the requested plug-in is imported, so a broken plug-in does not affect the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from jupyter_pipelines.errors import Diagnostic, PluginError, closest_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Kind = Literal["serializers", "executors", "stores"]

_PACKAGE_PREFIX = "jupyter_pipelines."
BUILT_IN: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "serializers": {
            "json": "storage.serializers.json_text_bytes:JsonSerializer",
            "text": "storage.serializers.json_text_bytes:TextSerializer",
            "bytes": "storage.serializers.json_text_bytes:BytesSerializer",
            "arrow": "storage.serializers.arrow_frames:ArrowSerializer",
            "parquet": "storage.serializers.arrow_frames:ParquetSerializer",
            "npy": "storage.serializers.numpy_arrays:NpySerializer",
            "joblib": "storage.serializers.pickles:JoblibSerializer",
            "pickle": "storage.serializers.pickles:PickleSerializer",
        },
        "executors": {
            "local": "execution.executors.local:LocalExecutor",
            "dask": "execution.executors.remote.dask:DaskExecutor",
            "ray": "execution.executors.remote.ray:RayExecutor",
        },
        "stores": {
            "file": "storage.store:Store",
            "shared": "storage.shared.shared_store:SharedStore",
            **dict.fromkeys(("s3", "abfs", "az", "gs", "memory"), "storage.shared.buckets:BucketStore"),
        },
    }
)


def names(kind: Kind) -> tuple[str, ...]:
    """Return the names that `kind` has, built-ins first; nothing is imported."""
    return (*BUILT_IN[kind], *(name for name in _entry_points(kind) if name not in BUILT_IN[kind]))


def load(kind: Kind, name: str) -> Any:
    """Return the class called `name`.

    Raises
    ------
    PluginError
        There is none of that name (JP602), or it cannot be imported (JP601).
    """
    # Built-ins win: a package cannot replace the serializer by which stored pickles are read.
    dotted = BUILT_IN[kind].get(name)
    if dotted is not None:
        module, _, attribute = dotted.partition(":")
        return getattr(import_module(_PACKAGE_PREFIX + module), attribute)
    entry_point = _entry_points(kind).get(name)
    if entry_point is None:
        raise PluginError(_unknown(kind, name))
    try:
        # Importing a third-party module can raise anything; the error must name its package.
        return entry_point.load()
    except Exception as error:
        raise PluginError(_broken(kind, entry_point, error)) from error


def _entry_points(kind: Kind) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and of no use while built-ins are enough

    return {point.name: point for point in entry_points(group=f"jupyter_pipelines.{kind}")}


def _unknown(kind: Kind, name: str) -> Diagnostic:
    known = names(kind)
    near = closest_name(name, known)
    return Diagnostic(
        code="JP602",
        message=f"there is no {kind[:-1]} called `{name}`",
        suggestion=f"write `{near}`" if near else f"use one of: {', '.join(known)}",
    )


def _broken(kind: Kind, point: EntryPoint, error: Exception) -> Diagnostic:
    package = point.dist.name if point.dist else point.value
    return Diagnostic(
        code="JP601",
        message=f"the {kind[:-1]} `{point.name}` of `{package}` cannot be loaded: {type(error).__name__}: {error}",
        suggestion=f"repair or remove the package: `pip install --force-reinstall {package}`",
    )
