"""One browser for the tests of this folder in a process; servers as tests ask for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.jupyter_apps import BROWSER, SWITCHES, FrontEndServer, front_end_server
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

ARTIFACTS = Path(os.environ.get("JUPYTER_PIPELINES_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
"""Where screenshots are kept."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, without a window; closed before other tests, as Playwright leaves an event loop running meanwhile."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES, timeout=1000 * PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A browser that knows nothing, as wide as a laptop; when the test fails, what its pages show is kept."""
    made = browser.new_context(viewport={"width": 1360, "height": 860}, reduced_motion="reduce")
    made.set_default_timeout(1000 * PATIENCE)
    yield made
    for number, page in enumerate(made.pages):
        if _failed(request):
            page.screenshot(path=screenshot(f"failed-{_slug(request.node.name)}-{number}"))
    made.close()


@pytest.fixture(scope="module", params=["lab", "notebook"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEndServer]:
    """JupyterLab, and then Notebook 7: for what has to work in both."""
    yield from _start(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEndServer]:
    """JupyterLab, started once for each file of tests."""
    yield from _start("lab", tmp_path_factory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let fixtures know how the test went."""
    report = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report


_REPORT: pytest.StashKey[pytest.TestReport] = pytest.StashKey()


def _failed(request: pytest.FixtureRequest) -> bool:
    report = request.node.stash.get(_REPORT, None)
    return report is None or bool(report.failed)


def screenshot(name: str) -> Path:
    """Return where the screenshot `name` is kept."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    return ARTIFACTS / f"{name}.png"


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)[:80]


def _start(app: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEndServer]:
    folder, private = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("private")
    (folder / "pyproject.toml").write_text("")
    with front_end_server(app, folder, private) as started:
        yield started


@pytest.fixture(scope="session")
def axe_script() -> Path:
    """The checker of accessibility, which comes with the front end's own tools."""
    return Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
