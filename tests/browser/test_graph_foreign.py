"""Test outputs of foreign notebooks that claim to be graphs: valid parts are drawn, the rest is reported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.graph_json import MIME
from tests.browser.notebook_page import open_notebook, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer

_BOX = {"id": "a", "kind": "step", "name": "a", "x": 10, "y": 10, "width": 180, "height": 70}
_RED = {"word": "done", "icon": "M0 0h1", "light": ["#ff0000", "#ff0000"], "dark": ["#ff0000", "#ff0000"]}
_BLUE = {"word": "done", "icon": "M0 0h1", "light": ["#0000ff", "#0000ff"], "dark": ["#0000ff", "#0000ff"]}
NO_GRAPH: tuple[Any, ...] = (
    None,
    7,
    "text",
    [],
    {},
    {"graph": None},
    {"graph": []},
    {"graph": {"nodes": "many"}},
    {"graph": {"nodes": [None, 3, "x", [], {"id": 5}, {"id": "a"}, {**_BOX, "x": "left"}, {**_BOX, "width": 1e300}]}},
)
GRAPHS: tuple[Any, ...] = (
    {"graph": {"nodes": [_BOX]}},
    {"graph": {"nodes": [_BOX], "looks": {"succeeded": _RED}}, "statuses": {"steps": {"a": {"state": "succeeded"}}}},
    {"graph": {"nodes": [_BOX], "looks": {"succeeded": _BLUE}}, "statuses": {"steps": {"a": {"state": "succeeded"}}}},
    {"graph": {"nodes": [_BOX], "edges": 3, "rails": {}, "groups": "x", "looks": [], "overview": 1, "parameters": 2}},
    {"graph": {"nodes": [_BOX], "edges": [{"from": "a", "to": "nobody", "path": "M0 0H1", "label": "x"}, 3]}},
    {"graph": {"nodes": [_BOX], "looks": {"succeeded": None, "x": {"light": 3}}}, "statuses": {"steps": {"a": "x"}}},
    {"graph": {"nodes": [_BOX]}, "statuses": {"steps": {"a": {"state": "constructor", "notes": 3, "reason": []}}}},
    {"graph": {"nodes": [{**_BOX, "kind": "script", "cells": 3, "inputs": [None, {"name": 4}], "outputs": "x"}]}},
)


def write_foreign_outputs(path: Path) -> None:
    """Write a notebook of which each cell has one of the outputs."""
    write_notebook(path, *(f"{number}" for number in range(len(NO_GRAPH) + len(GRAPHS))))
    document = json.loads(path.read_text())
    for cell, value in zip(document["cells"], (*NO_GRAPH, *GRAPHS), strict=True):
        cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {MIME: value, "text/plain": "text"}}]
    path.write_text(json.dumps(document))


def test_odd_outputs_are_told_or_drawn_and_colour_nothing_else(either: FrontEndServer, context: BrowserContext) -> None:
    write_foreign_outputs(either.folder / "odd.ipynb")
    opened = open_notebook(context, either, "odd.ipynb")
    for number in range(len(NO_GRAPH)):
        cell = opened.page.locator(".jp-Notebook .jp-Cell").nth(number)
        cell.scroll_into_view_if_needed()
        cell.get_by_text("holds no graph that can be drawn").or_(cell.get_by_text("text", exact=True)).first.wait_for()
    for number in range(len(NO_GRAPH), len(NO_GRAPH) + len(GRAPHS)):
        node = opened.page.locator(".jp-Notebook .jp-Cell").nth(number).locator('[data-id="a"]')
        node.scroll_into_view_if_needed()
        node.click()
    colours = opened.page.locator(".jp-OutputArea .jpg-is-succeeded:not(.jpg-badge)").evaluate_all(
        "all => all.map(label => getComputedStyle(label).color)"
    )
    assert colours[:2] == ["rgb(255, 0, 0)", "rgb(0, 0, 255)"]
    assert opened.problems == []
