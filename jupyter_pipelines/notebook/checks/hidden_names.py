"""Warnings about code that may read or bind names that it does not show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.code.ipython_syntax import RUNS_PROGRAM
from jupyter_pipelines.notebook.linking.dependencies import BINDS_UNKNOWN_NAMES
from jupyter_pipelines.notebook.linking.step_drafts import for_all_steps, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.step import Section

_DECLARED: tuple[Section, ...] = ("inputs", "outputs")
_MAX_NOTES = 6
_SHOWN = 5
_STAR = re.compile(rf"`from (\S+) import \*` {re.escape(BINDS_UNKNOWN_NAMES)}")


def hidden_name_faults(interfaces: Iterable[StepInterface]) -> Iterator[Diagnostic]:
    """Yield a warning for each piece of such code; one for all steps that share it."""
    steps_by_cause: dict[tuple[str, ...], list[StepInterface]] = {}
    for interface in interfaces:
        if _hides_names(interface) and interface.draft.cached:
            steps_by_cause.setdefault(interface.unknown, []).append(interface)
    for sentences, steps in steps_by_cause.items():
        draft = steps[0].draft
        message = f"not all code of step `{draft.name}` can be read; it is reused by what it is seen to do"
        fault = step_diagnostic(
            draft,
            "JP214",
            message,
            _suggestion(sentences, steps),
            None,
            notes=sentences[:_MAX_NOTES],
            severity="warning",
        )
        yield for_all_steps(fault, (interface.draft.name for interface in steps))


def _hides_names(interface: StepInterface) -> bool:
    """Return whether code of a step may read or bind names that it does not show; programs that it starts cannot."""
    return not all(sentence.endswith(RUNS_PROGRAM) for sentence in interface.unknown)


def _suggestion(sentences: tuple[str, ...], steps: list[StepInterface]) -> str:
    """Return what makes the code readable, and what to declare as long as it is not, unless it is declared."""
    modules = list(dict.fromkeys(match[1] for sentence in sentences for match in _STAR.finditer(sentence)))
    names = sorted({name for step in steps for name in step.reach.hidden})
    ways = []
    if modules:
        module = modules[0] if len(modules) == 1 else "MODULE"
        listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        ways.append(f"import what you use by name: `from {module} import {listed or 'NAME'}`")
    if not all(_STAR.search(sentence) for sentence in sentences):
        ways.append("write it so that it can be read")
    lacks_inputs, lacks_outputs = (any(step.draft.items(section) is None for step in steps) for section in _DECLARED)
    if lacks_inputs and lacks_outputs:
        ways.append("declare with `-i` and `-o` what it takes and makes")
    elif lacks_inputs or lacks_outputs:
        ways.append("declare with `-i` what it takes" if lacks_inputs else "declare with `-o` what it makes")
    return ", or ".join(ways)
