"""Run notebooks one after the other with papermill: ``papermill_loop.py steps.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import papermill

for notebook in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    name = Path(notebook).stem
    papermill.execute_notebook(notebook, f"{name}.out.ipynb", parameters={"output": f"{name}.json"})
