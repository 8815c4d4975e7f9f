"""Interface of each step: its inputs, outputs and parameters, as declared or inferred from code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from jupyter_pipelines.notebook.drafting import PATHS, Draft
from jupyter_pipelines.notebook.headers import Item
from jupyter_pipelines.notebook.makers import Makers, Making
from jupyter_pipelines.notebook.modules import Modules, Reached
from jupyter_pipelines.notebook.reaching import Reach, Surroundings, reach
from jupyter_pipelines.notebook.shared import Index
from jupyter_pipelines.notebook.witness import Witness
from jupyter_pipelines.pipeline.data import FileSource, Input, Output, OutputKind, Upstream

_UPSTREAM = re.compile(r"([A-Za-z_][\w-]*)\.([^\W\d]\w*)")
_ENDINGS = frozenset(
    "7z arrow avro bin bmp bz2 cfg csv dat db db3 dta duckdb feather fits geojson gif gpkg gz h5 hdf hdf5 html ini "
    "ipynb jpeg jpg joblib json jsonl log md mat mp3 mp4 nc ndjson npy npz orc parquet pb pdf pickle pkl png pq pt pth "
    "py rda rds rst sas7bdat sav shp sql sqlite sqlite3 svg tar tex tgz tif tiff toml tsv txt wav xls xlsx xml yaml "
    "yml zip zst".split()
)

Reason = Literal["nobody", "step", "output", "itself"]


class Lost(NamedTuple):
    """A declared input that is not found: no step produces the name, or the named step or output does not exist."""

    item: Item
    reason: Reason


@dataclass(slots=True, eq=False)
class Interface:
    """Inputs, outputs, parameters and dependencies of a step.

    Parameters
    ----------
    draft : Draft
        The step.
    inputs : dict of str to Input
        By name.
    outputs : dict of str to Output
        By name.
    parameters : tuple of str
        Names.
    reach : Reach
        What it reaches in the notebook.
    reached : Reached
        The modules and packages it reaches.
    lost : list of Lost
        Declared inputs that are not found.
    """

    draft: Draft
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    reach: Reach = field(default_factory=Reach)
    reached: Reached = field(default_factory=lambda: Reached((), (), ()))
    lost: list[Lost] = field(default_factory=list)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What cannot be determined about it: a list of sentences."""
        return tuple(dict.fromkeys([*self.reach.unknown, *self.reached.unknown]))


def infer(
    drafts: Sequence[Draft],
    index: Index,
    parameters: frozenset[str],
    *,
    modules: Modules,
    folder: Path,
    witness: Witness,
) -> tuple[Mapping[str, Interface], Makers]:
    """Return the interfaces of all steps by name, and the index of the steps that produce names.

    Parameters
    ----------
    drafts : sequence of Draft
        In notebook order.
    index : Index
        The shared code.
    parameters : frozenset of str
        Names of the declared parameters.
    modules : Modules
        The project's own modules.
    folder : Path
        The notebook's folder.
    witness : Witness
        Looks at the files.
    """
    makers = Makers(drafts, index)
    inference = _Inference(drafts, Surroundings(index, makers, parameters), modules, folder, witness)
    inference.run()
    return inference.faces, makers


class _Inference:
    """The interfaces of all steps of a notebook."""

    def __init__(
        self, drafts: Sequence[Draft], context: Surroundings, modules: Modules, folder: Path, witness: Witness
    ) -> None:
        self.faces = {draft.name: Interface(draft) for draft in drafts}
        self.around = context
        self.makers = context.makers
        self.modules = modules
        self.folder = folder
        self.witness = witness

    def run(self) -> None:
        for interface in self.faces.values():
            for item in interface.draft.items("outputs") or ():
                interface.outputs[item.name] = _declared_output(item)
        for interface in self.faces.values():
            interface.reach = reach(interface.draft, self.around)
            interface.reached = self.modules.reach(interface.reach.imports)
            self._take(interface)
        for interface in self.faces.values():
            self._settle_outputs(interface)
            interface.parameters = _parameters(interface, self.around.parameters)

    # Inputs

    def _take(self, interface: Interface) -> None:
        optional = {item.name for item in interface.draft.optional}
        for item in interface.draft.items("inputs") or ():
            source = self._source(item, interface) if item.name.isidentifier() else None
            if source is not None:
                is_optional = item.name in optional
                interface.inputs[item.name] = Input(
                    name=item.name, source=source, optional=is_optional, place=item.place
                )
        for name, (making, _need) in interface.reach.taken.items():
            source = self._from(making.draft, name)
            interface.inputs[name] = Input(name=name, source=source, optional=name in optional)

    def _source(self, item: Item, interface: Interface) -> Upstream | FileSource | None:
        if item.locator is None:
            return self._by_name(item, interface)
        match = _UPSTREAM.fullmatch(item.locator)
        if match is None:
            return FileSource(path=item.locator)
        return self._by_locator(item, match[1], match[2], interface)

    def _by_name(self, item: Item, interface: Interface) -> Upstream | None:
        draft, cell = interface.draft, item.place.cell
        making = self.makers.maker(item.name, draft, cell) or self.makers.later_maker(item.name, draft, cell)
        if making is None:
            interface.lost.append(Lost(item, "itself" if self.makers.makes(draft, item.name) else "nobody"))
            return None
        return self._from(making.draft, item.name)

    def _by_locator(self, item: Item, step: str, output: str, interface: Interface) -> Upstream | FileSource | None:
        other = self.faces.get(step)
        if other is not None and self.makers.makes(other.draft, output):
            return self._from(other.draft, output)
        path = f"{step}.{output}"
        if self.witness.exists(self.folder / path) or (output.lower() in _ENDINGS and other is None):
            return FileSource(path=path)
        interface.lost.append(Lost(item, "step" if other is None else "output"))
        return None

    def _from(self, maker: Draft, name: str) -> Upstream:
        self.faces[maker.name].outputs.setdefault(name, Output(name=name))
        return Upstream(step=maker.name, output=name)

    # Outputs and parameters

    def _settle_outputs(self, interface: Interface) -> None:
        """Add inputs that the step changes to inferred outputs, and put these in the order of the code."""
        draft = interface.draft
        if draft.items("outputs") is not None:
            return
        for name in draft.mutates:
            if name in interface.inputs and isinstance(interface.inputs[name].source, Upstream):
                interface.outputs.setdefault(name, Output(name=name))
        rank = {name: position for position, name in enumerate(draft.names.binds)}
        interface.outputs = dict(sorted(interface.outputs.items(), key=lambda pair: rank.get(pair[0], -1)))


def _declared_output(item: Item) -> Output:
    if item.format in PATHS:
        kind: OutputKind = "file" if item.format == "file" else "folder"
        return Output(name=item.name, kind=kind, place=item.place)
    return Output(name=item.name, format=item.format, place=item.place)


def _parameters(interface: Interface, known: frozenset[str]) -> tuple[str, ...]:
    """Return the parameters that a step declares or uses.

    Parameters that only a ``%%setup`` cell uses are added to the declared parameters: the headers of all steps would
    have to name them otherwise.
    """
    declared = [item.name for item in interface.draft.items("parameters") or () if item.name in known]
    return tuple(dict.fromkeys([*declared, *interface.reach.parameters]))


def rebound_by(interface: Interface, name: str, makers: Makers) -> Making | None:
    """Return a step between the producer of an input and its user that binds the name again, but not as an output.

    In the live notebook the user would see that value.
    """
    step_input = interface.inputs[name]
    source = step_input.source
    if not isinstance(source, Upstream) or source.output != name:
        return None
    cell = interface.draft.first
    binding, making = makers.binder(name, interface.draft, cell), makers.maker(name, interface.draft, cell)
    if binding is None or making is None or making.draft.name != source.step or binding.draft is making.draft:
        return None
    return binding if binding.cell > making.cell else None
