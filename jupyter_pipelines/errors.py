"""Every error of the package, and the form in which it is reported.

The tree::

    PipelinesError
    ├── NotebookError        the notebook cannot be read
    ├── PipelineError        the notebook is read, but its steps do not make a pipeline (all faults at once)
    ├── PlanError            the parameters, steps or options asked for do not fit the pipeline
    ├── RunError             a step did not succeed
    │   ├── StepFailed       its code raised, left early or broke its own interface
    │   ├── StepTimedOut     it took longer than ``--timeout``
    │   ├── KernelDied       its kernel was killed, crashed or never started
    │   ├── ExecutorLost     what was running it went away
    │   └── RunCancelled     the user stopped it
    ├── StoreError           the store cannot be read or written
    │   ├── NotStorable      a value has no serializer
    │   └── CorruptOutput    stored bytes are not those that were stored
    └── PluginError          an executor, serializer or store of a third party cannot be used

A :class:`Diagnostic` is data: what, where, why and what to do next. The text is made from its fields, by one function,
so that the magic, the shell, the widget and JSON say the same words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

Severity = Literal["error", "warning"]

CODES: Mapping[str, str] = MappingProxyType(
    {
        # JP1xx: the notebook and its headers
        "JP101": "a header cannot be read",
        "JP102": "steps wait for each other",
        "JP103": "a name cannot be used",
        "JP104": "the notebook cannot be read",
        "JP105": "the notebook has no steps",
        "JP106": "something is declared twice",
        "JP107": "a cell has a syntax error",
        "JP108": "a step contains a cell magic of another language",
        # JP2xx: what goes into a step and what comes out
        "JP201": "a step uses a name that is neither an input nor defined",
        "JP202": "an input has no producer",
        "JP203": "a declared output is never assigned",
        "JP204": "a step finished without setting an output",
        "JP205": "an output cannot be stored",
        "JP206": "two steps make the same name",
        "JP207": "a declared input or parameter is not used",
        "JP208": "a step needs what only an exploratory cell computes",
        "JP209": "a step waits for itself",
        "JP210": "an input file is missing",
        "JP211": "`--after` names a step that does not exist",
        "JP212": "a step changes an input without declaring it as an output",
        "JP213": "two outputs are one object",
        "JP214": "the code of a step cannot be known completely",
        "JP215": "a module, function or class that a step defines is used by another step",
        "JP216": "a parameter is declared and assigned by a step",
        "JP217": "a setting is made where a step does not see it",
        "JP218": "an exploratory cell changes what passes between two steps",
        "JP219": "the items of a step cannot be determined",
        "JP221": "a step reads a file that another step writes, and does not wait for it",
        "JP222": "two steps write the same file",
        "JP223": "a step imports a package that is not installed",
        "JP224": "a URL that is an input cannot be checked",
        # JP3xx: running
        "JP300": "the code of a step raised an exception",
        "JP301": "the kernel of a step was killed by a signal",
        "JP302": "the kernel of a step ended by itself",
        "JP303": "a step left early",
        "JP304": "a step timed out",
        "JP305": "the kernel of a step did not start",
        "JP306": "a step was cancelled",
        "JP307": "a step changed an input",
        "JP308": "a worker was lost",
        "JP309": "a step asked for input",
        "JP310": "an input could not be loaded",
        "JP311": "what a step depends on was changed while it ran",
        "JP312": "items of a step failed, as it was allowed",
        "JP313": "a step is made from an older result of another step",
        # JP4xx: the store
        "JP401": "the store cannot be opened",
        "JP402": "the store cannot be written",
        "JP403": "the store is full",
        "JP404": "a stored output is damaged",
        "JP405": "the store does not hold what was asked for",
        "JP406": "the store was written by a newer version",
        "JP407": "the store is in use",
        "JP408": "the store cannot be copied",
        "JP410": "a stored output failed its checksum and is computed again",
        "JP411": "a package for signatures is missing",
        "JP412": "a key cannot be used",
        "JP413": "what is stored cannot be signed",
        "JP414": "stores at an address of this kind cannot be opened",
        "JP415": "the database of a team cannot be used",
        # JP5xx: parameters
        "JP501": "a parameter does not exist",
        "JP502": "a parameter has a value of the wrong type",
        "JP503": "a parameter is out of its range",
        "JP504": "a parameter is none of its choices",
        "JP505": "a parameter's declaration cannot be read",
        "JP506": "a parameter has no value",
        "JP507": "a parameter is not used by any step",
        "JP508": "a file of parameters cannot be read",
        "JP509": "a parameter looks like a secret",
        "JP510": "a secret is not found",
        "JP511": "an output contains a secret",
        # JP6xx: plug-ins, options and commands
        "JP601": "a plug-in cannot be loaded",
        "JP602": "a plug-in does not exist",
        "JP603": "a step named in an option does not exist",
        "JP604": "an option has a value that cannot be used",
        "JP605": "a command cannot be read",
        "JP606": "an observer of a run failed",
        "JP607": "an executor cannot be used",
        "JP608": "a worker has something else than the plan is for",
        "JP609": "a step was started again on a worker, as it had asked for files of the project that were not sent",
        # JP7xx: converting
        "JP701": "a notebook cannot be converted",
        "JP702": "a converted notebook cannot be written",
        "JP703": "a conversion is not proved",
        "JP704": "pytest is not installed",
        # JP8xx: the server
        "JP801": "a notebook is not known to the server",
        "JP802": "a request to the server cannot be used",
        "JP803": "a request to the server is not allowed",
        # JP9xx: ourselves
        "JP901": "something went wrong inside jupyter-pipelines",
    }
)
"""Every code with its title. A page in the docs explains each; a test compares the two."""

COMMAND_LINE = "jupyter pipelines"
_PLACEHOLDER = re.compile(r"(?<![\w.-])(?:NOTEBOOK|STEP)(?![\w-])")
_NEEDS_QUOTES = re.compile(r"[^\w@%+:,./=-]|^[=%]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLocation:
    """A location in a notebook: cell, line and columns.

    Parameters
    ----------
    cell : int
        Number of the cell, counted from 1 over all cells of the notebook; 0 for a cell of a session, which has none.
    line : int
        Line in the cell as its author sees it, counted from 1, header lines included.
    column : int
        Character in the line, counted from 0.
    length : int
        How many characters the caret underlines; 0 for no caret.
    text : str
        The line itself.
    file : str
        The file that the line stands in; empty for a cell.
    """

    cell: int
    line: int
    column: int = 0
    length: int = 0
    text: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """A diagnostic as data: what is wrong, where, and what to do next.

    Parameters
    ----------
    code : str
        One of :data:`CODES`.
    message : str
        What is wrong; stands alone, in one sentence.
    suggestion : str
        What to do next.
    severity : {"error", "warning"}
        A warning never stops a run.
    notebook : str or None
        Path of the notebook, as the user gave it.
    step : str or None
        The step concerned.
    place : SourceLocation or None
        Where it stands.
    label : str
        Text beside the caret.
    notes : tuple of str
        Evidence: what was found, what exists instead, paths.
    """

    code: str
    message: str
    suggestion: str
    severity: Severity = "error"
    notebook: str | None = None
    step: str | None = None
    place: SourceLocation | None = None
    label: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # An undocumented code is a bug of ours; `explain` and the docs would not know it.
        if self.code not in CODES:
            raise KeyError(self.code)
        # A help line is pasted: a command in it names the notebook and the step as soon as both are known.
        if COMMAND_LINE in self.suggestion or "%pipeline" in self.suggestion:
            known = {"NOTEBOOK": shell_path(self.notebook or ""), "STEP": shell_word(self.step or "")}
            filled = _PLACEHOLDER.sub(lambda match: known[match[0]] or match[0], self.suggestion)
            object.__setattr__(self, "suggestion", filled)

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnostic as the ``check`` document shows it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "step": self.step,
            "cell": self.place.cell if self.place and not self.place.file else None,
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
            "suggestion": self.suggestion,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{self.severity}[{self.code}]: {self.message}", *self._where()]
        lines += [f"   = {note}" for note in self.notes[:7]]
        return "\n".join([*lines, f"   = help: {self.suggestion}"])

    def _where(self) -> list[str]:
        if self.place is None:
            return [f"  --> {self.notebook}"] if self.notebook else []
        place = self.place
        cell = f"{self.notebook or 'notebook'}, cell {place.cell}" if place.cell else "this cell"
        lines = [f"  --> {place.file or cell}, line {place.line}"]
        if place.text:
            lines.append(f"   | {place.text}")
        if place.text and place.length:
            lines.append(f"   | {' ' * place.column}{'^' * place.length} {self.label}".rstrip())
        return lines


def shell_word(text: str) -> str:
    """Return `text` as one word that can be pasted into a shell, or behind ``%pipeline``, which splits as a shell does.

    Letters of any script need no quotes; empty text stays empty.
    """
    if not _NEEDS_QUOTES.search(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def shell_path(text: str) -> str:
    """Return a path as :func:`shell_word` does; one that begins with ``-`` does not look like an option."""
    return shell_word(f"./{text}" if text.startswith("-") else text)


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that `name` was probably meant to be."""
    close_names = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close_names[0] if close_names else None


class PipelinesError(Exception):
    """Base class of errors that the user can do something about.

    Parameters
    ----------
    *faults : Diagnostic
        What is wrong; at least one.
    """

    def __init__(self, *faults: Diagnostic) -> None:
        super().__init__(*faults)
        self.faults = faults

    @property
    def code(self) -> str:
        """Code of the first fault."""
        return self.faults[0].code

    def __str__(self) -> str:
        return "\n\n".join(str(fault) for fault in self.faults)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle their args only; errors cross process boundaries with their diagnostics.
        return type(self), self.faults

    def _render_traceback_(self) -> list[str]:
        """Tell IPython to show the faults and none of our frames."""
        # IPython calls this hook instead of formatting the traceback.
        return str(self).splitlines()

    def within(self, notebook: str) -> PipelinesError:
        """Return the same error with the notebook's path in every fault that lacks it."""
        return type(self)(*(replace(fault, notebook=fault.notebook or notebook) for fault in self.faults))


class NotebookError(PipelinesError):
    """The notebook cannot be read."""


class PipelineError(PipelinesError):
    """The steps of a notebook do not make a pipeline."""


class PlanError(PipelinesError):
    """The parameters, steps or options asked for do not fit the pipeline."""


class RunError(PipelinesError):
    """A step did not succeed."""


class StepFailed(RunError):
    """The code of a step raised, left early or broke its own interface."""


class StepTimedOut(RunError):
    """A step took longer than it may."""


class KernelDied(RunError):
    """The kernel of a step was killed, crashed or never started."""


class ExecutorLost(RunError):
    """The worker or server that was running a step was lost."""


class RunCancelled(RunError):
    """The user stopped the run."""


class StoreError(PipelinesError):
    """The store cannot be read or written."""


class NotStorable(StoreError):
    """A value has no serializer that can hold it."""


class CorruptOutput(StoreError):
    """Stored bytes have changed since they were stored."""


class PluginError(PipelinesError):
    """An executor, serializer or store of a third party cannot be used."""
