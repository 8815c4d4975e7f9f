"""What the guides for newcomers point at is there: CONTRIBUTING.md and docs/life-of-a-step.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.runs.result import Run, StepRun
from jupyter_pipelines.pipeline.step import SharedCode, StepCell, StepModule
from jupyter_pipelines.planning.decide import PlannedStep
from jupyter_pipelines.planning.plan import Plan
from jupyter_pipelines.planning.reasons import DecisionReason
from tests.planning.planning_fakes import PlanSimulation, pipeline, step
from tests.reporting.sample_graphs import run_document

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jupyter_pipelines"
GUIDE = ROOT / "CONTRIBUTING.md"
STORY = ROOT / "docs" / "life-of-a-step.md"
USUAL_THINGS = ("header option", "reason", "format", "executor", "command", "field", "drawing", "error code")


def names_in(path: Path) -> set[str]:
    """Return the functions, classes, methods and module variables of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    }
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def missing_in_story(text: str) -> Iterator[str]:
    """Yield the files and names that the story points at and that are not there."""
    for path, name in re.findall(r"`([\w/]+(?:\.py|/))(?:::(\w+))?`", text):
        if not (PACKAGE / path).exists():
            yield path
        elif name and name not in names_in(PACKAGE / path):
            yield f"{path}::{name}"


def missing_in_guide(text: str) -> Iterator[str]:
    """Yield what the guide points at and is not there: paths, links, targets of make, names beside a path."""
    for path in re.findall(r"`((?:jupyter_pipelines|tests|docs|labextension)/[\w./-]*)`", text):
        if not (ROOT / path).exists():
            yield path
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        if not (ROOT / link).exists():
            yield link
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    yield from (
        f"make {name}"
        for name in re.findall(r"\bmake ([a-z-]+)\b", text.split("## Rules", maxsplit=1)[0])
        if name not in targets | {"and"}
    )
    for line in text.splitlines():
        paths = [ROOT / path for path in re.findall(r"`((?:jupyter_pipelines|tests)/[\w./-]+\.py)`", line)]
        known = {name for path in paths if path.exists() for name in names_in(path)} | {""}
        # Names of classes, tables and functions; attributes and names that other lines explain are written otherwise.
        for name in re.findall(r"`([A-Z]\w+|_?[A-Z_]{3,}|\w+_\w+)(?:\.\w+)?`", line) if paths else ():
            if name not in known | BESIDE:
                yield f"{name} in {', '.join(path.name for path in paths)}"


BESIDE = {"CellHeader", "RemoteExecutor", "Step", "StepRecord", "NodeCard", "Project", "holds_code", "copied_by"}
"""Names in the guide that stand in another file than the one named in their line."""


def test_the_story_points_at_what_exists() -> None:
    text = STORY.read_text(encoding="utf-8")
    assert len(re.findall(r"\.py::\w+`", text)) > 40
    assert list(missing_in_story(text)) == []
    broken = text.replace("publish.py::publish", "publish.py::print_it").replace("plan.py", "plans.py")
    assert set(missing_in_story(broken)) == {"planning/plans.py", "execution/scheduler/publish.py::print_it"}


def test_the_guide_points_at_what_exists() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert list(missing_in_guide(text)) == []
    broken = (
        text.replace("`OPTIONS`", "`OPTIONS_`")
        .replace("make front ", "make back ")
        .replace("(ARCHITECTURE.md)", "(A.md)")
    )
    assert set(missing_in_guide(broken)) >= {"OPTIONS_ in options.py", "make back", "A.md"}


def test_the_guide_has_the_usual_things_and_few_edits_for_each() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    sections = re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", text, re.M)
    titles = [title for title, _ in sections]
    assert [thing for thing in USUAL_THINGS if not any(thing in title for title in titles)] == []
    edits = {title: len(re.findall(r"^\d+\. ", body, re.M)) for title, body in sections}
    assert edits["A header option"] <= 9
    assert edits["A format of stored values"] == 2


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_pages_link_to_pages_that_are_there(page: Path) -> None:
    """The documentation is built from docs/ alone: a link to a page outside of it would lead nowhere."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        linked = (page.parent / target).resolve()
        assert linked.is_relative_to(ROOT / "docs"), target
        assert linked.exists() or target == "errors.md", target


def test_the_readme_says_where_a_pipeline_runs() -> None:
    row = next(
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "runs on a cluster" in line
    )
    executors = [name for name in plugins.BUILT_IN["executors"] if name != "local"]
    assert [name for name in executors if name not in row.split("|")[2].lower()] == []


def test_values_are_shown_in_a_readable_line() -> None:
    many = [
        step(f"s{number}", "" if number == 0 else f"x{number - 1}=s{number - 1}.x{number - 1}", f"x{number}")
        for number in range(40)
    ]
    graph = pipeline(*many)
    plan: Plan = PlanSimulation().plan(graph)
    run = Run.from_dict(run_document(load="reused", train="failed"))
    text = "line\n" * 2000
    shown = {
        repr(graph): "<Pipeline book: 40 steps: s0, s1, s2, s3, s4, s5, s6, s7 and 32 more>",
        repr(graph["s1"]): "<Step s1: x0 -> x1>",
        repr(plan): "<Plan of book: 40 run>",
        repr(plan["s0"]): "<PlannedStep s0: run, never run>",
    }
    assert list(shown) == list(shown.values())
    first: StepRun = next(iter(run.steps.values()))
    kin = [
        run,
        first,
        StepCell(number=1, id=None, text=text, body=text),
        SharedCode(name="f", kind="function", source=text, cell=1),
    ]
    kin += [
        StepModule(name="m", path="m.py", source=text),
        PlannedStep(name="a", decision="run", reason=DecisionReason(code="code", text=text)),
    ]
    kin += [Diagnostic(code="JP101", message="m", suggestion="s")]
    for value in (*shown, *map(repr, kin)):
        assert len(value) <= 300, value
        assert "\n" not in value
