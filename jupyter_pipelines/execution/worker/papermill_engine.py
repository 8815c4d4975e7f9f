"""The papermill engine ``jupyter_pipelines``: executes the notebook of a step and records how each cell ended.

Papermill loads all engines while it is being imported itself, so an engine must not import papermill at module level.
The work is done in :mod:`jupyter_pipelines.execution.worker.notebook_client`.
"""

from __future__ import annotations

from typing import Any

NAME = "jupyter_pipelines"


class PapermillEngine:
    """The interface of a papermill engine.

    Without a `conduct`, as in ``papermill --engine jupyter_pipelines``, it delegates to papermill's own engine.
    """

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, conduct: Any = None, **options: Any) -> Any:
        """Execute `nb` and return it.

        Parameters
        ----------
        nb : nbformat.NotebookNode
            The notebook; changed in place.
        kernel_name : str
            Name of the kernelspec.
        conduct : ExecutionContext or None
            Kernel and watchdog of a step, and the record of its execution.
        **options
            Options that papermill passes to engines.
        """
        if conduct is None:
            from papermill.engines import NBClientEngine

            return NBClientEngine.execute_notebook(nb, kernel_name, **options)
        from jupyter_pipelines.execution.worker.notebook_client import execute

        return execute(nb, conduct)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """Return the name of the kernelspec that `nb` asks for."""
        from papermill.utils import nb_kernel_name

        return str(nb_kernel_name(nb, name))

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """Return the language that `nb` is written in."""
        from papermill.utils import nb_language

        return str(nb_language(nb, language))


def register() -> None:
    """Register the engine with papermill."""
    # Not by its entry point alone: that exists only where this package is installed.
    from papermill.engines import papermill_engines

    papermill_engines.register(NAME, PapermillEngine)
