"""Test that both applications load the front end, and that it sends no requests to other hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.notebook_page import open_notebook, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer


def test_extension_is_loaded_and_stays_at_home(either: FrontEndServer, context: BrowserContext) -> None:
    write_notebook(either.folder / "plain.ipynb", "1 + 1")
    opened = open_notebook(context, either, "plain.ipynb")
    plugins = opened.page.evaluate("() => window.jupyterapp.listPlugins()")
    assert any(name.startswith("@jupyter-pipelines/labextension") for name in plugins)
    opened.run_all()
    assert opened.outside == []
    assert opened.problems == []
