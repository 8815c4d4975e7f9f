"""What a step's result depends on, as parts that are kept apart; the key is a digest over all of them.

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
``file-name:NAME``            the file's own name: its ending decides how it is read; of an item its path as found
``package:NAME``              version of the package
``gathers``                   of a step over many items, which items there are, in order
``python``, ``kernel``        minor version of Python; the kernel if the step names one
============================  ==========================================================================

Not in it, on purpose: the step's name, the notebook's path, cell numbers and ids, the folder a file lies in, which
step an input comes from, retries, timeouts and resources. To spread a step over one cell more does count: what a cell
shows at its end is part of what the step does.

Not in it, and knowingly a hole: what a package imports itself, the patch version of Python, the machine, environment
variables, files that a step reads under a name that only what it computes tells. Docstrings count where a piece of the
step's code reads docstrings, and every character where one reads source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from jupyter_pipelines.pipeline.data import FileSource, Input, Output
from jupyter_pipelines.pipeline.step import SharedCode, SharedKind, Step, StepCell
from jupyter_pipelines.planning.codes import code_of, module_code, order_of
from jupyter_pipelines.planning.environment import Environment
from jupyter_pipelines.planning.introspection import Reads, reads

FORMAT = 2
"""Goes into every key: raised whenever equal parts would no longer mean equal results."""

MISSING = "missing"
_LONGEST = 80
_KEPT = 40
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def parts(
    step: Step, *, values: Mapping[str, Any], inputs: Mapping[str, str], environment: Environment
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
    environment : Environment
        The Python it will run in.
    """
    found = code_parts(step)
    for name in step.parameters:
        found[f"parameter:{name}"] = in_words(values[name])
    for one in step.inputs:
        if one.name in inputs:
            found.update(_input_parts(step, one, inputs[one.name]))
    for path in step.files:
        if read_name(path) in inputs:
            found[f"file:{path}"] = inputs[read_name(path)]
    if step.gathering:
        found["gathers"] = in_words(step.gathering.keys)
    for name in step.packages:
        found[f"package:{name}"] = environment.version(name)
    found["python"] = environment.python
    if step.kernel:
        found["kernel"] = step.kernel
    return found


def read_name(path: str) -> str:
    """Return under which name a file that code reads without declaring it stands among the inputs."""
    return f"read {path}"  # no name of an input has a space


def key(found: Mapping[str, str]) -> str:
    """Return the digest over all `found` parts: 64 hexadecimal digits."""
    document = _ENCODER.encode({"format": FORMAT, "parts": dict(found)})
    return hashlib.sha256(document.encode("ascii")).hexdigest()


def code_parts(step: Step) -> dict[str, str]:
    """Return the parts that are made of code: own cells, interface, shared code and modules."""
    level = _what_it_reads(step)
    codes = _counted("code", [code_of(cell.body, level) for cell in cells_that_count(step)])
    setups = _counted("setup", [code_of(one.source, level) for one in setups_of(step)])
    found = {**codes, "outputs": " ".join(sorted(_output(one) for one in step.outputs))}
    if step.unknown:
        found["unknown"] = _digest("\n".join(step.unknown))
    for name, one in shared_by_name(step):
        found[f"shared:{name}"] = code_of(one.source, level)
    found.update(setups)
    order = order_of(_in_running_order(step)) if len(step.shared) > 1 else ()
    if order:
        found["shared-order"] = _cut(", ".join(order))
    for module in step.modules:
        found[f"module:{module.name}"] = module_code(module.source, level)
    return found


def _what_it_reads(step: Step) -> Reads:
    """Return what the code of a step reads of code; who reads is not told apart from who is read."""
    shared, modules = (one.source for one in step.shared), (one.source for one in step.modules)
    texts = (*(cell.body for cell in step.cells), *shared, *modules)
    return max(map(reads, texts), default=Reads.NOTHING)


def cells_that_count(step: Step) -> list[StepCell]:
    """Return the cells of a step that are more than comments."""
    return [cell for cell in step.cells if code_of(cell.body) != code_of("")]


def setups_of(step: Step) -> list[SharedCode]:
    """Return the ``%%setup`` cells that a step runs first."""
    return [one for one in step.shared if one.kind == "setup"]


def shared_by_name(step: Step) -> Iterator[tuple[str, SharedCode]]:
    """Yield the shared code of a step that is reached by name, a number behind a name that is bound again."""
    seen: dict[str, int] = {}
    for one in step.shared:
        if one.kind != "setup":
            count = seen[one.name] = seen.get(one.name, 0) + 1
            yield (one.name if count == 1 else f"{one.name}#{count}"), one


def _in_running_order(step: Step) -> list[tuple[str, SharedKind, str]]:
    """Return label, kind and source of the shared code of a step."""
    names = {id(one): name for name, one in shared_by_name(step)}
    names |= {id(one): f"setup {number}" for number, one in enumerate(setups_of(step), start=1)}
    return [(names[id(one)], one.kind, one.source) for one in step.shared]


def artifact_part(digest: str, kind: str) -> str:
    """Return what stands for an artifact: the same bytes in another format are another value."""
    return f"{digest} {kind}"


def in_words(value: Any) -> str:
    """Return a plain value as Python writes it; a long one cut, with a digest so that it stays what it is."""
    return _cut(repr(value))


def _input_parts(step: Step, one: Input, found: str) -> dict[str, str]:
    if not isinstance(one.source, FileSource):
        return {f"input:{one.name}": found}
    path = one.source.path
    # Items may differ in nothing but their folder (`data/*/sales.csv`), which their code can ask the path for.
    is_item = step.item is not None and one.name in step.item.files
    return {f"file:{one.name}": found, f"file-name:{one.name}": path if is_item else PurePath(path).name}


def _counted(kind: str, found: Sequence[str]) -> dict[str, str]:
    return {f"{kind}:{number}": one for number, one in enumerate(found, start=1)}


def _output(one: Output) -> str:
    return ":".join([one.name, *([one.kind] if one.kind != "value" else []), *([one.format] if one.format else [])])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_KEPT]}… sha256:{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
