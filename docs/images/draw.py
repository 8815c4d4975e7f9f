"""Draws ``graph.svg``, the picture of a pipeline in the docs: ``python docs/images/draw.py``.

What it shows is ``run.json``, the document of a real run of ``notebooks/quickstart.ipynb`` in which one parameter had
changed since the run before::

    jupyter pipelines run notebooks/quickstart.ipynb
    jupyter pipelines run notebooks/quickstart.ipynb -p trees=500 --json > docs/images/run.json
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import jupyter_pipelines as jp
from jupyter_pipelines.reporting.step_status import of_run
from jupyter_pipelines.reporting.svg.mimebundle import heading_of
from jupyter_pipelines.reporting.svg.svg import draw

HERE = Path(__file__).parent


def picture() -> str:
    """Return the picture as it looks two hours after the run."""
    pipeline = jp.read(HERE.parents[1] / "notebooks" / "quickstart.ipynb")
    run = json.loads((HERE / "run.json").read_text(encoding="utf-8"))
    now = datetime.fromisoformat(run["finished"]) + timedelta(hours=2)
    return draw(pipeline, of_run(run, now=now), heading=heading_of(pipeline, run))


if __name__ == "__main__":
    (HERE / "graph.svg").write_text(picture(), encoding="utf-8")
