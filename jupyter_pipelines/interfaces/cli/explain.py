"""The command ``explain``."""

from __future__ import annotations

import click

from jupyter_pipelines.interfaces.cli.command import CONTEXT, write
from jupyter_pipelines.interfaces.strict_json import as_json


@click.command(context_settings=CONTEXT, epilog="\b\nExamples:\n  jupyter pipelines explain JP204")
@click.argument("code")
@click.option("--json", "as_document", is_flag=True, help="One JSON document on stdout.")
def explain(code: str, *, as_document: bool) -> None:
    """Say what the error CODE means, and what to do about it."""
    # Renamed on import: the command has the same name.
    from jupyter_pipelines.reporting.error_docs import explain as explain_code

    explanation = explain_code(code)
    write(as_json(explanation.to_dict()) if as_document else str(explanation))
