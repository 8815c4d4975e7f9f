"""Outputs that differ between runs of a step with equal inputs: what clock and chance decide.

A step is suspected by its code or by what it drew. Only what its outputs were in two runs decides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping

from jupyter_pipelines.execution.runs.result import Run, StepRun
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.converting.conversion_types import ConvertedStep
from jupyter_pipelines.notebook.converting.converted_interfaces import GENERATORS
from jupyter_pipelines.notebook.converting.observation import CellTrace
from jupyter_pipelines.pipeline.step import Step

# Names alone, whatever they are imported from: a suspicion costs one run of the step, and proves nothing.
_CLOCK = re.compile(
    r"\b(now|utcnow|today|localtime|gmtime|asctime|ctime|default_timer)\b"
    r"|\b(time|perf_counter|monotonic|process_time|thread_time|clock_gettime)_ns\b"
    r"|\b(perf_counter|monotonic|process_time|thread_time|clock_gettime)\b"
    r"|\btime\.(time|strftime)\b|\btime\(\)|current_(time|date)|\bgetdate\(",
    re.IGNORECASE,
)
_CHANCE = re.compile(
    r"\b(uuid1|uuid4|urandom|getrandbits|SystemRandom|token_(hex|bytes|urlsafe)|randbelow)\b"
    r"|\b(default_rng|RandomState|Random|PCG64|SeedSequence)\((None)?\)|\.(sample|shuffle)\("
)
_SEED = re.compile(r"\b(\w*_)?(seed|set_state|setstate|seed_everything|set_seed)\((?!(\w+=)?None\)|\))")
_OWN_GENERATORS = frozenset({"torch", "tensorflow", "keras", "cupy"})


class OutputHistory:
    """The outputs of steps in all runs of the pipeline, by the key of the step.

    Two runs with one key had the same code and inputs. Only the outputs of the step itself can make them differ.
    """

    def __init__(self) -> None:
        self._outputs: dict[str, list[dict[str, str]]] = {}

    def add(self, run: Run | None) -> None:
        """Add the outputs of the steps that a run has computed."""
        for step in run.steps.values() if run else ():
            if step.state == "succeeded" and step.key:
                digests = {name: artifact.digest for name, artifact in step.artifacts.items()}
                self._outputs.setdefault(step.key, []).append(digests)

    def is_known(self, step: StepRun) -> bool:
        """Return whether a step was computed at least twice with these inputs."""
        return len(self._outputs.get(step.key or "", ())) > 1

    def wavering(self, step: StepRun) -> list[str]:
        """Return the outputs of a step that were not the same each time."""
        first, *others = self._outputs.get(step.key or "", [{}])
        return sorted(name for name in first if any(other.get(name) != first[name] for other in others))


def suspicion(step: Step, converted: ConvertedStep, seen: Mapping[int, CellTrace]) -> str:
    """Return why the outputs of a step may waver; empty if nothing shows that they can.

    Parameters
    ----------
    step : Step
        The step, with the shared code and the modules that it reaches.
    converted : ConvertedStep
        The original cells that it is made of.
    seen : Mapping of int to CellTrace
        What the cells of the original did.
    """
    code = "\n".join(_texts(step))
    drawn = {name for cell in converted.cells if cell in seen for name in seen[cell].drew}
    causes = ["reads the clock"] if _CLOCK.search(code) else []
    causes += ["draws random numbers without a seed"] if _draws(step, code, drawn) else []
    return " and ".join(causes)


def _draws(step: Step, code: str, drawn: Collection[str]) -> bool:
    """Return whether a step may draw random numbers that no seed decides."""
    if _CHANCE.search(code):
        return True
    # A state that an earlier step hands on decides what is drawn here.
    given = {item.name for item in step.inputs}
    unseeded = {name for name in drawn if GENERATORS.get(name) not in given}
    return bool(unseeded or _OWN_GENERATORS & set(step.packages)) and not _SEED.search(code)


def _texts(step: Step) -> Iterator[str]:
    """Yield the code that a step reaches, without comments."""
    cells, shared = [cell.body for cell in step.cells], [piece.source for piece in step.shared]
    for source in (*cells, *shared, *(module.source for module in step.modules)):
        tree = parse_code(source).tree
        yield source if tree is None else ast.unparse(tree)
