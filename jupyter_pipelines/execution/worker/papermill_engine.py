"""The papermill engine ``jupyter_pipelines``: runs the notebook of a step and records how each cell really ended.

Papermill loads every engine while it is itself being imported, and an engine that imports papermill then would break
it. So nothing heavy is imported here; the work is done in :mod:`jupyter_pipelines.execution.worker.notebook_client`.
"""

from __future__ import annotations

from typing import Any

NAME = "jupyter_pipelines"


class PapermillEngine:
    """What papermill asks of an engine.

    Without a `conduct`, as in ``papermill --engine jupyter_pipelines``, papermill's own engine does the work.
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
        conduct : Conduct or None
            How a step is run, and where what happened is noted.
        **options
            What papermill passes to engines.
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
    """Make the engine known to papermill, installed or not."""
    from papermill.engines import papermill_engines

    papermill_engines.register(NAME, PapermillEngine)
