"""The fingerprint of a step: everything that its result depends on, as separate parts; the key is a digest of them.

============================  ==========================================================================
part                          value
============================  ==========================================================================
``code:1``, ``code:2`` …      canonical code of the step's cells that hold code, in order
``outputs``                   names, kinds and formats of the declared outputs
``unknown``                   digest of what the analysis could not resolve, if there is such
``shared:NAME``               canonical code of a piece of shared code (``NAME#2`` if the name is bound twice)
``setup:1``, ``setup:2`` …    canonical code of the ``%%setup`` cells before it, in order
``shared-order``              which pieces of shared code come before which, if their order can matter
``module:DOTTED.NAME``        canonical code of one of the project's own modules
``parameter:NAME``            the value as Python writes it, cut and with a digest when it is long
``input:NAME``                digest and format of the artifact, or ``missing``
``file:NAME``                 digest of the content of a file or folder, or ``missing``; NAME is the path of a file, or
                              a pattern of files, that the code reads without declaring it
``file-name:NAME``            the file's own name: its ending decides how it is read; its path where the step's code may
                              ask the path for more, and of an item its path as found; of a URL the last part of it
``package:NAME``              version of the package
``gathers``                   of a step over many items, which items there are, in order
``python``, ``kernel``        minor version of Python; the kernel if the step names one
============================  ==========================================================================

Not in it, on purpose: the step's name, the notebook's path, cell numbers and ids, the folder a file lies in, which
step an input comes from, retries, timeouts and resources. To spread a step over another cell does count: what a cell
shows at its end is part of what the step does.

Not in it, and knowingly a hole: what a package imports itself, the patch version of Python, the machine, environment
variables, files that a step reads under a name that it computes. Docstrings count where a piece of the
step's code reads docstrings, and every character where a piece reads source. Imports that nothing uses and hints of
functions that are only called do not count; see :mod:`.inert_code`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePath
from typing import Any

from jupyter_pipelines.pipeline.artifacts import Input, Output, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.step import SharedCode, SharedKind, Step, StepCell
from jupyter_pipelines.pipeline.url_inputs import file_name_of
from jupyter_pipelines.planning.keys.code_digests import cached_inert_names, cached_order, cell_digest, module_digest
from jupyter_pipelines.planning.keys.docstring_use import SourceReads, source_reads
from jupyter_pipelines.planning.keys.documented_code import definitions, handed_to_packages
from jupyter_pipelines.planning.keys.environment import PythonEnvironment

FORMAT = 2
"""Part of every key; raised whenever the same parts no longer mean the same result."""

MISSING = "missing"
READ = "read "
"""Prefix of undeclared files among the inputs; names of inputs contain no space."""
_PATH_PARTS = re.compile(
    r"\b(?:parents?|parts|dirname|relative_to|resolve|absolute|abspath|realpath|as_posix|as_uri)\b"
)
"""What code calls on a path to find out in which folder a file is."""
_MAX_TEXT = 80
_KEPT = 40
# Compact and sorted: the key is a digest of this text, and must not depend on the order of parts.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def parts(
    step: Step, *, values: Mapping[str, Any], inputs: Mapping[str, str], environment: PythonEnvironment
) -> dict[str, str]:
    """Return everything that the result of `step` depends on.

    Parameters
    ----------
    step : Step
        The step.
    values : Mapping of str to object
        Values of the parameters, by name; at least of those the step uses.
    inputs : Mapping of str to str
        By input name: digest and format of an artifact (see :func:`artifact_part`), digest of a file, or ``missing``.
        Inputs that are not known yet are left out.
    environment : PythonEnvironment
        The Python it will run in.
    """
    fingerprint = code_parts(step)
    for name in step.parameters:
        fingerprint[f"parameter:{name}"] = value_repr(values[name])
    for step_input in step.inputs:
        if step_input.name in inputs:
            fingerprint.update(_input_parts(step, step_input, inputs[step_input.name]))
    for path in step.files:
        if read_name(path) in inputs:
            fingerprint[f"file:{path}"] = inputs[read_name(path)]
    if step.gathering:
        fingerprint["gathers"] = value_repr(step.gathering.keys)
    for name in step.packages:
        fingerprint[f"package:{name}"] = environment.version(name)
    fingerprint["python"] = environment.python
    if step.kernel:
        fingerprint["kernel"] = step.kernel
    return fingerprint


def read_name(path: str) -> str:
    """Return the name under which an undeclared file stands among the inputs."""
    return f"{READ}{path}"


def key(fingerprint: Mapping[str, str]) -> str:
    """Return the digest over all parts of a `fingerprint`: 64 hexadecimal digits."""
    document = _ENCODER.encode({"format": FORMAT, "parts": dict(fingerprint)})
    return hashlib.sha256(document.encode("ascii")).hexdigest()


def code_parts(step: Step) -> dict[str, str]:
    """Return the parts that are made of code: own cells, interface, shared code and modules."""
    level = _PieceLevels(step)
    inert = level.inert_names

    def digest(source: str) -> str:
        return cell_digest(source, level.of(source), inert)

    codes = _numbered("code", [digest(cell.body) for cell in code_cells(step)])
    setups = _numbered("setup", [digest(setup.source) for setup in setups_of(step)])
    step = replace(step, shared=_with_effect(step.shared, inert)) if inert else step
    fingerprint = {**codes, "outputs": " ".join(sorted(_output(output) for output in step.outputs))}
    if step.unknown:
        fingerprint["unknown"] = _digest("\n".join(step.unknown))
    for name, piece in shared_by_name(step):
        fingerprint[f"shared:{name}"] = digest(piece.source)
    fingerprint.update(setups)
    # Computed only for several pieces: it parses all of them.
    order = cached_order(_in_running_order(step), inert) if len(step.shared) > 1 else ()
    if order:
        fingerprint["shared-order"] = _cut(", ".join(order))
    for module in step.modules:
        fingerprint[f"module:{module.name}"] = module_digest(module.source, level.of(module.source), inert)
    return fingerprint


def _with_effect(shared: Iterable[SharedCode], inert: tuple[str, ...]) -> tuple[SharedCode, ...]:
    """Return shared code without imports that only hints without effect need."""
    return tuple(piece for piece in shared if piece.kind != "import" or f"import {piece.name}" not in inert)


class _PieceLevels:
    """How much of each piece of code counts: the docstrings or the source of any piece may be read by another one."""

    def __init__(self, step: Step) -> None:
        shared, modules = (piece.source for piece in step.shared), (module.source for module in step.modules)
        self._step = step
        texts = (*(cell.body for cell in step.cells), *shared, *modules)
        self._level = max(map(source_reads, texts), default=SourceReads.NOTHING)
        self._handed = handed_to_packages(texts, step.packages) if self._level == SourceReads.NOTHING else frozenset()

    def of(self, source: str) -> SourceReads:
        """Return how much of a piece of code counts."""
        is_handed = bool(self._handed) and not self._handed.isdisjoint(definitions(source))
        return SourceReads.DOCSTRINGS if is_handed else self._level

    @cached_property
    def inert_names(self) -> tuple[str, ...]:
        """Names of which parts do not count, such as imports that nothing uses; see :mod:`.inert_code`."""
        step = self._step
        # Another kernel may have loaded other modules; what reads docstrings or source may read hints, too.
        if self._level != SourceReads.NOTHING or step.kernel or step.unknown:
            return ()
        notebook = (*(piece.source for piece in step.shared), *(cell.body for cell in step.cells))
        modules = tuple((module.name, module.source) for module in step.modules)
        names = {name for name, _ in step.item.values} if step.item else set()
        names |= {*step.parameters, *(taken.name for taken in step.inputs), *(made.name for made in step.outputs)}
        return cached_inert_names((notebook, modules, tuple(sorted(step.packages)), tuple(sorted(names))))


def code_cells(step: Step) -> list[StepCell]:
    """Return the cells of a step that are more than comments."""
    return [cell for cell in step.cells if cell_digest(cell.body) != cell_digest("")]


def setups_of(step: Step) -> list[SharedCode]:
    """Return the ``%%setup`` cells that a step runs first."""
    return [piece for piece in step.shared if piece.kind == "setup"]


def shared_by_name(step: Step) -> Iterator[tuple[str, SharedCode]]:
    """Yield the shared code that a step reaches by name; a name that is bound again gets a number as suffix."""
    seen: dict[str, int] = {}
    for piece in step.shared:
        if piece.kind != "setup":
            count = seen[piece.name] = seen.get(piece.name, 0) + 1
            yield (piece.name if count == 1 else f"{piece.name}#{count}"), piece


def _in_running_order(step: Step) -> list[tuple[str, SharedKind, str]]:
    """Return label, kind and source of the shared code of a step."""
    # By identity: equal pieces may stand in several cells, and have names of their own.
    names = {id(piece): name for name, piece in shared_by_name(step)}
    names |= {id(setup): f"setup {number}" for number, setup in enumerate(setups_of(step), start=1)}
    return [(names[id(piece)], piece.kind, piece.source) for piece in step.shared]


def artifact_part(digest: str, kind: str) -> str:
    """Return the part for an artifact: the same bytes in another format are another value."""
    return f"{digest} {kind}"


def value_repr(value: Any) -> str:
    """Return a plain value as Python writes it; a long value is cut and gets a digest, so that it stays distinct."""
    return _cut(repr(value))


def _input_parts(step: Step, step_input: Input, part: str) -> dict[str, str]:
    if isinstance(step_input.source, StepOutputRef):
        return {f"input:{step_input.name}": part}
    if isinstance(step_input.source, UrlSource):
        # The step gets a file under this name in a folder of its own: it does not see the rest of the URL.
        return {f"file:{step_input.name}": part, f"file-name:{step_input.name}": file_name_of(step_input.source.url)}
    path = step_input.source.path
    # Items may differ in nothing but their folder (`data/*/sales.csv`), which their code can ask the path for.
    is_item = step.item is not None and step_input.name in step.item.files
    whole = is_item or _asks_for_path(step_input.name, step)
    return {f"file:{step_input.name}": part, f"file-name:{step_input.name}": path if whole else PurePath(path).name}


def _asks_for_path(name: str, step: Step) -> bool:
    """Tell whether the code of a step may look at the path of an input, not only at the file."""
    # Formatted or printed, a path shows its folder without any of the names in `_PATH_PARTS`.
    shown = re.compile(rf"(?:str|repr|print|fspath|format)\(\s*{name}\b|\{{\s*{name}\b")
    texts = [cell.body for cell in step.cells]
    reached = [*(piece.source for piece in step.shared), *(module.source for module in step.modules)]
    return any(map(shown.search, texts)) or any(map(_PATH_PARTS.search, (*texts, *reached)))


def _numbered(kind: str, digests: Sequence[str]) -> dict[str, str]:
    return {f"{kind}:{number}": digest for number, digest in enumerate(digests, start=1)}


def _output(output: Output) -> str:
    return ":".join(
        [output.name, *([output.kind] if output.kind != "value" else []), *([output.format] if output.format else [])]
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_KEPT]}… sha256:{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
