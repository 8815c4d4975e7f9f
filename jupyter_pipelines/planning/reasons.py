"""Why a step runs: the difference between the parts of its key and those of its latest record.

A reason has one code, one sentence, and evidence. Where several things changed, the reason is the first of code,
shared code, modules, parameters, inputs, packages, Python; the others stand in the details.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from jupyter_pipelines.pipeline.artifacts import StepOutputRef
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.fingerprint import MISSING, code_cells, setups_of, shared_by_name

Decision = Literal["run", "reuse", "maybe", "blocked", "skip"]
Code = Literal[
    "never-run",
    "code",
    "shared-code",
    "module",
    "parameter",
    "input",
    "package",
    "python",
    "forced",
    "no-cache",
    "upstream",
    "output-missing",
    "output-corrupt",
    "untrusted",
    "unchanged",
    "file",
    "environment-variable",
    "network",
    "program",
    "unwatched",
    "untraced",
]
Parts = Mapping[str, str]
_MAX_CHANGES_SHOWN = 3
_HEXDIGITS = 8
# Prefixes of digests in parts; a value of another kind may contain a colon, too.
_ALGORITHMS = ("sha256", "blake3")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionReason:
    """The reason for the decision on a step.

    Parameters
    ----------
    code : str
        One of the codes of the documents, see :data:`Code`.
    text : str
        In a few words, without a full stop.
    details : tuple of str
        Evidence, and what else changed; one line each.
    """

    code: Code
    text: str
    details: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as documents hold it."""
        return {"code": self.code, "text": self.text, "details": list(self.details)}

    def __str__(self) -> str:
        return self.text


class FingerprintChange(NamedTuple):
    """A difference between the parts of two fingerprints.

    Parameters
    ----------
    text : str
        In a few words.
    evidence : str
        What it was and what it is now, where the words do not say so already.
    The input that changed, if it may be a folder whose files can be named.
        The input that changed, if it may be a folder.
    """

    text: str
    evidence: str = ""
    folder: str = ""


def explain_difference(
    now: Parts, before: Parts, step: Step, changed_files: Callable[[str], str] | None = None
) -> DecisionReason | None:
    """Return what makes two sets of parts of a step differ; None when nothing does.

    Parameters
    ----------
    now, before : Mapping of str to str
        See :func:`jupyter_pipelines.planning.keys.fingerprint.parts`.
    step : Step
        The step as it is now; names the cells, files and producers.
    changed_files : callable or None
        Returns which files differ in the folder that is an input, in a few words.
    """
    groups = [(code, list(find(now, before, step))) for code, find in _GROUPS]
    changed_groups = [
        (code, [_in_folder(change, changed_files) for change in changes]) for code, changes in groups if changes
    ]
    if not changed_groups:
        return None
    (code, first), *others = changed_groups
    phrases = [change.text for change in first[:_MAX_CHANGES_SHOWN]]
    omitted = [f"and {len(first) - _MAX_CHANGES_SHOWN} more"] if len(first) > _MAX_CHANGES_SHOWN else []
    details = [change.evidence for change in first[:_MAX_CHANGES_SHOWN] if change.evidence]
    details += [_with_evidence(change) for change in first[_MAX_CHANGES_SHOWN:]]
    details += [_with_evidence(change) for _, changes in others for change in changes]
    return DecisionReason(code=code, text=", ".join([*phrases, *omitted]), details=tuple(details))


def shorten_digests(value: str) -> str:
    """Return a part's value with its digests shortened for reading."""
    algorithm, colon, digest_text = value.partition(":")
    if colon and algorithm in _ALGORITHMS:
        digits, *words = digest_text.split(" ")
        return " ".join([algorithm, f"{digits[:_HEXDIGITS]}…", *words])
    return value


def _in_folder(change: FingerprintChange, changed_files: Callable[[str], str] | None) -> FingerprintChange:
    files = changed_files(change.folder) if change.folder and changed_files is not None else ""
    return change._replace(text=f"{change.text}: {files}") if files else change


def _with_evidence(change: FingerprintChange) -> str:
    return f"{change.text} ({change.evidence})" if change.evidence else change.text


# One finder for each group of parts ---------------------------------------------------------------------------------


def _code(now: Parts, before: Parts, step: Step) -> Iterator[FingerprintChange]:
    numbers = [cell.number for cell in code_cells(step)]
    yield from _sequence(_values(now, "code"), _values(before, "code"), numbers, "cell")
    for name, words in (("outputs", "its outputs are now"), ("unknown", "what is not known of its code")):
        if now.get(name) != before.get(name):
            yield _outputs(now, before) if name == "outputs" else FingerprintChange(f"{words} changed")


def _outputs(now: Parts, before: Parts) -> FingerprintChange:
    return FingerprintChange(f"its outputs are now `{now.get('outputs')}`", f"they were `{before.get('outputs')}`")


def _shared(now: Parts, before: Parts, step: Step) -> Iterator[FingerprintChange]:
    cells = {name: piece.cell for name, piece in shared_by_name(step)}
    changes = []
    for name, new, old in _differing(now, before, "shared"):
        location = f" (cell {cells[name]})" if cells.get(name) else ""
        changes.append(FingerprintChange(f"shared code `{name}`{location} {_what_happened(new, old)}"))
    setups = [setup.cell for setup in setups_of(step)]
    changes += _sequence(_values(now, "setup"), _values(before, "setup"), setups, "setup in cell")
    # A piece that is added or removed changes the order as well: then the piece is the reason.
    if not changes and now.get("shared-order") != before.get("shared-order"):
        changes.append(_order(now, before))
    yield from changes


def _order(now: Parts, before: Parts) -> FingerprintChange:
    """Return the change that shared code runs in another order; reported only when no piece of it changed."""
    new, old = now.get("shared-order", "in any order"), before.get("shared-order", "in any order")
    return FingerprintChange("its shared code runs in another order", f"order of shared code: {old} -> {new}")


def _modules(now: Parts, before: Parts, step: Step) -> Iterator[FingerprintChange]:
    paths = {module.name: module.path for module in step.modules}
    for name, new, old in _differing(now, before, "module"):
        yield FingerprintChange(
            f"module `{name}` {_what_happened(new, old)}", paths.get(name, "") if new and old else ""
        )


def _parameters(now: Parts, before: Parts, _: Step) -> Iterator[FingerprintChange]:
    for name, new, old in _differing(now, before, "parameter"):
        if new is None or old is None:
            yield FingerprintChange(f"parameter `{name}` {_what_happened(new, old)}")
        else:
            yield FingerprintChange(f"{name}: {old} -> {new}")


def _inputs(now: Parts, before: Parts, step: Step) -> Iterator[FingerprintChange]:
    sources = {step_input.name: step_input.source for step_input in step.inputs}
    if "gathers" in now and now["gathers"] != before.get("gathers"):
        yield FingerprintChange("its items changed", _from_to("items", now["gathers"], before.get("gathers")))
    for name, new, old in _differing(now, before, "input"):
        source = sources.get(name)
        producer_note = f" (made by `{source.step}`)" if isinstance(source, StepOutputRef) else ""
        yield FingerprintChange(
            f"input `{name}` {_availability_change(new, old)}", _from_to(f"input {name}", new, old, producer_note)
        )
    for name, new, old in _differing(now, before, "file"):
        path = f" ({sources[name]})" if name in sources else ""
        yield FingerprintChange(
            f"input file `{name}`{path} {_availability_change(new, old)}",
            _from_to(f"input {name}", new, old),
            folder=name if None not in (new, old) else "",
        )
    for name, new, old in _differing(now, before, "file-name"):
        if new is not None and old is not None:
            yield FingerprintChange(f"input file `{name}` has another name: {old} -> {new}")


def _packages(now: Parts, before: Parts, _: Step) -> Iterator[FingerprintChange]:
    for name, new, old in _differing(now, before, "package"):
        if new is None or old is None:
            yield FingerprintChange(f"package `{name}` {_what_happened(new, old)}")
        # Parts of packages without a version begin with `sources`: there is no version to compare.
        elif new.partition(" (")[0] != old.partition(" (")[0] and "sources" not in (new.split()[0], old.split()[0]):
            yield FingerprintChange(f"{name} {old.partition(' (')[0]} -> {new.partition(' (')[0]}")
        else:
            yield FingerprintChange(f"the files of package `{name}` changed", f"{name}: {old} -> {new}")


def _python(now: Parts, before: Parts, _: Step) -> Iterator[FingerprintChange]:
    for name, words in (("python", "Python"), ("kernel", "kernel")):
        if now.get(name) != before.get(name):
            yield FingerprintChange(
                f"{words} {before.get(name, 'of the notebook')} -> {now.get(name, 'of the notebook')}"
            )


_GROUPS: Sequence[tuple[Code, Callable[[Parts, Parts, Step], Iterable[FingerprintChange]]]] = (
    ("code", _code),
    ("shared-code", _shared),
    ("module", _modules),
    ("parameter", _parameters),
    ("input", _inputs),
    ("package", _packages),
    ("python", _python),
)


# What they are made of ----------------------------------------------------------------------------------------------


def _differing(now: Parts, before: Parts, kind: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield name, new and old value of the parts of one kind that differ; None where there is no such part."""
    start = f"{kind}:"
    for part in dict.fromkeys([*now, *before]):
        if part.startswith(start) and now.get(part) != before.get(part):
            yield part.removeprefix(start), now.get(part), before.get(part)


def _values(parts: Parts, kind: str) -> list[str]:
    numbers = sorted(int(part.partition(":")[2]) for part in parts if part.startswith(f"{kind}:"))
    return [parts[f"{kind}:{number}"] for number in numbers]


def _sequence(
    now: Sequence[str], before: Sequence[str], numbers: Sequence[int], noun: str
) -> Iterator[FingerprintChange]:
    """Compare two lists of cells, so that a cell put between others does not make all after it look changed."""
    # `autojunk` ignores elements that are frequent in long sequences: equal cells would count as changed.
    for tag, i, j, first, last in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if tag == "delete":
            yield FingerprintChange(_taken_out(noun, j - i))
        elif tag != "equal":
            words = {"replace": ("changed", "changed"), "insert": ("is new to it", "are new to it")}[tag]
            yield FingerprintChange(_in_cells(noun, numbers[first:last], *words))


def _in_cells(noun: str, numbers: Sequence[int], singular: str, plural: str) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]} {singular}"
    return f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} {plural}"


def _taken_out(where: str, count: int) -> str:
    noun = where.replace(" in ", " ")
    return f"a {noun} was taken out" if count == 1 else f"{count} {noun}s were taken out"


def _what_happened(new: str | None, old: str | None) -> str:
    if old is None:
        return "is new to it"
    return "is no longer used" if new is None else "changed"


def _availability_change(new: str | None, old: str | None) -> str:
    if MISSING in (new, old) and None not in (new, old):
        return "is missing now" if new == MISSING else "is there now"
    return _what_happened(new, old)


def _from_to(name: str, new: str | None, old: str | None, suffix: str = "") -> str:
    if new is None or old is None or MISSING in (new, old):
        return ""
    kind = shorten_digests(old).partition(" ")[0]
    # The algorithm is named once: both digests have the same one.
    changed = shorten_digests(new).removeprefix(f"{kind} ") if kind in _ALGORITHMS else shorten_digests(new)
    return f"{name}: {shorten_digests(old)} -> {changed}{suffix}"
