"""Semantic checks of the steps of a notebook: every fault at once, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Diagnostic, SourceLocation, closest_name
from jupyter_pipelines.notebook.checks.exploration_checks import exploration_faults
from jupyter_pipelines.notebook.checks.foreach_checks import foreach_faults
from jupyter_pipelines.notebook.checks.misspelt_names import (
    input_meant,
    is_misspelt_output,
    unassigned_outputs,
    unresolved_names_like,
)
from jupyter_pipelines.notebook.checks.order_checks import order_faults
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.unstorable_values import unstorable_class
from jupyter_pipelines.notebook.headers.lexer import header_word
from jupyter_pipelines.notebook.headers.split import IOSpec
from jupyter_pipelines.notebook.linking.producers import NameProducer, ProducerIndex
from jupyter_pipelines.notebook.linking.shared_code import ExploratoryName, SharedCodeIndex, SharedDefinition
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface, rebinding_step
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, FileSource, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.identifiers import normal_name
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.secrets import looks_like_secret
from jupyter_pipelines.pipeline.step import Section
from jupyter_pipelines.pipeline.url_inputs import hide_credentials, unusable_url
from jupyter_pipelines.storage.serializers.unstorable_kinds import advice_for

_SHOWN = 8
# Only at the end of a name: `token_count` is no secret.


class StepChecker:
    """Checks the interfaces of all steps.

    Parameters
    ----------
    interfaces : Mapping of str to StepInterface
        All steps, in notebook order.
    producers : ProducerIndex
        Which step produces which name.
    index : SharedCodeIndex
        The shared code.
    parameters : sequence of Parameter
        What is declared.
    folder : Path
        What relative paths are relative to.
    recorded_queries : RecordedQueries
        Queries the file system and the installed plugins.
    """

    def __init__(
        self,
        interfaces: Mapping[str, StepInterface],
        producers: ProducerIndex,
        index: SharedCodeIndex,
        *,
        parameters: Sequence[Parameter],
        folder: Path,
        recorded_queries: RecordedQueries,
    ) -> None:
        self._interfaces = interfaces
        self._makers = producers
        self._index = index
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._folder = folder
        self._witness = recorded_queries
        self._users = _users(interfaces.values())

    def faults(self) -> Iterator[Diagnostic]:
        """Yield every fault, in no particular order."""
        for interface in self._interfaces.values():
            for check in _CHECKS:
                yield from check(self, interface)
        yield from order_faults(self._interfaces)
        yield from exploration_faults(self._interfaces, self._index)
        yield from foreach_faults(self._interfaces, self._parameters)
        yield from self._open_secrets()
        yield from self._unused_parameters()

    # Inputs

    def _lost(self, interface: StepInterface) -> Iterator[Diagnostic]:
        for missing in interface.lost:
            if missing.reason == "no-producer" and self._is_misspelt_elsewhere(interface, missing.item.name):
                continue
            yield _MISSING_INPUT_CHECKS[missing.reason](self, interface, missing.item)

    def _no_producer(self, interface: StepInterface, item: IOSpec) -> Diagnostic:
        draft, name = interface.draft, item.name
        message = f"step `{draft.name}` takes `{name}`, which no step makes"
        return step_diagnostic(
            draft,
            "JP202",
            message,
            self._missing_input_suggestion(interface, name),
            item.place,
            label="no step produces it",
        )

    def _is_misspelt_elsewhere(self, interface: StepInterface, name: str) -> bool:
        """Return whether the step that binds an input declares it with a slip, which is reported there."""
        producer = self._binder(interface, name)
        return producer is not None and is_misspelt_output(self._interfaces[producer.draft.name], name)

    def _binder(self, interface: StepInterface, name: str) -> NameProducer | None:
        draft = interface.draft
        return self._makers.binder(name, draft, draft.first) or self._makers.later_binder(name, draft, draft.first)

    def _missing_input_suggestion(self, interface: StepInterface, name: str) -> str:
        """Return what to do about an input that no step makes."""
        draft = interface.draft
        producer = self._binder(interface, name)
        meant = input_meant(interface, name)
        if meant:
            return f"write `{meant}`, which the code uses"
        if name in self._parameters:
            return f"`{name}` is a parameter: write `-p {name}` instead"
        if producer is not None:
            return f"add `-o {name}` to step `{producer.draft.name}`, which binds it in cell {producer.cell}"
        entry = self._index.find(name, (draft.first, 0))
        if isinstance(entry, SharedDefinition):
            return f"leave it out: `{name}` is shared code (cell {entry.cell}), and a step has what it uses of that"
        if isinstance(entry, ExploratoryName):
            return f"begin cell {entry.cell}, which computes it, with `%%step NAME -o {name}`"
        closest = closest_name(name, self._made_by_others(interface))
        return (
            f"write `{closest}`"
            if closest
            else f"add `-o {name}` to the step that makes it, or name a file: `-i {name}=PATH`"
        )

    def _made_by_others(self, interface: StepInterface) -> set[str]:
        return {name for other in self._interfaces.values() if other is not interface for name in other.outputs}

    def _no_step(self, interface: StepInterface, item: IOSpec) -> Diagnostic:
        step, _, output = normal_name(item.locator or "").partition(".")
        closest = closest_name(step, self._interfaces)
        closest = closest or next(
            (interface.draft.name for interface in self._interfaces.values() if output in interface.outputs), None
        )
        suggestion = (
            f"write `{item.name}={closest}.{output}`"
            if closest
            else f"put the file there, or write `{item.name}=STEP.{output}`"
        )
        message = f"there is no step `{step}`, nor a file `{item.locator}`"
        return step_diagnostic(interface.draft, "JP202", message, suggestion, item.place)

    def _no_output(self, interface: StepInterface, item: IOSpec) -> Diagnostic:
        step, _, output = normal_name(item.locator or "").partition(".")
        other = self._interfaces[step]
        binds = output in other.draft.names.binds
        closest = closest_name(output, other.outputs)
        suggestion = (
            f"add `-o {output}` to `{step}`" if binds or not closest else f"write `{item.name}={step}.{closest}`"
        )
        notes = (f"outputs of `{step}`: {', '.join(list(other.outputs)[:_SHOWN]) or 'none'}",)
        return step_diagnostic(
            interface.draft, "JP202", f"step `{step}` has no output `{output}`", suggestion, item.place, notes=notes
        )

    def _self_dependency(self, interface: StepInterface, item: IOSpec) -> Diagnostic:
        message = f"step `{interface.draft.name}` takes `{item.name}`, which only it makes itself"
        suggestion = f"take `{item.name}` out of `-i`, or make it in a step before"
        return step_diagnostic(interface.draft, "JP209", message, suggestion, item.place, label="waits for itself")

    def _own_output(self, interface: StepInterface) -> Iterator[Diagnostic]:
        for step_input in interface.inputs.values():
            if isinstance(step_input.source, StepOutputRef) and step_input.source.step == interface.draft.name:
                message = f"step `{interface.draft.name}` takes its own output `{step_input.source.output}`"
                suggestion = f"take `{step_input.name}` out of `-i`"
                yield step_diagnostic(
                    interface.draft, "JP209", message, suggestion, step_input.place, label="waits for itself"
                )

    def _files(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield input files that are missing; what a step before writes may be missing still."""
        draft = interface.draft
        # A step that it waits for may write the file; a step with `--always` runs without it.
        if draft.after or any(header.always for header in draft.headers):
            return
        for step_input in interface.inputs.values():
            source = step_input.source
            if isinstance(source, FileSource) and not step_input.optional and not self._is_there(source):
                # An address such as `ftp://ada:…@host/x` is taken for a path.
                shown = hide_credentials(source.path)
                message = f"the input file `{shown}` of step `{draft.name}` is missing"
                suggestion = self._near_file(step_input.name, source.path)
                notes = (f"looked for: {self._folder / shown}",)
                yield step_diagnostic(draft, "JP210", message, suggestion, step_input.place, notes=notes)

    def _urls(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield URLs that no server can be asked for; whether there is something is asked when a plan is made."""
        for step_input in interface.inputs.values():
            if isinstance(step_input.source, UrlSource) and (why := unusable_url(step_input.source.url)):
                message = f"the input `{step_input.name}` of step `{interface.draft.name}` is no usable URL: {why}"
                suggestion = "write it like `raw=https://example.org/data.csv`"
                yield step_diagnostic(interface.draft, "JP224", message, suggestion, step_input.place)

    def _is_there(self, source: FileSource) -> bool:
        return self._witness.exists(self._folder / source.path)

    def _near_file(self, name: str, path: str) -> str:
        producer = next(
            (interface.draft.name for interface in self._interfaces.values() if path in interface.outputs), None
        )
        if producer:
            return f"write `{name}={producer}.{path}` for the output of step `{producer}`"
        if "://" in path:
            return "write an address that begins with `https://` or `http://`, or download it in a step"
        folder = (self._folder / path).parent
        # Not recorded as a query: a reading with errors is never saved.
        closest = (
            closest_name(Path(path).name, [sibling.name for sibling in folder.iterdir()]) if folder.is_dir() else None
        )
        if closest:
            return f"write `{header_word(f'{name}={Path(path).with_name(closest).as_posix()}')}`"
        start = "relative ones start at the notebook's folder"
        return f"put it there, or correct the path ({start}), or write `--optional {name}` if it may be missing"

    def _optional(self, interface: StepInterface) -> Iterator[Diagnostic]:
        for item in interface.draft.optional:
            if item.name not in interface.inputs and all(missing.item.name != item.name for missing in interface.lost):
                closest = closest_name(item.name, interface.inputs)
                message = f"`{item.name}` is not an input of step `{interface.draft.name}`"
                yield step_diagnostic(
                    interface.draft,
                    "JP202",
                    message,
                    f"write `{closest}`" if closest else "take it out of `--optional`",
                    item.place,
                )

    def _unused(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield what is declared but not used; code that reads names by text is not checked.

        A file may be declared only because its content counts: the code may find it in a way that cannot be followed.
        """
        draft = interface.draft
        if draft.dynamic:
            return
        magics = "\n".join(magic for code in draft.codes for magic in code.magics)
        lost_names = {missing.item.name for missing in interface.lost}
        used = interface.reach.used | lost_names | interface.outputs.keys()
        declared = {item.name for section in ("inputs", "parameters") for item in draft.items(section) or ()}
        used |= unresolved_names_like(interface, declared - used)
        sections: tuple[tuple[Section, str], ...] = (("inputs", "input"), ("parameters", "parameter"))
        for section, noun in sections:
            for item in draft.items(section) or ():
                is_declared = _is_value(interface, item.name) if noun == "input" else item.name in self._parameters
                if is_declared and item.name not in used and item.name not in magics:
                    message = f"step `{draft.name}` does not use its {noun} `{item.name}`"
                    suggestion = "take it out: every change of it runs the step again"
                    yield step_diagnostic(
                        draft, "JP207", message, suggestion, item.place, severity="warning", label="not used"
                    )

    # Outputs

    def _outputs(self, interface: StepInterface) -> Iterator[Diagnostic]:
        draft = interface.draft
        if draft.dynamic:
            return
        for item in draft.items("outputs") or ():
            if item.format in PATH_FORMATS:
                yield from self._never_written(interface, item)
            else:
                yield from self._never_assigned(interface, item)

    def _never_written(self, interface: StepInterface, item: IOSpec) -> Iterator[Diagnostic]:
        if item.name not in interface.reach.used and not unresolved_names_like(interface, [item.name]):
            message = f"step `{interface.draft.name}` never writes to its output {item.format} `{item.name}`"
            suggestion = f"write to the path that the step is given in the variable `{item.name}`"
            yield step_diagnostic(interface.draft, "JP203", message, suggestion, item.place, label="never written to")

    def _never_assigned(self, interface: StepInterface, item: IOSpec) -> Iterator[Diagnostic]:
        draft, name = interface.draft, item.name
        bind = draft.names.binds.get(name)
        if bind is not None and bind.kind == "import":
            message = f"the output `{name}` of step `{draft.name}` is a module"
            suggestion = "take it out of `-o`, and move the import into a cell without a header"
            yield step_diagnostic(draft, "JP205", message, suggestion, item.place, label="cannot be stored")
        elif item in unassigned_outputs(interface):
            yield self._missing_output(interface, item)

    def _unstorable(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield outputs that certainly cannot be stored, in the words of a run that fails to store them."""
        draft = interface.draft
        if draft.dynamic or interface.unknown or any(code.magics or code.opaque for code in draft.codes):
            return
        trees = [code.tree for code in draft.codes if code.tree]
        shared = [parse_code(definition.code.source).tree for definition in interface.reach.definitions]
        for item in draft.items("outputs") or ():
            if item.format is not None:
                continue
            name = item.name
            class_name = unstorable_class(name, trees, [tree for tree in shared if tree])
            if class_name:
                message = f"the output `{name}` ({class_name.removeprefix('builtins.')}) cannot be stored"
                suggestion = advice_for(name, class_name)
                yield step_diagnostic(draft, "JP205", message, suggestion, item.place, label="cannot be stored")

    def _is_taken(self, name: str, draft: StepDraft) -> bool:
        """Return whether another step lacks a name that a step binds."""
        others = [interface for interface in self._interfaces.values() if interface.draft is not draft]
        return any(
            any(missing.item.name == name for missing in other.lost)
            or any(problem.kind == "kept" and problem.need.name == name for problem in other.reach.problems)
            for other in others
        )

    def _missing_output(self, interface: StepInterface, item: IOSpec) -> Diagnostic:
        draft = interface.draft
        name, binds = item.name, draft.names.binds
        outcome = "deletes it in the end" if name in draft.names.deletes else "never assigns it"
        closest = closest_name(name, binds)
        suggestion = f"assign `{name}`, or take it out of `-o`"
        if closest and self._is_taken(closest, draft):
            suggestion = f"write `-o {closest}`"
        elif closest:
            suggestion = f"rename `{closest}` to `{name}`, or write `-o {closest}`"
        notes = (f"the step assigns: {', '.join(list(binds)[:_SHOWN]) or 'nothing'}",)
        message = f"step `{draft.name}` declares the output `{name}` and {outcome}"
        return step_diagnostic(draft, "JP203", message, suggestion, item.place, label="never assigned", notes=notes)

    def _targets(self, interface: StepInterface) -> Iterator[Diagnostic]:
        for header in interface.draft.headers:
            name = (header.on or "").partition(":")[0]
            # Built-in names first: looking for plug-ins reads the metadata of all installed packages.
            if name and name not in plugins.BUILT_IN["executors"] and name not in self._witness.plugins("executors"):
                executors = self._witness.plugins("executors")
                closest = closest_name(name, executors)
                suggestion = f"write `--on {closest}`" if closest else f"use one of: {', '.join(executors)}"
                yield step_diagnostic(
                    interface.draft, "JP602", f"there is no executor `{name}`", suggestion, header.place
                )

    def _formats(self, interface: StepInterface) -> Iterator[Diagnostic]:
        sections: tuple[Section, ...] = ("inputs", "outputs")
        for section in sections:
            for item in interface.draft.items(section) or ():
                # As with executors: a built-in name saves looking for plug-ins.
                if item.format is None or item.format in PATH_FORMATS or item.format in plugins.BUILT_IN["serializers"]:
                    continue
                formats = (*self._witness.plugins("serializers"), *PATH_FORMATS)
                if item.format not in formats:
                    closest = closest_name(item.format, formats)
                    suggestion = f"write `{item.name}:{closest}`" if closest else f"use one of: {', '.join(formats)}"
                    yield step_diagnostic(
                        interface.draft, "JP602", f"there is no format `{item.format}`", suggestion, item.place
                    )

    # Changes

    def _changes(self, interface: StepInterface) -> Iterator[Diagnostic]:
        draft = interface.draft
        if draft.items("outputs") is None:
            return
        for name, change in draft.mutates.items():
            step_input = interface.inputs.get(name)
            if step_input is None or not isinstance(step_input.source, StepOutputRef):
                continue
            # A change that is not certain is found when the step runs, which compares its inputs before and after.
            if name in interface.outputs or not change.sure:
                continue
            message = f"step `{draft.name}` changes its input `{name}` without declaring it as an output"
            suggestion = f"write `-o {name}` to pass the change on, or work on a copy: `{name} = {name}.copy()`"
            yield step_diagnostic(
                draft, "JP212", message, suggestion, draft.where(change.spot), label=f"changed by {change.how}"
            )

    def _rebound(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield inputs that a step in between binds again for itself, which the live notebook would use from then."""
        for name, step_input in interface.inputs.items():
            producer = rebinding_step(interface, name, self._makers)
            if producer is None:
                continue
            other = producer.draft
            step = interface.draft.name
            source = step_input.source
            message = f"step `{step}` takes `{source}`, but step `{other.name}` binds `{name}` again in between"
            suggestion = f"add `-o {name}` to `{other.name}` if `{step}` should go on with that, or use another name"
            place = other.where(other.names.binds[name].spot)
            note = f"run cell by cell, `{step}` gets what `{other.name}` binds; as a pipeline, `{source}`"
            yield step_diagnostic(
                interface.draft,
                "JP212",
                message,
                suggestion,
                place,
                severity="warning",
                notes=(note,),
                label="bound again here",
            )

    def _shared_state(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield shared objects that a step changes and a later step uses: the later step gets them unchanged."""
        for name, (description, place, own) in _changed_state(interface).items():
            if name in interface.outputs:
                continue
            for user in self._users.get(name, ()):
                if (
                    user.draft.order > interface.draft.order
                    and name not in user.inputs
                    and _uses_beyond_changes(user, name)
                ):
                    sure = own and name in user.draft.names.reads
                    yield self._lost_change(interface, user, name, description, place, sure=sure)
                    break

    def _lost_change(
        self,
        interface: StepInterface,
        user: StepInterface,
        name: str,
        description: str,
        place: SourceLocation,
        *,
        sure: bool,
    ) -> Diagnostic:
        step, reader = interface.draft.name, user.draft.name
        message = f"step `{step}` changes `{name}` ({description}), and step `{reader}` does not see that"
        suggestion = f"make it an output of `{step}` and an input of `{reader}`: `-o {name}`, `-i {name}`"
        notes = (f"`{name}` is shared code: every step begins with it as it is written there",)
        return step_diagnostic(
            interface.draft, "JP212", message, suggestion, place, severity="error" if sure else "warning", notes=notes,
            label="changed here",
        )  # fmt: skip

    # Parameters

    def _declared_parameters(self, interface: StepInterface) -> Iterator[Diagnostic]:
        draft = interface.draft
        declared = draft.items("parameters")
        for item in declared or ():
            if item.name not in self._parameters and item.name not in draft.axes:
                closest = closest_name(item.name, self._parameters)
                suggestion = f"write `{closest}`" if closest else f"declare it in a `%%params` cell: `{item.name} = …`"
                yield step_diagnostic(draft, "JP501", f"there is no parameter `{item.name}`", suggestion, item.place)
        names = [item.name for item in declared or ()]
        misspelt = {closest_name(name, self._parameters) for name in names if name not in self._parameters}
        for name, reference in interface.reach.parameters.items() if declared is not None else ():
            if (
                name not in misspelt.union(names)
                and reference.sure
                and not (reference.via and reference.via.kind == "setup")
            ):
                through = f" through `{reference.via.code.name}` (cell {reference.via.cell})" if reference.via else ""
                message = f"step `{draft.name}` uses the parameter `{name}`{through} without declaring it"
                place = draft.where(reference.spot) if reference.via is None else draft.place
                yield step_diagnostic(
                    draft, "JP201", message, f"write `-p {' '.join([*names, name])}`", place, label="used here"
                )

    def _assigned_parameters(self, interface: StepInterface) -> Iterator[Diagnostic]:
        draft = interface.draft
        output_places = {item.name: item.place for item in draft.items("outputs") or ()}
        for name in self._parameters:
            bind = draft.names.binds.get(name)
            if bind is None and name not in output_places:
                continue
            place = draft.where(bind.spot) if bind else output_places[name]
            problem = self._assigned(interface, name, is_output=name in output_places)
            if problem is not None:
                message, severity = problem
                suggestion = f"use another name in the step, or take `{name}` out of the parameters"
                yield step_diagnostic(
                    draft, "JP216", message, suggestion, place, severity=severity, label="assigned here"
                )

    def _assigned(self, interface: StepInterface, name: str, *, is_output: bool) -> tuple[str, str] | None:
        """Return what is wrong with a step that assigns a parameter, and how bad it is."""
        draft = interface.draft
        if is_output:
            return f"step `{draft.name}` makes an output `{name}`, which is the name of a parameter", "error"
        reads = name in draft.names.reads
        users = (
            user for user in self._users.get(name, ()) if user.draft.order > draft.order and name in user.parameters
        )
        user = next(users, None)
        if user is not None:
            message = f"step `{draft.name}` assigns the parameter `{name}`"
            message += f"; step `{user.draft.name}` gets the value from outside all the same"
            return message, "warning" if reads else "error"
        if reads:
            return None
        declared = any(item.name == name for item in draft.items("parameters") or ())
        message = f"step `{draft.name}` assigns the parameter `{name}`: the value from outside has no effect"
        return message, "error" if declared else "warning"

    def _open_secrets(self) -> Iterator[Diagnostic]:
        for parameter in self._parameters.values():
            if parameter.kind in ("str", "any") and looks_like_secret(parameter.name):
                yield Diagnostic(
                    code="JP509",
                    severity="warning",
                    message=f"the parameter `{parameter.name}` looks like a secret, and is written down as it is",
                    suggestion=f'declare it as `{parameter.name}: Secret = "env:{parameter.name.upper()}"`',
                    place=parameter.place,
                    notes=("its value stands in notebooks of steps, in records and in reports",),
                )

    def _unused_parameters(self) -> Iterator[Diagnostic]:
        if any(interface.draft.dynamic for interface in self._interfaces.values()) or not self._interfaces:
            return
        used = {name for interface in self._interfaces.values() for name in interface.parameters}
        used |= {axis.source for interface in self._interfaces.values() for axis in interface.draft.axes.values()}
        unused = self._parameters.keys() - used
        for interface in self._interfaces.values():
            used |= unresolved_names_like(interface, unused)
            used |= {closest_name(item.name, unused) or "" for item in interface.draft.items("parameters") or ()}
        for parameter in self._parameters.values():
            if parameter.name not in used:
                yield Diagnostic(
                    code="JP507",
                    severity="warning",
                    message=f"no step uses the parameter `{parameter.name}`",
                    suggestion="take it out, or use it in a step",
                    place=parameter.place,
                )


def _users(interfaces: Iterable[StepInterface]) -> dict[str, list[StepInterface]]:
    users: dict[str, list[StepInterface]] = {}
    for interface in interfaces:
        for name in interface.reach.used | set(interface.parameters):
            users.setdefault(name, []).append(interface)
    return users


def _changed_state(interface: StepInterface) -> dict[str, tuple[str, SourceLocation, bool]]:
    """Return the shared objects that a step changes: how, where, and whether its own code does."""
    draft = interface.draft
    shared = {
        name for definition in interface.reach.definitions for name in definition.binds if definition.kind != "import"
    }
    changed = {
        name: (change.how, draft.where(change.spot), change.sure)
        for name, change in draft.mutates.items()
        if name in shared and name not in interface.inputs
    }
    for definition in interface.reach.definitions:
        for name in _changed_by(definition) & shared:
            changed.setdefault(name, (f"through `{definition.code.name}`, cell {definition.cell}", draft.place, False))
    return changed


def _changed_by(definition: SharedDefinition) -> set[str]:
    """Return the names that the functions of a definition change or bind outside themselves."""
    return {name for later in definition.names.functions.values() for name in (*later.mutates, *later.binds)}


def _uses_beyond_changes(user: StepInterface, name: str) -> bool:
    """Return whether a step uses a shared object by more than the functions that change it, as a cache is used."""
    if name in user.draft.names.reads:
        return True
    readers = [definition for definition in user.reach.definitions if _reads(definition, name)]
    return any(name not in _changed_by(reader) for reader in readers)


def _reads(definition: SharedDefinition, name: str) -> bool:
    names = definition.names
    return name in {*names.reads, *names.later.reads} or any(name in later.reads for later in names.functions.values())


_MISSING_INPUT_CHECKS: Mapping[str, Callable[[StepChecker, StepInterface, IOSpec], Diagnostic]] = {
    "no-producer": StepChecker._no_producer,  # noqa: SLF001 - the tables belong to the class
    "step": StepChecker._no_step,  # noqa: SLF001
    "output": StepChecker._no_output,  # noqa: SLF001
    "itself": StepChecker._self_dependency,  # noqa: SLF001
}
_CHECKS: Sequence[Callable[[StepChecker, StepInterface], Iterator[Diagnostic]]] = (
    StepChecker._lost,  # noqa: SLF001
    StepChecker._own_output,  # noqa: SLF001
    StepChecker._files,  # noqa: SLF001
    StepChecker._optional,  # noqa: SLF001
    StepChecker._unused,  # noqa: SLF001
    StepChecker._outputs,  # noqa: SLF001
    StepChecker._unstorable,  # noqa: SLF001
    StepChecker._targets,  # noqa: SLF001
    StepChecker._urls,  # noqa: SLF001
    StepChecker._formats,  # noqa: SLF001
    StepChecker._changes,  # noqa: SLF001
    StepChecker._rebound,  # noqa: SLF001
    StepChecker._shared_state,  # noqa: SLF001
    StepChecker._declared_parameters,  # noqa: SLF001
    StepChecker._assigned_parameters,  # noqa: SLF001
)


def _is_value(interface: StepInterface, name: str) -> bool:
    """Return whether a step takes a value under a name, not a file."""
    return name in interface.inputs and isinstance(interface.inputs[name].source, StepOutputRef)
