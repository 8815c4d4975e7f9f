"""What is wrong with the order of steps: who waits for whom, and who makes what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jupyter_pipelines.errors import Fault, closest
from jupyter_pipelines.notebook.drafting import Draft, fault
from jupyter_pipelines.notebook.inferring import Interface
from jupyter_pipelines.pipeline.data import FileSource, Input, Upstream
from jupyter_pipelines.pipeline.graph import find_cycle

Faces = Mapping[str, Interface]
_SHOWN = 8


def order_faults(faces: Faces) -> Iterator[Fault]:
    """Yield everything that is wrong with the order of steps and the names they make."""
    for face in faces.values():
        yield from _after(faces, face)
    yield from _two_makers(faces)
    yield from _cycle(faces)
    yield from _same_but_for_case(faces)
    yield from _twins(faces)


def _after(faces: Faces, face: Interface) -> Iterator[Fault]:
    draft = face.draft
    for item in draft.after:
        if item.name == draft.name:
            message = f"step `{draft.name}` waits for itself"
            yield fault(draft, "JP209", message, "take it out of `--after`", item.place)
        elif item.name not in faces:
            near = closest(item.name, faces)
            known = ", ".join([name for name in faces if name != draft.name][:_SHOWN])
            suggestion = f"write `{near}`" if near else f"use one of: {known}" if known else "take it out of `--after`"
            yield fault(
                draft,
                "JP211",
                f"`--after` names a step `{item.name}`, which does not exist",
                suggestion,
                item.place,
            )


def _cycle(faces: Faces) -> Iterator[Fault]:
    before = {name: _before(faces, face) for name, face in faces.items()}
    circle = list(find_cycle(before))
    if not circle:
        return
    rank = min(range(len(circle)), key=lambda at: faces[circle[at]].draft.order)
    circle = circle[rank:] + circle[:rank]
    shown = [f"{name} (cell {faces[name].draft.first})" for name in circle]
    notes = [_waits(faces[name], faces[other]) for name, other in zip(circle, [*circle[1:], circle[0]], strict=True)]
    first = faces[circle[0]].draft
    yield fault(
        first, "JP102", f"steps wait for each other: {' -> '.join([*shown, circle[0]])}",
        "move the line that makes what two of them need into a step of its own", first.place, notes=tuple(notes),
    )  # fmt: skip


def _before(faces: Faces, face: Interface) -> list[str]:
    """Return the steps that a step waits for, apart from itself: that is a fault of its own."""
    sources = [one.source.step for one in face.inputs.values() if isinstance(one.source, Upstream)]
    after = [item.name for item in face.draft.after if item.name in faces]
    return [name for name in dict.fromkeys([*sources, *after]) if name != face.draft.name]


def _waits(face: Interface, other: Interface) -> str:
    names = [
        one.source.output
        for one in face.inputs.values()
        if isinstance(one.source, Upstream) and one.source.step == other.draft.name
    ]
    if names:
        return f"`{face.draft.name}` needs {', '.join(f'`{name}`' for name in names)}, made by `{other.draft.name}`"
    return f"`{face.draft.name}` has `--after {other.draft.name}`"


def _two_makers(faces: Faces) -> Iterator[Fault]:
    made: dict[str, Draft] = {}
    for face in faces.values():
        for name, output in face.outputs.items():
            before = made.get(name)
            made[name] = face.draft
            if before is None or _takes(face, name):
                continue
            bind = face.draft.names.binds.get(name)
            place = output.place or (face.draft.where(bind.spot) if bind else None)
            message = f"steps `{before.name}` and `{face.draft.name}` both make `{name}`"
            suggestion = f"rename one of the two, or let `{face.draft.name}` take the other's: `-i {name} -o {name}`"
            notes = (f"`{before.name}` stands in cell {before.first}",)
            yield fault(face.draft, "JP206", message, suggestion, place, notes=notes, label="made again here")


def _same_but_for_case(faces: Faces) -> Iterator[Fault]:
    seen: dict[str, Draft] = {}
    for face in faces.values():
        before = seen.setdefault(face.draft.name.lower(), face.draft)
        if before is not face.draft:
            message = f"the steps `{before.name}` (cell {before.first}) and `{face.draft.name}` differ only in case"
            suggestion = f"write `{before.name}` if the step goes on here, or give it another name"
            yield fault(face.draft, "JP106", message, suggestion, face.draft.place)


def _takes(face: Interface, name: str) -> bool:
    sources = (one.source for one in face.inputs.values())
    return name in face.inputs or any(isinstance(one, Upstream) and one.output == name for one in sources)


def _twins(faces: Faces) -> Iterator[Fault]:
    """Yield names that are one object in the live notebook and two here, where a step changes one of them."""
    for face in faces.values():
        for name, root in face.draft.names.aliases.items():
            if name in face.outputs and isinstance(face.inputs.get(root, _NO_INPUT).source, Upstream):
                for changed, other in ((name, root), (root, name)):
                    found = _change_unseen(faces, face, changed, other)
                    if found is not None:
                        yield _one_object(face, name, root, *found)


_NO_INPUT = Input(name="", source=FileSource(path=""))


def _change_unseen(faces: Faces, face: Interface, changed: str, other: str) -> tuple[Interface, Interface] | None:
    """Return a step that changes one of two names for the same object, and one after it that uses the other."""
    behind = [one for one in faces.values() if one.draft.order > face.draft.order]
    changing = next((one for one in behind if changed in one.draft.mutates and changed in one.inputs), None)
    if changing is None:
        return None
    using = (one for one in behind if one.draft.order > changing.draft.order and other in one.inputs)
    user = next(using, None)
    return (changing, user) if user else None


def _one_object(face: Interface, name: str, root: str, changing: Interface, user: Interface) -> Fault:
    draft = face.draft
    message = f"`{name}` and `{root}` are one object in step `{draft.name}`, and two in the steps behind it"
    suggestion = f"write `{name} = {root}.copy()` if they are meant to be two, else use one name"
    note = f"`{changing.draft.name}` changes one of them; cell by cell, `{user.draft.name}` would see that in the other"
    place = draft.where(draft.names.binds[name].spot)
    return fault(draft, "JP213", message, suggestion, place, severity="warning", notes=(note,), label="no copy")
