"""Interfaces: what each step takes and makes, as declared or as its code and the other steps tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jupyter_pipelines.notebook.drafting import PATHS, Draft
from jupyter_pipelines.notebook.flow import BUILTINS, At
from jupyter_pipelines.notebook.headers import Item
from jupyter_pipelines.notebook.modules import Finder, Reached, imports_in
from jupyter_pipelines.notebook.shared import Closure, Computed, Definition, Index, close, reached_imports
from jupyter_pipelines.pipeline.data import FileSource, Input, Output, Upstream

_UPSTREAM = re.compile(r"([A-Za-z_][\w-]*)\.([^\W\d]\w*)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Want:
    """A name that a step needs and does not get from shared code.

    Parameters
    ----------
    name : str
        The name.
    at : At or None
        Where its own code reads it; None when shared code does.
    by : str
        The shared code that needs it; empty for the step itself.
    """

    name: str
    at: At | None
    by: str


@dataclass(slots=True, eq=False)
class Interface:
    """What a step takes, makes and reaches.

    Parameters
    ----------
    draft : Draft
        The step.
    inputs : dict of str to Input
        By name; inferred ones behind the declared.
    outputs : dict of str to Output
        By name.
    parameters : dict of str to None
        Names, in order.
    closure : Closure
        The shared code it reaches.
    reached : Reached
        The modules and packages it reaches.
    wants : list of Want
        Names that have to come from a step, a parameter, or nowhere.
    lost : list of (Item, str)
        Declared inputs that nobody makes, with the reason: ``name``, ``step``, ``output``.
    changed : dict of str to At
        Inputs that its code certainly changes in place.
    """

    draft: Draft
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    parameters: dict[str, None] = field(default_factory=dict)
    closure: Closure = field(default_factory=Closure)
    reached: Reached = field(default_factory=Reached)
    wants: list[Want] = field(default_factory=list)
    lost: list[tuple[Item, str]] = field(default_factory=list)
    changed: dict[str, At] = field(default_factory=dict)

    @property
    def stars(self) -> tuple[ast.ImportFrom, ...]:
        """Star imports that it runs."""
        return (*self.draft.flow.stars, *(star for one in self.closure.definitions for star in one.stars))


class Inference:
    """The interfaces of all steps of a notebook.

    Parameters
    ----------
    drafts : sequence of Draft
        In notebook order.
    parameters : frozenset of str
        Declared parameters.
    index : Index
        The shared code.
    finder : Finder
        The project's own modules.
    """

    def __init__(self, drafts: Sequence[Draft], parameters: frozenset[str], index: Index, finder: Finder) -> None:
        self.drafts = drafts
        self.parameters = parameters
        self.index = index
        self.finder = finder
        self.faces = {draft.name: Interface(draft) for draft in drafts}
        self._makers = self._possible_makers()

    def run(self) -> Mapping[str, Interface]:
        """Infer everything, and return the interfaces by name of the step."""
        for face in self.faces.values():
            self._declare_outputs(face)
        for face in self.faces.values():
            self._close(face)
            self._declare_inputs(face)
        for face in self.faces.values():
            self._take(face)
        for face in self.faces.values():
            self._settle(face)
        return self.faces

    # who makes what

    def _possible_makers(self) -> dict[str, list[Draft]]:
        makers: dict[str, list[Draft]] = {}
        for draft in self.drafts:
            for name in self._may_make(draft):
                makers.setdefault(name, []).append(draft)
        return makers

    def _may_make(self, draft: Draft) -> Iterator[str]:
        declared = draft.items("outputs")
        if declared is not None:
            yield from dict.fromkeys(item.name for item in declared)
            return
        flow = draft.flow
        made = [name for name in flow.binds if name not in flow.modules and name not in flow.deletes]
        changed = draft.changes(name for name in flow.needs if name not in BUILTINS)
        yield from dict.fromkeys([*(name for name in made if name not in flow.definitions), *changed])

    def maker(self, name: str, draft: Draft) -> Draft | None:
        """Return the nearest step before `draft` that makes `name`."""
        makers = [one for one in self._makers.get(name, ()) if one.first < draft.first]
        return makers[-1] if makers else None

    def later_maker(self, name: str, draft: Draft) -> Draft | None:
        """Return the first step after `draft` that declares `name` as an output."""
        makers = [one for one in self._makers.get(name, ()) if one.first > draft.first and one.items("outputs")]
        return makers[0] if makers else None

    # one step

    def _declare_outputs(self, face: Interface) -> None:
        for item in face.draft.items("outputs") or ():
            kind = item.format if item.format in PATHS else "value"
            format_ = None if kind != "value" else item.format
            face.outputs[item.name] = Output(name=item.name, kind=kind, format=format_, place=item.place)  # type: ignore[arg-type]

    def _declare_inputs(self, face: Interface) -> None:
        optional = {item.name for header in face.draft.headers for item in header.optional}
        for item in face.draft.items("inputs") or ():
            source = self._source(item, face)
            if source is None:
                continue
            face.inputs[item.name] = Input(
                name=item.name, source=source, optional=item.name in optional, place=item.place
            )

    def _source(self, item: Item, face: Interface) -> Upstream | FileSource | None:
        if item.locator is None:
            maker = self.maker(item.name, face.draft) or self.later_maker(item.name, face.draft)
            if maker is None:
                face.lost.append((item, "name"))
                return None
            return self._from(maker, item.name)
        match = _UPSTREAM.fullmatch(item.locator)
        if match and match[1] in self.faces:
            return self._named(item, match[1], match[2], face)
        if match and not (self.finder.folders[0] / item.locator).exists() and not _has_suffix(match[2]):
            face.lost.append((item, "step"))
            return None
        return FileSource(path=item.locator)

    def _named(self, item: Item, step: str, output: str, face: Interface) -> Upstream | None:
        maker = self.faces[step].draft
        if maker not in self._makers.get(output, ()):
            face.lost.append((item, "output"))
            return None
        return self._from(maker, output)

    def _from(self, maker: Draft, name: str) -> Upstream:
        self.faces[maker.name].outputs.setdefault(name, Output(name=name))
        return Upstream(step=maker.name, output=name)

    def _close(self, face: Interface) -> None:
        draft = face.draft
        declared = {item.name for item in draft.items("inputs") or ()}
        paths = {name for name, output in face.outputs.items() if output.kind != "value"}
        needs = {name: at for name, at in draft.flow.needs.items() if name not in declared | paths}
        made = {name for name in (*needs, *self._makers) if self._is_made(name, draft)} | self.parameters | declared
        face.closure = close(self.index, needs, draft.first, made)
        face.wants = [
            Want(name=name, at=needs.get(name) if not by else None, by=by)
            for name, by in face.closure.open.items()
            if name not in declared | paths
        ]
        imports = [one for code in draft.codes if code.tree for one in imports_in(code.tree)]
        face.reached = self.finder.reach([*imports, *reached_imports(face.closure.definitions)])

    def _is_made(self, name: str, draft: Draft) -> bool:
        maker, found = self.maker(name, draft), self.index.find(name, draft.first)
        if maker is None:
            return False
        return not (isinstance(found, Definition) and maker.first < found.position[0] < draft.first)

    def _take(self, face: Interface) -> None:
        """Take what is wanted from parameters and, when inputs are not declared, from the steps before."""
        inferred = face.draft.items("inputs") is None
        left = []
        for want in face.wants:
            maker = self.maker(want.name, face.draft) if self._is_made(want.name, face.draft) else None
            if want.name in self.parameters:
                face.parameters.setdefault(want.name)
            elif maker is not None and inferred:
                face.inputs.setdefault(want.name, Input(name=want.name, source=self._from(maker, want.name)))
            else:
                left.append(want)
        face.wants = left

    def _settle(self, face: Interface) -> None:
        draft = face.draft
        own = [name for name, one in face.inputs.items() if isinstance(one.source, Upstream)]
        face.changed = draft.changes(own)
        if draft.items("outputs") is None:
            for name in face.changed:
                face.outputs.setdefault(name, Output(name=name))
            order = {name: rank for rank, name in enumerate(draft.flow.binds)}
            ranked = sorted(face.outputs, key=lambda name: order.get(name, -1))
            face.outputs = {name: face.outputs[name] for name in ranked}
        declared = draft.items("parameters")
        if declared is not None:
            face.parameters = dict.fromkeys([*(item.name for item in declared), *face.parameters])

    def computed(self, face: Interface, name: str) -> Computed | None:
        """Return the exploratory line that computes `name` for a step."""
        return face.closure.computed.get(name)


def _has_suffix(word: str) -> bool:
    """Whether the part behind the dot reads like the ending of a file."""
    return word.lower() in _SUFFIXES


_SUFFIXES = frozenset(
    "csv tsv txt json jsonl parquet feather arrow xlsx xls h5 hdf5 npy npz pkl pickle joblib zip gz bz2 xz tar png jpg "
    "jpeg gif svg pdf html xml yaml yml toml md log dat db sqlite geojson shp nc tif tiff wav mp3 mp4 bin ipynb "
    "py".split()
)
