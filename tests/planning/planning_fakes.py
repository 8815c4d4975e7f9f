"""Build pipelines in a line of code, and plan and run them against a store in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.pipeline.artifacts import Artifact, FileSource, Input, Output, OutputKind, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import SharedCode, Step, StepCell, StepModule
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.plan import PipelinePlanner, Plan, PlannedStep
from jupyter_pipelines.storage.step_record import StepRecord

FOLDER = Path("/project")


def step(name: str, inputs: str = "", outputs: str = "", *code: str, cells: Sequence[int] = (), **more: Any) -> Step:
    """Make a step from a text such as ``x=load.rows raw=data/raw.csv``."""
    texts = code or (f"{name}_code()",)
    numbers = cells or range(1, len(texts) + 1)
    optional = more.pop("optional", "").split()
    for key in ("after", "parameters", "packages"):
        more[key] = tuple(more.get(key, "").split())
    return Step(
        name=name,
        cells=tuple(StepCell(number=n, id=None, text=t, body=t) for n, t in zip(numbers, texts, strict=True)),
        inputs=tuple(_input(text, optional) for text in inputs.split()),
        outputs=tuple(_output(text) for text in outputs.split()),
        **more,
    )


def _input(text: str, optional: Sequence[str]) -> Input:
    name, _, where = text.partition("=")
    producer, _, output = where.partition(".")
    is_file = "/" in where
    return Input(
        name=name,
        source=FileSource(path=where) if is_file else StepOutputRef(step=producer, output=output),
        optional=name in optional,
    )


def _output(text: str) -> Output:
    name, _, kind = text.partition(":")
    kinds: Mapping[str, OutputKind] = {"file": "file", "folder": "folder"}
    return Output(name=name, kind=kinds.get(kind, "value"), format=None if kind in ("", "file", "folder") else kind)


def shared(name: str, source: str, cell: int = 1, kind: Any = "function") -> SharedCode:
    return SharedCode(name=name, kind=kind, source=source, cell=cell)


def module(name: str, source: str, path: str = "") -> StepModule:
    return StepModule(name=name, path=path or f"/project/{name}.py", source=source)


def pipeline(*steps: Step, **more: Any) -> Pipeline:
    about = {"notebook": FOLDER / "book.ipynb", "folder": FOLDER, "root": FOLDER}
    return Pipeline(steps=steps, **(about | more))


def artifact(content: str, kind: str = "json") -> Artifact:
    return Artifact(digest=f"sha256:{hashlib.sha256(content.encode()).hexdigest()}", format=kind, bytes=len(content))


@dataclass
class InMemoryStore:
    """Hold records and file contents, and count how often each is asked for."""

    records: dict[str, StepRecord] = field(default_factory=dict)
    files: dict[str, str | OSError] = field(default_factory=dict)
    damage: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    clock: int = 0

    def at_once(self, _steps: Iterable[str]) -> InMemoryStore:
        return self

    def newest(self) -> Iterable[StepRecord]:
        return self.records.values()

    def folder_contents(self, path: Path) -> tuple[str, dict[str, str]]:
        raise FileNotFoundError(path)

    def digest_files(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self.digest(Path(name)) for name in names if name in self.files}

    def record(self, key: str) -> StepRecord | None:
        self.asked["record"] += 1
        return self.records.get(key)

    def damaged(self, key: str) -> bool:
        return key in self.damage

    def refused(self, key: str) -> str:
        return self.refusals.get(key, "")

    def others(self, key: str) -> list[StepRecord]:
        self.asked["others"] += 1
        kept = [record for name, record in self.records.items() if name.startswith(f"{key}.")]
        return sorted(kept, key=lambda record: record.created, reverse=True)

    def latest(self, step: str) -> StepRecord | None:
        self.asked["latest"] += 1
        mine = [record for record in self.records.values() if record.step == step]
        return max(mine, key=lambda record: record.created, default=None)

    def intact(self, artifact: Artifact) -> str:
        self.asked["intact"] += 1
        return self.damage.get(artifact.digest, "ok")

    def digest(self, path: Path) -> str:
        self.asked["digest"] += 1
        content = self.files.get(path.as_posix(), FileNotFoundError(2, "No such file or directory", str(path)))
        if isinstance(content, str):
            return artifact(content).digest
        raise content

    def put(self, planned: PlannedStep, outputs: Mapping[str, Artifact]) -> None:
        self.clock += 1
        assert planned.key is not None
        self.records[planned.key] = StepRecord(
            key=planned.key,
            step=planned.name,
            notebook="book.ipynb",
            parts=planned.parts,
            outputs=outputs,
            run=f"run{self.clock}",
            created=f"2026-01-01T00:00:{self.clock:06d}Z",
            seconds=1.5,
        )


PYTHON = PythonEnvironment.fixed("3.11", {"pandas": "2.2.0", "sklearn": "1.9.0"})


@dataclass
class PlanSimulation:
    """Plan and run without kernels: an output's content follows from the step's key, unless `results` sets it."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    results: dict[str, str] = field(default_factory=dict)
    environment: PythonEnvironment = PYTHON

    def planner(self, pipeline: Pipeline, forced: str = "", **values: Any) -> PipelinePlanner:
        defaults = {parameter.name: parameter.default for parameter in pipeline.parameters}
        return PipelinePlanner(
            pipeline, defaults | values, view=self.store, environment=self.environment, forced=forced.split()
        )

    def plan(
        self, pipeline: Pipeline, *, to: str = "", start: str = "", only: str = "", forced: str = "", **values: Any
    ) -> Plan:
        planner = self.planner(pipeline, forced, **values)
        return planner.plan(to=to.split(), start=start.split(), only=only.split())

    def run(self, pipeline: Pipeline, **selection: Any) -> dict[str, PlannedStep]:
        """Run as the loop does: decide on each step again when everything before it is there."""
        planned = self.plan(pipeline, **selection)
        available = {each.name: each.outputs for each in planned if each.decision == "skip"}
        decided: dict[str, PlannedStep] = {}
        for each in planned:
            if each.decision in ("skip", "blocked"):
                continue
            now = decided[each.name] = planned.planner.decide(each.name, available)
            if now.decision == "run":
                available[each.name] = self._compute(pipeline[each.name], now)
                self.store.put(now, available[each.name])
            elif now.decision == "reuse":
                available[each.name] = now.outputs
        return decided

    def _compute(self, step: Step, now: PlannedStep) -> dict[str, Artifact]:
        made = {each.name: f"{step.name}.{each.name}" for each in step.outputs}
        return {name: artifact(self.results.get(full, f"{full} {now.key}")) for name, full in made.items()}


def decisions(steps: Any) -> dict[str, str]:
    each = steps.values() if isinstance(steps, Mapping) else steps
    return {decided.name: decided.decision for decided in each}


def edited(pipeline: Pipeline, name: str, **changes: Any) -> Pipeline:
    """Return a pipeline with one step changed."""
    return replace(
        pipeline, steps=tuple(replace(each, **changes) if each.name == name else each for each in pipeline.steps)
    )


def with_code(pipeline: Pipeline, name: str, *code: str) -> Pipeline:
    return edited(pipeline, name, cells=step(name, "", "", *code).cells)


TREES = Parameter(name="trees", kind="int", default=100)
DEPTH = Parameter(name="depth", kind="int", default=3)
