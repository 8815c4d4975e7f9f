"""Notebook cells become a cached, papermill-run pipeline.

>>> import jupyter_pipelines as jp
>>> pipeline = jp.read("churn.ipynb")
>>> run = jp.run(pipeline, trees=200)
>>> run["train"].outputs["model"]

The names below are resolved on first use, so that importing the package costs no more than a bare interpreter does.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from jupyter_pipelines.errors import Diagnostic, PipelinesError
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.pipeline.foreach import GatheredResults
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.secrets import Secret
    from jupyter_pipelines.planning.plan import Plan
    from jupyter_pipelines.project import Project, check, plan, read, run

__version__ = "0.1.0"
__all__ = [
    "Diagnostic",
    "GatheredResults",
    "Pipeline",
    "PipelinesError",
    "Plan",
    "Project",
    "Run",
    "Secret",
    "check",
    "plan",
    "read",
    "run",
]

_EXPORT_MODULES = {
    "Diagnostic": "errors",
    "GatheredResults": "pipeline.foreach",
    "PipelinesError": "errors",
    "Pipeline": "pipeline.graph",
    "Plan": "planning.plan",
    "Project": "project",
    "Run": "execution.runs.result",
    "Secret": "pipeline.secrets",
    "check": "project",
    "plan": "project",
    "read": "project",
    "run": "project",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORT_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_EXPORT_MODULES[name]}"), name)
    # The next access does not come here again.
    globals()[name] = value
    _show_values()
    return value


def _show_values() -> None:
    """In a kernel, register the display of pipelines, plans and runs as graphs, also without the magics."""
    # Only if IPython is imported already: without it there is no kernel, and its import takes long.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is not None:
        import_module(f"{__name__}.interfaces.jupyter.display").register(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """Register the magics; called by ``%load_ext jupyter_pipelines``."""
    import_module(f"{__name__}.interfaces.jupyter.magics").register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Unregister the magics; called by ``%unload_ext jupyter_pipelines``."""
    import_module(f"{__name__}.interfaces.jupyter.magics").unregister(shell)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Return the module of the server extension; called by Jupyter's server when it starts."""
    return [{"module": f"{__name__}.interfaces.server.extension"}]
