"""Everything that is wrong with a pipeline before it runs, all at once."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Fault, Place, closest
from jupyter_pipelines.notebook.drafting import PATHS, Draft, fault
from jupyter_pipelines.notebook.headers import Item
from jupyter_pipelines.notebook.inferring import Inference, Interface, Want
from jupyter_pipelines.pipeline.data import FileSource, Upstream
from jupyter_pipelines.pipeline.graph import find_cycle
from jupyter_pipelines.pipeline.parameters import Parameter


def check(inference: Inference, parameters: Sequence[Parameter], folder: Path) -> Iterator[Fault]:
    """Yield every fault of the steps, in no order.

    Parameters
    ----------
    inference : Inference
        What was inferred.
    parameters : sequence of Parameter
        What is declared.
    folder : Path
        What relative paths are relative to.
    """
    faces = inference.faces
    for face in faces.values():
        yield from _lost_inputs(face, inference)
        yield from _files(face, folder)
        yield from _wants(face, inference)
        yield from _outputs(face)
        yield from _changes(face)
        yield from _parameters(face, inference)
        yield from _after(face, faces)
        yield from _unused(face)
        yield from _formats(face)
        yield from _targets(face)
    yield from _two_makers(inference)
    yield from _cycle(faces)
    yield from _same_but_for_case(inference.drafts)
    yield from _unused_parameters(faces.values(), parameters)


def not_known(face: Interface) -> tuple[str, ...]:
    """Return everything that the analysis of a step could not resolve, one sentence each."""
    stars = [star for star in face.stars if not star.level]
    sentences = [f"`from {star.module} import *`: which names it brings is known only when it runs" for star in stars]
    shared = [f"`{one.code.name}`: {sentence}" for one in face.closure.definitions for sentence in one.unknown]
    return tuple(dict.fromkeys([*face.draft.unknown, *sentences, *shared, *face.reached.unknown]))


def _lost_inputs(face: Interface, inference: Inference) -> Iterator[Fault]:
    for item, why in face.lost:
        if not item.name.isidentifier():
            continue  # the header has its own fault
        if why == "name":
            yield _nobody_makes(face, item, inference)
        else:
            yield _wrong_locator(face, item, inference)


def _nobody_makes(face: Interface, item: Item, inference: Inference) -> Fault:
    draft, name = face.draft, item.name
    if name in inference.parameters:
        return fault(draft, "JP202", f"`{name}` is a parameter, not an input", f"write `-p {name}`", item.place)
    known = {one for other in inference.faces.values() if other is not face for one in other.outputs}
    near = closest(name, known)
    if near:
        help_text = f"write `{near}`"
    elif inference.index.find(name, draft.first) is not None:
        help_text = f"leave `{name}` out if it is shared code, or turn the cell that computes it into a step"
    else:
        help_text = f"add `-o {name}` to the step that makes it, or name a file: `-i {name}=PATH`"
    message = f"step `{draft.name}` takes `{name}`, which no step makes"
    return fault(draft, "JP202", message, help_text, item.place, label="nobody makes this")


def _wrong_locator(face: Interface, item: Item, inference: Inference) -> Fault:
    step, _, output = (item.locator or "").partition(".")
    other = inference.faces.get(step)
    if other is None:
        near = closest(step, inference.faces)
        message = f"there is no step `{step}`, nor a file `{item.locator}`"
        help_text = f"write `{item.name}={near or 'STEP'}.{output}`"
    else:
        near = closest(output, other.outputs)
        message = f"step `{step}` has no output `{output}`"
        help_text = f"write `{item.name}={step}.{near}`" if near else f"add `-o {output}` to step `{step}`"
    return fault(face.draft, "JP202", message, help_text, item.place)


def _files(face: Interface, folder: Path) -> Iterator[Fault]:
    for one in face.inputs.values():
        if isinstance(one.source, FileSource) and not one.optional and not (folder / one.source.path).exists():
            beside = (folder / one.source.path).parent
            near = (
                closest(Path(one.source.path).name, [found.name for found in beside.iterdir()])
                if beside.is_dir()
                else None
            )
            help_text = (
                f"there is `{Path(one.source.path).with_name(near)}`" if near else f"relative paths start at {folder}"
            )
            yield fault(face.draft, "JP210", f"the file `{one.source.path}` does not exist", help_text, one.place)


def _wants(face: Interface, inference: Inference) -> Iterator[Fault]:
    told = {item.name for item in face.draft.items("parameters") or ()}
    for want in face.wants:
        if want.name in told:
            continue  # that it is no parameter is a fault of its own
        found = _want(face, want, inference)
        if found is not None:
            yield found


def _want(face: Interface, want: Want, inference: Inference) -> Fault | None:
    draft, name = face.draft, want.name
    place = draft.place(want.at, len(name)) if want.at else draft.headers[0].place
    through = f", through `{want.by}`," if want.by else ""
    maker = inference.maker(name, draft)
    if maker is not None:
        message = f"step `{draft.name}`{through} uses `{name}`, which is not among its inputs"
        notes = (f"`{name}` is an output of step `{maker.name}` (cell {maker.first})",)
        return fault(draft, "JP201", message, f"add `-i {name}` to the header", place, notes=notes, label="used here")
    computed = inference.computed(face, name)
    if computed is not None:
        message = f"step `{draft.name}`{through} needs `{name}`, which only an exploratory cell computes"
        notes = (f"cell {computed.cell}, line {computed.line}: {computed.text.strip()[:80]}",)
        help_text = f"begin cell {computed.cell} with `%%step NAME -o {name}`, or with `%%setup` if every step needs it"
        return fault(draft, "JP208", message, help_text, place, notes=notes)
    other = _defined_in_a_step(draft, name, inference)
    if other is not None:
        message = f"step `{draft.name}`{through} uses `{name}`, which step `{other.name}` imports or defines for itself"
        help_text = f"move the import or definition of `{name}` into a cell without a header"
        return fault(
            draft, "JP215", message, help_text, place, notes=(f"it stands in cell {other.flow.binds[name].cell}",)
        )
    if want.by or name not in draft.flow.reads or not_known(face):
        return None
    return _undefined(face, name, place, inference)


def _defined_in_a_step(draft: Draft, name: str, inference: Inference) -> Draft | None:
    others = (one for one in inference.drafts if one is not draft)
    return next((one for one in others if name in one.flow.modules or name in one.flow.definitions), None)


def _undefined(face: Interface, name: str, place: Place, inference: Inference) -> Fault:
    draft = face.draft
    later = next((one for one in inference.drafts if one.first > draft.first and name in one.flow.binds), None)
    made = {one for other in inference.faces.values() if other is not face for one in other.draft.flow.binds}
    near = closest(
        name, {*face.inputs, *draft.flow.binds, *made, *inference.parameters, *inference.index.by_name} - {name}
    )
    message = f"step `{draft.name}` uses `{name}`, which is neither an input nor defined"
    if later is not None:
        help_text = f"step `{later.name}` makes it later, in cell {later.first}: move that step before this one"
    elif near:
        help_text = f"write `{near}`"
    else:
        help_text = f"assign `{name}` in the step, or make it an output of a step before"
    return fault(draft, "JP201", message, help_text, place, label="not defined")


def _outputs(face: Interface) -> Iterator[Fault]:
    draft = face.draft
    if not draft.parsed or draft.flow.stars or draft.unknown:
        return
    for output in face.outputs.values():
        name, flow = output.name, draft.flow
        if output.place is None:
            continue
        if output.kind in PATHS:
            if not _is_mentioned(draft, name):
                message = f"step `{draft.name}` never writes to its output `{name}`"
                help_text = f"`{name}` is a path that the step is given: write the {output.kind} there"
                yield fault(draft, "JP203", message, help_text, output.place)
            continue
        if name in flow.modules:
            yield fault(
                draft,
                "JP203",
                f"the output `{name}` is a module",
                "leave it out: imports are shared code",
                output.place,
            )
        elif (name not in flow.binds and name not in face.inputs) or name in flow.deletes:
            near = closest(name, flow.binds)
            did = ", ".join(list(flow.binds)[:8]) or "nothing"
            message = f"step `{draft.name}` declares the output `{name}`, but never assigns it"
            help_text = (
                f"write `-o {near}`, or rename `{near}` to `{name}`" if near else f"assign `{name}`, or leave it out"
            )
            yield fault(draft, "JP203", message, help_text, output.place, notes=(f"the step assigns: {did}",))


def _is_mentioned(draft: Draft, name: str) -> bool:
    trees = [code.tree for code in draft.codes if code.tree]
    return any(isinstance(node, ast.Name) and node.id == name for tree in trees for node in ast.walk(tree)) or any(
        name in magic for code in draft.codes for magic in code.magics
    )


def _changes(face: Interface) -> Iterator[Fault]:
    if face.draft.items("outputs") is None:
        return
    for name, at in face.changed.items():
        if name not in face.outputs:
            message = f"step `{face.draft.name}` changes its input `{name}` without declaring it as an output"
            help_text = f"add `-o {name}` to pass the change on, or change a copy of it"
            yield fault(face.draft, "JP212", message, help_text, face.draft.place(at), label="changed here")


def _parameters(face: Interface, inference: Inference) -> Iterator[Fault]:
    draft = face.draft
    declared = draft.items("parameters")
    for item in declared or ():
        if item.name not in inference.parameters:
            near = closest(item.name, inference.parameters)
            help_text = f"write `{near}`" if near else f"declare it in a `%%params` cell: `{item.name} = VALUE`"
            yield fault(draft, "JP501", f"there is no parameter `{item.name}`", help_text, item.place)
    if declared is not None:
        names = {item.name for item in declared}
        for name in face.parameters:
            at = draft.flow.needs.get(name)
            if name not in names:
                message = f"step `{draft.name}` uses the parameter `{name}` without declaring it"
                yield fault(
                    draft,
                    "JP201",
                    message,
                    f"add `-p {name}` to the header",
                    draft.place(at, len(name)) if at else draft.headers[0].place,
                )
    for name, at in draft.flow.binds.items():
        if name in inference.parameters:
            message = f"step `{draft.name}` assigns the parameter `{name}`"
            yield fault(
                draft,
                "JP216",
                message,
                f"use another name, or leave `{name}` out of the parameters",
                draft.place(at, len(name)),
            )


def _after(face: Interface, faces: Mapping[str, Interface]) -> Iterator[Fault]:
    draft = face.draft
    for header in draft.headers:
        for item in header.after:
            if item.name == draft.name:
                yield fault(
                    draft, "JP209", f"step `{draft.name}` waits for itself", "leave it out of `--after`", item.place
                )
            elif item.name not in faces:
                near = closest(item.name, faces)
                help_text = f"write `{near}`" if near else f"use one of: {', '.join(list(faces)[:8])}"
                yield fault(draft, "JP211", f"there is no step `{item.name}`", help_text, item.place)
        for item in header.optional:
            if item.name not in face.inputs:
                near = closest(item.name, face.inputs)
                help_text = f"write `{near}`" if near else f"add `-i {item.name}`"
                yield fault(
                    draft, "JP202", f"`{item.name}` is not an input of step `{draft.name}`", help_text, item.place
                )
    for one in face.inputs.values():
        if isinstance(one.source, Upstream) and one.source.step == draft.name:
            yield fault(
                draft,
                "JP209",
                f"step `{draft.name}` takes its own output `{one.source.output}`",
                "leave it out of `-i`",
                one.place,
            )


def _unused(face: Interface) -> Iterator[Fault]:
    draft = face.draft
    if not draft.parsed or draft.unknown:
        return
    used = {node.id for code in draft.codes if code.tree for node in ast.walk(code.tree) if isinstance(node, ast.Name)}
    used |= set(face.closure.open) | set(face.outputs)
    text = "\n".join(magic for code in draft.codes for magic in code.magics)
    for item in (*(draft.items("inputs") or ()), *(draft.items("parameters") or ())):
        if item.name not in used and item.name not in text and item.name not in {one.name for one, _ in face.lost}:
            kind = "input" if item.name in face.inputs else "parameter"
            message = f"step `{draft.name}` does not use its {kind} `{item.name}`"
            yield fault(
                draft,
                "JP207",
                message,
                "leave it out: every change of it reruns the step",
                item.place,
                severity="warning",
            )


def _formats(face: Interface) -> Iterator[Fault]:
    known: tuple[str, ...] | None = None
    for section in ("inputs", "outputs"):
        for item in face.draft.items(section) or ():
            if item.format is None or item.format in PATHS:
                continue
            known = known or plugins.names("serializers")
            if item.format not in known:
                near = closest(item.format, (*known, *PATHS))
                help_text = f"write `{item.name}:{near}`" if near else f"use one of: {', '.join((*known, *PATHS))}"
                yield fault(face.draft, "JP602", f"there is no format `{item.format}`", help_text, item.place)


def _targets(face: Interface) -> Iterator[Fault]:
    for header in face.draft.headers:
        if header.on is None or header.on in plugins.names("executors"):
            continue
        known = plugins.names("executors")
        near = closest(header.on, known)
        help_text = f"write `--on {near}`" if near else f"use one of: {', '.join(known)}"
        yield fault(face.draft, "JP602", f"there is no executor called `{header.on}`", help_text, header.place)


def _two_makers(inference: Inference) -> Iterator[Fault]:
    made: dict[str, Draft] = {}
    for draft in inference.drafts:
        face = inference.faces[draft.name]
        for output in face.outputs.values():
            before = made.get(output.name)
            if before is not None and not _takes(face, output.name):
                place = output.place or (
                    draft.place(draft.flow.binds[output.name], len(output.name))
                    if output.name in draft.flow.binds
                    else None
                )
                message = f"steps `{before.name}` and `{draft.name}` both make `{output.name}`"
                help_text = (
                    f"rename one of them, or let `{draft.name}` take it first: `-i {output.name} -o {output.name}`"
                )
                yield fault(
                    draft, "JP206", message, help_text, place, notes=(f"`{before.name}` stands in cell {before.first}",)
                )
            made[output.name] = draft


def _takes(face: Interface, name: str) -> bool:
    return any(isinstance(one.source, Upstream) and one.source.output == name for one in face.inputs.values())


def befores(face: Interface) -> dict[str, str]:
    """Return the steps that a step waits for, each with the name it takes from it; empty for mere order."""
    found = {item.name: "" for header in face.draft.headers for item in header.after}
    for one in face.inputs.values():
        if isinstance(one.source, Upstream):
            found[one.source.step] = one.source.output
    return {name: taken for name, taken in found.items() if name != face.draft.name}


def _cycle(faces: Mapping[str, Interface]) -> Iterator[Fault]:
    before = {name: [one for one in befores(face) if one in faces] for name, face in faces.items()}
    circle = find_cycle(before)
    if not circle:
        return
    ring = [*circle, circle[0]]
    path = " -> ".join(f"{name} (cell {faces[name].draft.first})" for name in ring)
    notes = []
    for before_it, name in pairwise(ring):
        taken = befores(faces[name])[before_it]
        needs = f"needs `{taken}`, made by `{before_it}`" if taken else f"stands after `{before_it}`"
        notes.append(f"`{name}` {needs}")
    first = faces[circle[0]].draft
    yield fault(
        first,
        "JP102",
        f"steps wait for each other: {path}",
        "move what both need into a step of its own",
        first.headers[0].place,
        notes=tuple(notes),
    )


def _same_but_for_case(drafts: Iterable[Draft]) -> Iterator[Fault]:
    seen: dict[str, Draft] = {}
    for draft in drafts:
        other = seen.setdefault(draft.name.lower(), draft)
        if other is not draft:
            message = f"steps `{other.name}` and `{draft.name}` differ only in case"
            yield fault(
                draft,
                "JP106",
                message,
                "rename one of them: on some disks they would be one file",
                draft.headers[0].place,
            )


def _unused_parameters(faces: Iterable[Interface], parameters: Sequence[Parameter]) -> Iterator[Fault]:
    used = {name for face in faces for name in face.parameters}
    for one in parameters:
        if one.name not in used:
            yield Fault(
                code="JP507",
                severity="warning",
                message=f"no step uses the parameter `{one.name}`",
                suggestion="leave it out, or add it to a step's `-p`",
                place=one.place,
            )
