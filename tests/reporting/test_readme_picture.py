from __future__ import annotations

import runpy
from pathlib import Path

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def test_the_picture_in_the_docs_is_what_the_code_draws() -> None:
    drawn = runpy.run_path(str(IMAGES / "draw.py"))["picture"]()
    assert (IMAGES / "graph.svg").read_text(encoding="utf-8") == drawn, "call: python docs/images/draw.py"
