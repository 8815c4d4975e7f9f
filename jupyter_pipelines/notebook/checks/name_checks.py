"""Faults about names that a step needs and that cannot be resolved."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic, SourceLocation, closest_name
from jupyter_pipelines.notebook.checks.misspelt_names import input_meant, is_misspelt_input, is_misspelt_output
from jupyter_pipelines.notebook.code.certain_use import certain_use, certain_use_of_function
from jupyter_pipelines.notebook.code.name_usage import SourceSpan
from jupyter_pipelines.notebook.linking.dependencies import Kind, NameReference, UnresolvedName
from jupyter_pipelines.notebook.linking.producers import ProducerIndex
from jupyter_pipelines.notebook.linking.shared_code import ExploratoryName, SharedCodeIndex, SharedDefinition
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft, for_all_steps, place_in, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.identifiers import NAME_LETTER, normal_name, only_names

_LONGEST = 80
# An extension of IPython may bind any name; these two do not.
_EXTENSION = r"%(?:re)?load_ext[ \t]+(?!(?:autoreload|jupyter_pipelines)\b)"
# Patterns without such a limit take minutes for a long text that is no Python.
_LONGEST_TARGET = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableCode:
    """Code without a step that cannot be read, so that what it binds is not known.

    Parameters
    ----------
    fault : Diagnostic
        What is wrong with it.
    text : str or None
        The code; None if there is none, or if it may bind any name.
    cell : int
        The cell that it belongs to.
    runs_always : bool
        Every step after the cell runs it.
    """

    fault: Diagnostic
    text: str | None
    cell: int
    runs_always: bool = False

    def may_bind(self, name: str) -> bool:
        """Return whether the code seems to bind a name."""
        if self.text is None:
            return True
        text = only_names(normal_name(self.text))
        word = rf"(?<!\.)(?<!{NAME_LETTER}){re.escape(name)}(?!{NAME_LETTER})"
        within = f"{{0,{_LONGEST_TARGET}}}"
        targets = rf"[\w\x80-\U0010ffff \t,.*\[\]()]{within}"
        return any(
            re.search(pattern, text, re.MULTILINE) is not None
            for pattern in (
                rf"\b(?:def|class|as|import|type)[ \t]+{word}",
                rf"^[ \t]*(?:from[ \t].*)?\bimport\b.*{word}",
                rf"\bimport[ \t]*\([^)]{within}?{word}",
                rf"\bfor\b[^:]{within}?{word}[^:]{within}?\bin\b",
                rf"^[\w\x80-\U0010ffff \t,.*\[\]()=]{within}?{word}{targets}(?::[^=\n]*)?=(?!=)",
                rf"{word}[ \t]*:=",
            )
        )


class NameDiagnostics:
    """Turns unresolved names into faults.

    Parameters
    ----------
    interfaces : Mapping of str to StepInterface
        All steps.
    producers : ProducerIndex
        Which step produces which name.
    index : SharedCodeIndex
        The shared code.
    parameters : frozenset of str
        Declared parameters.
    texts : Mapping of int to list of str
        The lines of every cell, by its number.
    faulty : str
        The text of all steps that could not be parsed: what they bind is not known.
    unreadable : sequence of UnreadableCode
        Code without a step that cannot be read.
    """

    def __init__(
        self,
        interfaces: Mapping[str, StepInterface],
        producers: ProducerIndex,
        index: SharedCodeIndex,
        *,
        parameters: frozenset[str],
        texts: Mapping[int, list[str]],
        faulty: str,
        unreadable: Sequence[UnreadableCode] = (),
    ) -> None:
        self._interfaces = interfaces
        self._makers = producers
        self._index = index
        self._parameters = parameters
        self._texts = texts
        self._faulty = faulty
        self._unreadable = unreadable
        self._needed: dict[int, tuple[str, str]] = {}

    def all(self) -> list[Diagnostic]:
        """Return the faults of all steps; a fault of several steps only once, with their names."""
        faults_by_cause: dict[object, tuple[Diagnostic, list[str]]] = {}
        for interface in self._interfaces.values():
            for problem in interface.reach.problems:
                fault = _DIAGNOSTIC_BUILDERS[problem.kind](self, interface, problem)
                if fault is not None:
                    faults_by_cause.setdefault(_cause(problem, fault), (fault, []))[1].append(interface.draft.name)
        return [*(for_all_steps(fault, steps) for fault, steps in faults_by_cause.values()), *self._unreadable_faults()]

    def _unreadable_faults(self) -> Iterator[Diagnostic]:
        """Yield the faults of code that cannot be read: errors where a step needs it, warnings elsewhere."""
        drafts = [interface.draft for interface in self._interfaces.values()]
        for number, code in enumerate(self._unreadable):
            step, name = self._needed.get(number, ("", ""))
            if step:
                note = f"step `{step}` needs `{name}`, which nothing else binds"
                yield replace(code.fault, severity="error", step=step, notes=(*code.fault.notes, note))
            elif code.runs_always and any(draft.first > code.cell for draft in drafts):
                yield replace(code.fault, severity="error")
            else:
                yield replace(code.fault, severity="warning")

    # Where, and through what

    def _where(self, draft: StepDraft, reference: NameReference) -> SourceLocation:
        if reference.via is None:
            return draft.where(reference.spot)
        # Lines of a file are not in the notebook: the line that runs the file stands for them.
        if reference.via.code.file:
            return self._in_cell(reference.via.cell, SourceSpan(0, reference.via.line, 0, 4))
        return self._in_cell(reference.via.cell, reference.spot)

    def _in_cell(self, cell: int, span: SourceSpan) -> SourceLocation:
        return place_in(self._texts.get(cell, []), cell, span)

    def _line(self, computed: ExploratoryName) -> SourceLocation:
        lines = self._texts.get(computed.cell, [])
        text = lines[computed.line - 1] if 0 < computed.line <= len(lines) else computed.text
        column = max(text.find(computed.name), 0)
        return SourceLocation(
            cell=computed.cell, line=computed.line, column=column, length=len(computed.name), text=text[:200]
        )

    def _fault(
        self,
        interface: StepInterface,
        reference: NameReference,
        code: str,
        message: str,
        suggestion: str,
        **fields: Any,
    ) -> Diagnostic:
        place = fields.pop("place", None) or self._where(interface.draft, reference)
        fields.setdefault("label", "used here")
        return step_diagnostic(interface.draft, code, message, suggestion, place, **fields)

    # A method for each kind of problem

    def _undefined(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, draft = problem.need, interface.draft
        # Code that cannot be parsed may bind the name: then its syntax error is reported, and this name is not.
        if not reference.sure or reference.name in self._faulty or self._is_unreadable(reference.name, draft):
            return None
        closest = closest_name(reference.name, [name for name in self._known(interface) if name != reference.name])
        if closest:
            suggestion = f"write `{closest}` if that is meant, or assign `{reference.name}` in the step"
        else:
            suggestion = f"assign `{reference.name}` in the step, or make it an output of a step before it"
        if reference.name in sys.stdlib_module_names:
            other = f"write `{closest}`" if closest else f"assign `{reference.name}` in the step"
            suggestion = f"write `import {reference.name}` if the module is meant, or {other}"
        if reference.via is not None:
            code = _shared_code_label(reference.via)
            message = f"{code}, which step `{draft.name}` uses, needs `{reference.name}`, and nothing binds that"
            if reference.via.code.kind != "setup":
                suggestion = suggestion.replace("in the step", "in a cell without a header")
            # An error keeps the notebook from running, so it must be certain: a function need never be called.
            fails = _certainly_fails(interface, reference.via, reference)
            severity = "error" if fails and not self._may_be_set(reference.name) else "warning"
            return self._fault(interface, reference, "JP201", message, suggestion, severity=severity)
        message = f"step `{draft.name}` uses `{reference.name}`, which is neither an input nor defined"
        return self._fault(interface, reference, "JP201", message, suggestion)

    def _may_be_set(self, name: str) -> bool:
        """Return whether code may bind a name otherwise than by an assignment, or an extension of IPython may."""
        word = re.escape(name)
        # In the text of all cells: `global`, an attribute, a name in quotes (`setattr`) or an extension may set it.
        text = "\n".join(line for lines in self._texts.values() for line in lines)
        pattern = rf"\bglobal\b.*\b{word}\b|\.[ \t]*{word}\b|['\"][^'\"\n]*\b{word}\b|{_EXTENSION}"
        return re.search(pattern, text) is not None

    def _is_unreadable(self, name: str, draft: StepDraft) -> bool:
        """Return whether code that cannot be read seems to bind a name, and record which step needs it."""
        numbers = [number for number, code in enumerate(self._unreadable) if code.may_bind(name)]
        for number in numbers:
            self._needed.setdefault(number, (draft.name, name))
        return bool(numbers)

    def _known(self, interface: StepInterface) -> list[str]:
        own = [*interface.inputs, *interface.draft.names.binds, *interface.outputs]
        return list(dict.fromkeys([*own, *self._makers.known(), *self._parameters, *self._index.known()]))

    def _undeclared(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference = problem.need
        # An input with a slip in its name is reported by itself.
        if problem.making is None or is_misspelt_input(interface, reference.name):
            return None
        message = f"{_uses(interface, reference)}, which is not among its inputs"
        names = _declared_inputs_with(interface, reference.name)
        note = f"`{reference.name}` is an output of step `{problem.making.draft.name}` (cell {problem.making.cell})"
        unused = [name for name in interface.inputs if name not in interface.reach.used]
        closest = closest_name(reference.name, unused)
        suggestion = f"write `-i {names}`" if not closest else f"write `{closest}` if that is meant, or `-i {names}`"
        return self._fault(interface, reference, "JP201", message, suggestion, notes=(note,))

    def _kept(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, producer = problem.need, problem.making
        if producer is None or not reference.sure:
            return None
        other = producer.draft
        # An output with a slip in its name is reported there.
        if is_misspelt_output(self._interfaces[other.name], reference.name):
            return None
        message = f"{_uses(interface, reference)}, which step `{other.name}` binds and keeps for itself"
        suggestion = f"add `-o {reference.name}` to `{other.name}`"
        if interface.draft.items("inputs") is not None:
            suggestion += f" and `-i {reference.name}` to `{interface.draft.name}`"
        suggestion += ", or use another name in one of them"
        place = other.where(other.names.binds[reference.name].spot)
        notes = (f"cell {place.cell}, line {place.line}: {place.text.strip()[:_LONGEST]}",)
        return self._fault(interface, reference, "JP201", message, suggestion, notes=notes)

    def _produced_below(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, producer = problem.need, problem.making
        if producer is None or not reference.sure:
            return None
        other = producer.draft
        message = f"{_uses(interface, reference)}, which step `{other.name}` makes further down"
        names = _declared_inputs_with(interface, reference.name)
        suggestion = (
            f"move `{other.name}` (cell {producer.cell}) above it, or take it from there all the same: `-i {names}`"
        )
        return self._fault(interface, reference, "JP201", message, suggestion)

    def _setup_below(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, entry = problem.need, problem.entry
        if entry is None or not reference.sure:
            return None
        message = f"{_uses(interface, reference)}, which the `%%setup` cell {entry.cell} binds further down"
        suggestion = f"move cell {entry.cell} above it: setup runs in the steps that follow it"
        return self._fault(interface, reference, "JP201", message, suggestion)

    def _computed(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, computed = problem.need, problem.entry
        if not isinstance(computed, ExploratoryName) or (not reference.sure and reference.via is not None):
            return None
        draft, name = interface.draft, reference.name
        place, used = self._line(computed), self._where(draft, reference)
        what = "deletes" if computed.deleted else "computes"
        line = computed.file or f"cell {computed.cell}, line {computed.line}"
        message = f"step `{draft.name}` needs `{name}`{_through(reference)}, which only exploration {what} ({line})"
        note = f"`{name}` is used in cell {used.cell}, line {used.line}: {used.text.strip()[:_LONGEST]}"
        return self._fault(
            interface, reference, "JP208", message, self._exploration_suggestion(computed, draft), place=place,
            label="not part of the pipeline", notes=(note,), severity="error" if reference.sure else "warning",
        )  # fmt: skip

    def _exploration_suggestion(self, computed: ExploratoryName, draft: StepDraft) -> str:
        """Return what to do about an exploratory line: make it a step if it reads outputs of steps, else `%%setup`."""
        name, cell = computed.name, computed.cell
        from_steps = [
            read_name for read_name in computed.reads if self._makers.binder(read_name, draft, cell) is not None
        ]
        if computed.deleted:
            return f"take the `del` away, or bind `{name}` in the step"
        if from_steps:
            return f"put the line into a step: begin cell {cell} with `%%step NAME -o {name}`"
        return (
            f"begin cell {cell} with `%%setup`, or move the line into such a cell: it runs first in every step that "
            f"follows (paths, loggers, styles); if it is work to be stored, make it a step: `%%step NAME -o {name}`"
        )

    def _changed(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, changed = problem.need, problem.entry
        if not isinstance(changed, ExploratoryName):
            return None
        draft, name = interface.draft, reference.name
        line = changed.file or f"cell {changed.cell}, line {changed.line}"
        message = f"step `{draft.name}` needs `{name}`{_through(reference)}, which exploration changes ({line})"
        suggestion = f"write `{name}` whole where it is bound, or begin both cells with `%%setup`"
        note = f"changed by {changed.how}; no step would see that"
        return self._fault(
            interface,
            reference,
            "JP208",
            message,
            suggestion,
            place=self._line(changed),
            label="no step sees this",
            notes=(note,),
        )

    def _early(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, producer = problem.need, problem.making
        if reference.via is None or not reference.sure:
            return None
        step, shared, name = interface.draft.name, reference.via, f"`{reference.name}`"
        source = f"output of step `{producer.draft.name}`" if producer else f"input of step `{step}`"
        if producer and producer.draft is interface.draft:
            source = "own variable of the step"
        if shared.kind == "setup":
            message = f"the `%%setup` cell {shared.cell} uses {name}, an {source}, and runs before inputs are there"
            suggestion = "move the line into a step"
        elif shared.kind == "constant":
            own = shared.code.name
            message = f"step `{step}` needs `{own}`, which cell {shared.cell} computes from {name}, an {source}"
            suggestion = f"begin cell {shared.cell} with `%%step NAME -o {own}`, or move the line into a step"
        else:
            message = (
                f"{_shared_code_label(shared)} uses {name}, an {source}, when it is defined: before inputs are there"
            )
            suggestion = f"hand {name} over as an argument"
        return self._fault(interface, reference, "JP208", message, suggestion)

    def _defined(self, interface: StepInterface, problem: UnresolvedName) -> Diagnostic | None:
        reference, producer = problem.need, problem.making
        if producer is None or not reference.sure:
            return None
        other, name = producer.draft, reference.name
        bind = other.names.binds[name]
        what = {"import": "imports", "function": "defines", "class": "defines"}.get(bind.kind, "binds")
        place = other.where(bind.spot)
        message = f"{_uses(interface, reference)}, which step `{other.name}` {what} for itself"
        noun = "import" if bind.kind == "import" else "definition"
        line = f"cell {place.cell}, line {place.line}"
        suggestion = f"move the {noun} of `{name}` ({line}) into a cell without a header: it is shared code there"
        return self._fault(interface, reference, "JP215", message, suggestion)


def _certainly_fails(interface: StepInterface, via: SharedDefinition, reference: NameReference) -> bool:
    """Return whether a step that uses a piece of shared code certainly evaluates a name that the piece needs."""
    if reference.at_once:
        return reference.name in certain_use(via.code.source).reads
    functions = {name: definition for definition in interface.reach.definitions for name in definition.names.functions}
    calls = [name for cell in interface.draft.cells[:1] for name in certain_use(cell.body).calls]
    called: set[str] = set()
    while calls:
        name = calls.pop()
        definition = functions.get(name)
        if name in called or definition is None or name in interface.draft.names.binds:
            continue
        called.add(name)
        use = certain_use_of_function(definition.code.source, name)
        if definition is via and reference.name in use.reads:
            return True
        calls += use.calls
    return False


def _cause(problem: UnresolvedName, fault: Diagnostic) -> object:
    """Return a key for the cause of a problem: problems with the same remedy have the same key."""
    if problem.kind in ("computed", "changed"):
        return problem.kind, problem.need.name, id(problem.entry), fault.severity
    if problem.kind in ("defined", "kept") and problem.making:
        return problem.kind, problem.need.name, problem.making.draft.name
    return (problem.kind, problem.need.name, id(problem.need.via)) if problem.need.via else fault


def _declared_inputs_with(interface: StepInterface, name: str) -> str:
    """Return the declared inputs of a step as they are written, slips corrected, followed by `name`."""
    items = interface.draft.items("inputs") or ()
    lost = {missing.item.name for missing in interface.lost if missing.reason == "no-producer"}
    meant = {item: input_meant(interface, item) or item for item in lost}
    shown = [f"{item.name}={item.locator}" if item.locator else meant.get(item.name, item.name) for item in items]
    return " ".join([*shown, name])


def _uses(interface: StepInterface, reference: NameReference) -> str:
    return f"step `{interface.draft.name}` uses `{reference.name}`{_through(reference)}"


def _shared_code_label(definition: SharedDefinition) -> str:
    if definition.code.file:
        return f"`{definition.code.name}` (`{definition.code.file}`)"
    return (
        f"`{definition.code.name}` (cell {definition.cell})"
        if definition.kind != "setup"
        else f"the `%%setup` cell {definition.cell}"
    )


def _through(reference: NameReference) -> str:
    return f" through {_shared_code_label(reference.via)}" if reference.via else ""


_DIAGNOSTIC_BUILDERS: Mapping[Kind, Callable[[NameDiagnostics, StepInterface, UnresolvedName], Diagnostic | None]] = {
    "undefined": NameDiagnostics._undefined,  # noqa: SLF001 - the table belongs to the class
    "undeclared": NameDiagnostics._undeclared,  # noqa: SLF001
    "kept": NameDiagnostics._kept,  # noqa: SLF001
    "below": NameDiagnostics._produced_below,  # noqa: SLF001
    "setup-below": NameDiagnostics._setup_below,  # noqa: SLF001
    "computed": NameDiagnostics._computed,  # noqa: SLF001
    "changed": NameDiagnostics._changed,  # noqa: SLF001
    "early": NameDiagnostics._early,  # noqa: SLF001
    "defined": NameDiagnostics._defined,  # noqa: SLF001
}
