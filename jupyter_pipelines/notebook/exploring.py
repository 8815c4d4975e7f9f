"""Exploration between two steps that changes what passes between them: the notebook sees it, the pipeline does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.drafting import fault
from jupyter_pipelines.notebook.inferring import Interface
from jupyter_pipelines.notebook.shared import Computed, Entry, Index
from jupyter_pipelines.pipeline.data import Upstream


def exploration_faults(faces: Mapping[str, Interface], index: Index) -> Iterator[Fault]:
    """Yield a warning for every exploratory line that binds or changes an input on its way to a step."""
    told: set[tuple[str, int, int]] = set()
    for face in faces.values():
        for one in face.inputs.values():
            if not isinstance(one.source, Upstream) or one.source.step not in faces:
                continue
            name = one.source.output
            between = (faces[one.source.step].draft.last + 1, 0), (face.draft.first, 0)
            found = next(iter(index.bound_between(name, *between)), None) or index.changed_between(name, *between)
            if found is not None and (name, *found.position) not in told:
                told.add((name, *found.position))
                yield _unseen(face, one.source, found)


def _unseen(face: Interface, source: Upstream, found: Entry) -> Fault:
    name = source.output
    text = found.text if isinstance(found, Computed) else found.code.source.partition("\n")[0]
    message = f"cell {found.cell} changes `{name}` on its way from step `{source.step}` to step `{face.draft.name}`"
    help_text = f"begin cell {found.cell} with `%%step NAME -i {name} -o {name}`, or let it work under another name"
    notes = (
        f"cell {found.cell}, line {found.line}: {text[:80]}",
        "an exploratory cell is no part of the pipeline: steps get what the step before made",
    )
    place = face.draft.headers[0].place
    return fault(face.draft, "JP218", message, help_text, place, severity="warning", notes=notes)
