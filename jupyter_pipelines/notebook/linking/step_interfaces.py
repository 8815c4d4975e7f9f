"""Interface of each step: its inputs, outputs and parameters, as declared or inferred from code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from jupyter_pipelines.notebook.code.project_modules import ImportClosure, ProjectModules
from jupyter_pipelines.notebook.headers.split import IOSpec
from jupyter_pipelines.notebook.headers.units import is_step_name
from jupyter_pipelines.notebook.linking.dependencies import LinkContext, StepDependencies, resolve_dependencies
from jupyter_pipelines.notebook.linking.producers import NameProducer, ProducerIndex
from jupyter_pipelines.notebook.linking.registrations import registrations
from jupyter_pipelines.notebook.linking.shared_code import SharedCodeIndex
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries
from jupyter_pipelines.pipeline.artifacts import (
    PATH_FORMATS,
    FileSource,
    Input,
    Output,
    OutputKind,
    StepOutputRef,
    UrlSource,
)
from jupyter_pipelines.pipeline.identifiers import normal_name
from jupyter_pipelines.pipeline.url_inputs import is_url

_FILE_EXTENSIONS = frozenset(
    "7z arrow avro bin bmp bz2 cfg csv dat db db3 dta duckdb feather fits geojson gif gpkg gz h5 hdf hdf5 html ini "
    "ipynb jpeg jpg joblib json jsonl log md mat mp3 mp4 nc ndjson npy npz orc parquet pb pdf pickle pkl png pq pt pth "
    "py rda rds rst sas7bdat sav shp sql sqlite sqlite3 svg tar tex tgz tif tiff toml tsv txt wav xls xlsx xml yaml "
    "yml zip zst".split()
)

MissingReason = Literal["no-producer", "step", "output", "itself"]


class MissingInput(NamedTuple):
    """A declared input that is not found: no step produces the name, or the named step or output does not exist."""

    item: IOSpec
    reason: MissingReason


@dataclass(slots=True, eq=False)
class StepInterface:
    """Inputs, outputs, parameters and dependencies of a step.

    Parameters
    ----------
    draft : StepDraft
        The step.
    inputs : dict of str to Input
        By name.
    outputs : dict of str to Output
        By name.
    parameters : tuple of str
        Names.
    reach : StepDependencies
        What it depends on in the notebook.
    reached : ImportClosure
        The modules and packages that it imports, transitively.
    lost : list of MissingInput
        Declared inputs that are not found.
    """

    draft: StepDraft
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    reach: StepDependencies = field(default_factory=StepDependencies)
    reached: ImportClosure = field(default_factory=lambda: ImportClosure((), (), ()))
    lost: list[MissingInput] = field(default_factory=list)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What cannot be determined about the step: a list of sentences."""
        return tuple(dict.fromkeys([*self.reach.unknown, *self.reached.unknown]))


def infer_interfaces(
    drafts: Sequence[StepDraft],
    index: SharedCodeIndex,
    parameters: frozenset[str],
    *,
    modules: ProjectModules,
    folder: Path,
    recorded_queries: RecordedQueries,
) -> tuple[Mapping[str, StepInterface], ProducerIndex]:
    """Return the interfaces of all steps by name, and the index of the steps that produce names.

    Parameters
    ----------
    drafts : sequence of StepDraft
        In notebook order.
    index : SharedCodeIndex
        The shared code.
    parameters : frozenset of str
        Names of the declared parameters.
    modules : ProjectModules
        The project's own modules.
    folder : Path
        The notebook's folder.
    recorded_queries : RecordedQueries
        Looks at the files.
    """
    producers = ProducerIndex(drafts, index)
    inference = _InterfaceInference(
        drafts,
        LinkContext(index, producers, parameters, modules, registrations(index, modules)),
        modules,
        folder,
        recorded_queries,
    )
    inference.run()
    return inference.faces, producers


class _InterfaceInference:
    """Infers the interfaces of all steps of a notebook."""

    def __init__(
        self,
        drafts: Sequence[StepDraft],
        context: LinkContext,
        modules: ProjectModules,
        folder: Path,
        recorded_queries: RecordedQueries,
    ) -> None:
        self.faces = {draft.name: StepInterface(draft) for draft in drafts}
        self.around = context
        self.makers = context.makers
        self.modules = modules
        self.folder = folder
        self.witness = recorded_queries

    def run(self) -> None:
        # Three passes: an input may be any declared output, and taking an input may add an output to an earlier step.
        for interface in self.faces.values():
            for item in interface.draft.items("outputs") or ():
                interface.outputs[item.name] = _declared_output(item)
        for interface in self.faces.values():
            interface.reach = resolve_dependencies(interface.draft, self.around)
            interface.reached = self._reached(interface.reach)
            self._take(interface)
        for interface in self.faces.values():
            self._complete_outputs(interface)
            interface.parameters = _parameters(interface, self.around.parameters)

    def _reached(self, reach: StepDependencies) -> ImportClosure:
        """Return the modules and packages that a step reaches, and the files that its shared code runs."""
        closure = self.modules.reach(reach.imports)
        scripts = [definition.module for definition in reach.definitions if definition.module is not None]
        return closure._replace(modules=tuple(dict.fromkeys((*closure.modules, *scripts)))) if scripts else closure

    # Inputs

    def _take(self, interface: StepInterface) -> None:
        optional = {item.name for item in interface.draft.optional}
        for item in interface.draft.items("inputs") or ():
            source = self._source(item, interface) if item.name.isidentifier() else None
            if source is not None:
                is_optional = item.name in optional
                interface.inputs[item.name] = Input(
                    name=item.name, source=source, optional=is_optional, place=item.place
                )
        for name, (producer, _reference) in interface.reach.taken.items():
            source = self._produced_by(producer.draft, name)
            interface.inputs[name] = Input(name=name, source=source, optional=name in optional)

    def _source(self, item: IOSpec, interface: StepInterface) -> StepOutputRef | FileSource | UrlSource | None:
        if item.locator is None:
            return self._by_name(item, interface)
        if is_url(item.locator):
            return UrlSource(url=item.locator)
        step, _, output = normal_name(item.locator).rpartition(".")
        if not is_step_name(step) or not output.isidentifier():
            return FileSource(path=item.locator)
        return self._by_locator(item, item.locator, step, output, interface)

    def _by_name(self, item: IOSpec, interface: StepInterface) -> StepOutputRef | None:
        draft, cell = interface.draft, item.place.cell
        producer = self.makers.producer(item.name, draft, cell) or self.makers.later_producer(item.name, draft, cell)
        if producer is None:
            interface.lost.append(
                MissingInput(item, "itself" if self.makers.makes(draft, item.name) else "no-producer")
            )
            return None
        return self._produced_by(producer.draft, item.name)

    def _by_locator(
        self, item: IOSpec, path: str, step: str, output: str, interface: StepInterface
    ) -> StepOutputRef | FileSource | None:
        other = self.faces.get(step)
        if other is not None and self.makers.makes(other.draft, output):
            return self._produced_by(other.draft, output)
        if self.witness.exists(self.folder / path) or (output.lower() in _FILE_EXTENSIONS and other is None):
            return FileSource(path=path)
        interface.lost.append(MissingInput(item, "step" if other is None else "output"))
        return None

    def _produced_by(self, draft: StepDraft, name: str) -> StepOutputRef:
        self.faces[draft.name].outputs.setdefault(name, Output(name=name))
        return StepOutputRef(step=draft.name, output=name)

    # Outputs and parameters

    def _complete_outputs(self, interface: StepInterface) -> None:
        """Add changed inputs to outputs that are inferred, and order these as the code binds them."""
        draft = interface.draft
        if draft.items("outputs") is not None:
            return
        for name in draft.mutates:
            if name in interface.inputs and isinstance(interface.inputs[name].source, StepOutputRef):
                interface.outputs.setdefault(name, Output(name=name))
        order_of_binding = {name: position for position, name in enumerate(draft.names.binds)}
        interface.outputs = dict(sorted(interface.outputs.items(), key=lambda pair: order_of_binding.get(pair[0], -1)))


def _declared_output(item: IOSpec) -> Output:
    if item.format in PATH_FORMATS:
        kind: OutputKind = "file" if item.format == "file" else "folder"
        return Output(name=item.name, kind=kind, place=item.place)
    return Output(name=item.name, format=item.format, place=item.place)


def _parameters(interface: StepInterface, declared_names: frozenset[str]) -> tuple[str, ...]:
    """Return the parameters that a step declares or uses.

    Parameters that only a ``%%setup`` cell uses are added to the declared parameters: the headers of all steps would
    have to name them otherwise.
    """
    declared = [item.name for item in interface.draft.items("parameters") or () if item.name in declared_names]
    return tuple(dict.fromkeys([*declared, *interface.reach.parameters]))


def rebinding_step(interface: StepInterface, name: str, producers: ProducerIndex) -> NameProducer | None:
    """Return a step between the producer of an input and its user that binds the name again, but not as an output.

    In the live notebook the user would see that value.
    """
    step_input = interface.inputs[name]
    source = step_input.source
    if not isinstance(source, StepOutputRef) or source.output != name:
        return None
    cell = interface.draft.first
    binding, producer = producers.binder(name, interface.draft, cell), producers.producer(name, interface.draft, cell)
    if binding is None or producer is None or producer.draft.name != source.step or binding.draft is producer.draft:
        return None
    return binding if binding.cell > producer.cell else None
