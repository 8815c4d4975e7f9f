"""The command ``test``."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.interfaces.cli.command import CommandContext, command, write

SCHEMA = "jupyter-pipelines/test/1"


@command(examples="test churn.ipynb\ntest churn.ipynb --update")
@click.option("--update", is_flag=True, help="Record what steps take and make again, from a run.")
def test(desk: CommandContext, *, update: bool) -> int:
    """Test every step of NOTEBOOK on its own, with recorded inputs; record them first where there are none.

    Writes `test_NAME.py` and `test_NAME.cases` beside NOTEBOOK; plain `pytest` runs them, too. The exit code is 0 when
    every step makes what is recorded, else 1. A step with `--foreach` has a test for each item.
    """
    from jupyter_pipelines.verification.recorded_step_tests import file_of, steps_without_test

    if find_spec("pytest") is None:
        raise PlanError(_no_pytest())
    path = file_of(Path(desk.notebook))
    # Recorded only if there is no file: tests that recorded themselves would never fail.
    recorded = _record(desk) if update or not path.exists() else None
    for name in steps_without_test(desk.pipeline(), Path(desk.notebook)) if recorded is None else ():
        write(f"the step {name} has no test yet: --update records a test", sys.stderr)
    # In a process of its own: pytest changes sys.path, warnings and logging of the process. stdout stays free for
    # the answer.
    pytest_run = subprocess.run(
        # In its folder: pytest takes brackets in a path for the parameters of a test.
        [sys.executable, "-m", "pytest", "-q", "--rootdir", ".", path.name],
        cwd=path.parent,
        stdout=sys.stderr,
        check=False,
    )
    document = {"schema": SCHEMA, "file": str(path), "recorded": recorded, "passed": pytest_run.returncode == 0}
    desk.answer(
        document, f"{path}: {'every step makes what is recorded' if pytest_run.returncode == 0 else 'see above'}"
    )
    return 1 if pytest_run.returncode else 0


def _record(desk: CommandContext) -> dict[str, Any]:
    from jupyter_pipelines.verification.recorded_step_tests import as_document, record_cases

    pipeline = desk.pipeline()
    plan = desk.project.plan(pipeline).require()
    run = desk.project.run(plan).raise_for_state()
    cases = record_cases(plan.pipeline, run, desk.project.store_for(pipeline), Path(desk.notebook))
    for name, reason in cases.left_out.items():
        write(f"no test of the step {name}: {reason}", sys.stderr)
    return as_document(cases)


def _no_pytest() -> Diagnostic:
    return Diagnostic(
        code="JP704",
        message="pytest is not installed, and it runs the tests of steps",
        suggestion="install it: `pip install pytest`",
    )
