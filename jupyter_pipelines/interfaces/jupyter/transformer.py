"""The input transformer that lets a cell with a header run as if it had none.

A classic cell magic would run its body in a nested cell: errors inside would leave the outer cell successful, so that
Run All goes on, and ``{}`` and ``$`` in the header would be expanded. Turning the header into a comment avoids both and
keeps line numbers right.
"""

from __future__ import annotations

from typing import Any

from jupyter_pipelines.errors import PipelineError
from jupyter_pipelines.notebook.headers.split import split_cell


class HeaderTransformer:
    """Input transformer that comments the header of a cell out; pure and idempotent."""

    # IPython leaves such transformers out when it only asks whether a cell is complete, and a fault in a header must
    # not be raised while the user is still typing it.
    has_side_effects = True

    def __call__(self, lines: list[str]) -> list[str]:
        """Return `lines` with the header turned into a comment.

        Raises
        ------
        PipelineError
            The header cannot be read.
        """
        split = split_cell("".join(lines), 0)
        errors = [fault for fault in split.faults if fault.severity == "error"]
        if errors:
            raise PipelineError(*errors)
        return split.body.splitlines(keepends=True) if split.header else lines


def install(shell: Any) -> None:
    """Add the transformer to an IPython shell, once."""
    remove(shell)
    # In the clean-up stage, before IPython turns `%%` into a call of a cell magic.
    shell.input_transformers_cleanup.append(HeaderTransformer())


def remove(shell: Any) -> None:
    """Remove the transformer from an IPython shell."""
    transformers = shell.input_transformers_cleanup
    transformers[:] = [transformer for transformer in transformers if not isinstance(transformer, HeaderTransformer)]
