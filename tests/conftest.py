"""Isolate all tests from the user's Jupyter settings, stores and signals; sort them; fix hypothesis' examples in CI."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from jupyter_pipelines.execution.blocked_imports import FORMATS, block_imports
from tests import tiers

pytest.register_assert_rewrite("jupyter_pipelines.testing")  # a red contract says what there was instead
block_imports(*FORMATS)  # saves several seconds in each process that runs tests

# Examples run while kernels come and go: their durations say nothing. In CI the same examples come each time, so
# that a red run can be repeated.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("check", deadline=None, max_examples=5, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config: pytest.Config) -> None:
    """Let processes that tests start have the default signals.

    nohup has its command ignore SIGHUP, and a shell script has what it starts with & ignore SIGINT, which children
    inherit. What is handled, even if by doing nothing, children get with its default. A process that only starts those
    that run tests goes on ignoring it, and so do they until they are here.
    """
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        return
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else lambda *_: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have ``--dist=loadscope`` give out tests one by one, but for files whose tests share something.

    That is what ``--dist=loadgroup`` is for, which does nothing with pytest 9.2 and pytest-xdist 3.8.
    """
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return tiers.shares_process(nodeid) or nodeid

    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests into those of `make check`, `make test` and `make test-all`."""
    tiers.mark(items)
    items[:] = tiers.in_order(items)
    chosen = config.getoption("ignore", None) or config.getoption("deselect", None)
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not chosen
    if whole and (unused := tiers.unused(items)):
        raise pytest.UsageError(f"tests/tiers.py: no test is called {', '.join(unused)}")


@pytest.fixture(scope="session", autouse=True)
def isolated_environment() -> Iterator[None]:
    """Isolate the tests from the settings, kernels and stores of the user who runs them, and the other way round."""
    # Sockets of kernels live here, and a socket's path has at most 107 characters: pytest's own folders are too long.
    home = Path(tempfile.mkdtemp(prefix="jp-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(home / "ipython"))
        patch.setenv("JUPYTER_CONFIG_DIR", str(home / "config"))
        patch.setenv("JUPYTER_DATA_DIR", str(home / "data"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))
        patch.setenv("JUPYTER_PIPELINES_CACHE", str(home / "cache"))
        patch.setenv("JUPYTER_PIPELINES_KEYS", str(home / "keys"))
        patch.setenv("JUPYTER_PIPELINES_FRONT", str(home / "front"))
        patch.setenv("MPLBACKEND", "agg")
        for name in ("JUPYTER_PIPELINES_STORE", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONWARNINGS"):
            patch.delenv(name, raising=False)
        yield
    shutil.rmtree(home, ignore_errors=True)
