"""The API that a step's notebook calls: load the inputs of the step, and save its outputs.

Runs in the kernel of every step, and in whatever kernel a step's notebook is opened by hand. Importing it costs next to
nothing; what reads and writes values is imported when there is a value.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, NotStorable, PipelinesError, StepFailed, closest_name
from jupyter_pipelines.execution.kernel_side import pending_work
from jupyter_pipelines.execution.kernel_side.tracing import step_trace

ATTEMPT = "JUPYTER_PIPELINES_ATTEMPT"
"""Environment variable with the private folder of the attempt; set only if a worker runs the step."""

DOCUMENT = "attempt.json"
MANIFEST = "outputs.json"
"""Files in that folder: the ticket that the attempt belongs to, and the outputs that the step saved."""

_ALONE = (type(None), bool, int, float, complex, str, bytes, type, type(len), type(lambda: None))


def open_step(path: str) -> StepIO:
    """Open the inputs and outputs of a step in its notebook.

    Run by hand or by plain papermill, the notebook gets the same inputs, works in the folder of the notebook it was
    rendered from, and its outputs go to a folder beside the ticket, never to the store.

    Parameters
    ----------
    path : str
        The file of the ticket.

    Raises
    ------
    StepFailed
        The ticket cannot be read (JP310).
    """
    try:
        ticket = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StepFailed(_no_ticket(path, error)) from None
    attempt = _attempt_of(path)
    if attempt is None:
        _enter_folder(ticket["cwd"])
    _hide_from_lists()
    return StepIO(ticket, attempt or _by_hand(path))


def _hide_from_lists() -> None:
    """Keep ``%who`` and ``%whos`` from naming this module, which the user has not imported."""
    module = sys.modules.get("IPython.core.getipython")
    shell = module.get_ipython() if module else None
    if shell is not None:
        shell.user_ns_hidden["step_io"] = sys.modules[__name__]


def _attempt_of(path: str) -> Path | None:
    """Return the folder of the attempt whose ticket this is; None when no worker runs it."""
    folder = os.environ.get(ATTEMPT)
    if not folder:
        return None
    try:
        document = json.loads(Path(folder, DOCUMENT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    # Kernels and programs that a step starts inherit the variable: another step's notebook run there is no part of
    # this attempt, and must not write into its folder.
    return Path(folder) if document.get("ticket") == path else None


def _by_hand(path: str) -> Path:
    folder = Path(path).with_suffix(".by-hand")
    folder.mkdir(exist_ok=True)
    return folder


def _enter_folder(cwd: str) -> None:
    os.chdir(cwd)
    if cwd not in sys.path:
        sys.path.insert(0, cwd)


class StepIO:
    """The inputs and outputs of a step, in its kernel.

    Parameters
    ----------
    ticket : Mapping
        The document of the ticket.
    folder : Path
        Folder for the outputs.
    """

    def __init__(self, ticket: Mapping[str, Any], folder: Path) -> None:
        from jupyter_pipelines.execution.kernel_side.mutation_guard import MutationGuard

        self._ticket = ticket
        self._folder = folder
        self._guard = MutationGuard()
        self._changed_members: list[str] = []
        self._loaded_together: dict[tuple[str, Path], Mapping[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<step {self._ticket['step']} of run {self._ticket['run']}>"

    def secret(self, reference: str) -> str:
        """Return the secret that `reference` names, and redact it in every message that this kernel sends.

        Parameters
        ----------
        reference : str
            ``env:NAME`` or ``file:PATH``.

        Raises
        ------
        StepFailed
            The secret is not set where the step runs (JP510).
        """
        from jupyter_pipelines.execution.kernel_side.redaction import redact_secret
        from jupyter_pipelines.pipeline.secrets import SecretNotFound, reveal

        try:
            secret = reveal(reference, self._ticket["cwd"])
        except SecretNotFound as error:
            raise StepFailed(
                Diagnostic(
                    code="JP510",
                    message=f"a secret of step `{self._step}` cannot be had where it runs: {error.why}",
                    suggestion=error.instead,
                    step=self._step,
                )
            ) from None
        redact_secret(secret)
        return secret

    def inputs(self, *names: str) -> tuple[Any, ...]:
        """Load the inputs called `names`: values, or paths for files. Outputs stored together share objects again.

        Raises
        ------
        StepFailed
            One cannot be loaded (JP310).
        """
        values = tuple(self.input(name) for name in names)
        self._loaded_together.clear()
        return values

    def input(self, name: str) -> Any:
        """Return one input; None for an optional one that is missing.

        Raises
        ------
        StepFailed
            It cannot be loaded (JP310).
        """
        spec = self._ticket["inputs"].get(name)
        if spec is None:
            raise StepFailed(self._no_input(name))
        if spec["kind"] == "missing":
            return None
        if spec["kind"] == "file":
            return Path(self._ticket["cwd"], spec["path"])
        try:
            return self._load(name, spec)
        except Exception as error:
            raise StepFailed(self._unloadable(name, error)) from error

    def path(self, name: str) -> Path:
        """Return the path that the step writes the output `name` to; a folder is created, a file is not."""
        path = self._folder / "outputs" / name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._wanted(name)["kind"] == "folder":
            path.mkdir(exist_ok=True)
        return path

    def outputs(self, *names: str) -> None:
        """Save the outputs called `names`, and all declared ones, from the namespace of the caller.

        Raises
        ------
        StepFailed
            An output is missing (JP204), an input that is not an output was changed in place (JP307), or an output
            contains a secret (JP511).
        NotStorable
            A value cannot be stored (JP205).
        """
        self._save(dict.fromkeys((*names, *self._ticket["outputs"])), sys._getframe(1).f_globals)  # noqa: SLF001 - documented so

    def _save(self, names: Mapping[str, None], namespace: Mapping[str, Any]) -> None:
        faults = [*self._missing(names, namespace), *self._changed()]
        errors = [fault for fault in faults if fault.severity == "error"]
        if errors:
            raise StepFailed(*errors)
        warnings = [*faults, *self._twins(names, namespace)]
        saved = dict(self._save_groups(names, namespace))
        saved |= {name: self._save_one(name, namespace, warnings) for name in names if name not in saved}
        status = {
            "warnings": [asdict(warning) for warning in warnings],
            "changed": self._changed_members,
            "unfinished": pending_work.pending_work(namespace),
        }
        self._write_manifest({"outputs": saved, **status})
        step_trace.finish(self._folder)

    def _save_one(self, name: str, namespace: Mapping[str, Any], warnings: list[Diagnostic]) -> dict[str, Any]:
        spec = self._wanted(name)
        if spec["kind"] != "value":
            return {"kind": spec["kind"], "path": str(self._written(name))}
        saved = self._write_value(namespace[name], name, spec["format"], name)
        warnings.extend(self._noted(note) for note in saved["notes"])
        return {"kind": "value", "path": saved["path"], "mark": saved["mark"], **saved["artifact"]}

    def _save_groups(self, names: Iterable[str], namespace: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Save outputs that refer to common objects, each group in one pickle; yield each with its manifest entry."""
        specs = {name: self._wanted(name) for name in names}
        values = {
            name: namespace[name]
            for name, spec in specs.items()
            # A declared format has its own serializer, and a group is one pickle. Immutable values need no group: that
            # they are shared cannot be observed.
            if spec["kind"] == "value" and not spec["format"] and not isinstance(namespace[name], _ALONE)
        }
        if len(values) < 2:
            return
        from jupyter_pipelines.storage.serializers import shared_parts
        from jupyter_pipelines.storage.serializers.protocol import member_format

        for group in shared_parts.groups(values):
            members = shared_parts.as_stored({name: values[name] for name in group})
            try:
                saved = self._write_value(members, group[0], "pickle", ", ".join(group))
            except NotStorable:
                # Each alone, so that the error names the output that cannot be stored and not the whole group.
                for name in group:  # which of them cannot be stored, and why
                    self._write_value(values[name], name, None, name)
                raise
            for name in group:
                artifact = saved["artifact"] | {"format": member_format(name)}
                yield name, {"kind": "value", "path": saved["path"], "mark": saved["mark"], **artifact}

    def _write_value(self, value: Any, folder: str, value_format: str | None, name: str) -> dict[str, Any]:
        """Write a value to a file of its own and return its manifest entry; `name` is used in error messages."""
        from jupyter_pipelines.execution.kernel_side.redaction import PROCESS_REDACTOR, secret_in_output
        from jupyter_pipelines.storage import serializers

        path = self._folder / "outputs" / folder / "value"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        saved = serializers.save(value, path, value_format, name=name)
        # The written bytes are searched, not the value: a secret may be deep in an object, where no walk would find it.
        if PROCESS_REDACTOR and PROCESS_REDACTOR.is_in(path):
            path.unlink()
            raise StepFailed(secret_in_output(self._step, name))
        mark, artifact = saved.mark.to_list(), saved.artifact.to_dict()
        return {"path": str(path), "mark": mark, "artifact": artifact, "notes": saved.notes}

    def _load(self, name: str, spec: Mapping[str, Any]) -> Any:
        value = self._read(name, spec, first=True)
        if self._group_of(name):
            self._remember_group(name, value, spec)
        elif name not in self._ticket["outputs"] and not isinstance(value, Path):
            self._guard.remember(name, value, lambda: self._read(name, spec))
        return value

    def _remember_group(self, name: str, value: Any, spec: Mapping[str, Any]) -> None:
        """Remember an input stored in one file with other outputs, and those of them that later steps load."""
        self._guard.remember(name, value, lambda: self._read(name, spec), keep=True)
        members = self._loaded_together["", Path(spec["path"])]
        for output, _ in spec.get("later", ()):
            self._guard.remember(_behind(spec, output), members[output], keep=True)

    def _read(self, name: str, spec: Mapping[str, Any], *, first: bool = False) -> Any:
        """Load a stored input; the `first` time, stored class attributes are restored on the notebook's classes."""
        if spec["kind"] == "gathered":
            from jupyter_pipelines.pipeline.foreach import GatheredResults

            values = [
                self._read(f"{name}/{number}", item_spec, first=first) for number, item_spec in enumerate(spec["items"])
            ]
            return GatheredResults(values, spec["keys"], spec["failed"])
        path = Path(spec["path"])
        if spec["format"] == "file":
            return path
        if spec["format"] == "folder":
            return self._folder_of(name, spec)
        from jupyter_pipelines.storage import serializers
        from jupyter_pipelines.storage.serializers.protocol import split_member

        file_format, member = split_member(spec["format"])
        if not member:
            return serializers.load(path, file_format, in_step=first)
        if not first:
            # Read again to compare: neither cached nor in the step, so that it shares no object with the values in use.
            return serializers.load(path, file_format)[member]
        file = (name.partition("/")[2], path)  # equal items are in one file, and do not share anything
        if file not in self._loaded_together:
            self._loaded_together[file] = serializers.load(path, file_format, in_step=True)
        return self._loaded_together[file][member]

    def _folder_of(self, name: str, spec: Mapping[str, Any]) -> Path:
        """Return an input folder; the worker has copied it out of the store, for a run by hand it is copied here."""
        path = Path(spec["path"])
        if path.is_dir():
            return path
        from jupyter_pipelines.storage.opening import open_store

        target = self._folder / "inputs" / name
        if not target.exists():
            open_store(self._ticket["store"], create=False).blobs.materialise(spec["digest"], target)
        return target

    def _wanted(self, name: str) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self._ticket["outputs"].get(name, {"kind": "value", "format": None})
        return spec

    def _written(self, name: str) -> Path | None:
        """Return the file or folder that the step wrote; many libraries add an ending of their own to the name."""
        path = self.path(name)
        if self._wanted(name)["kind"] == "folder":
            return path if path.is_dir() else None
        paths = (
            [path]
            if path.is_file()
            else [candidate for candidate in path.parent.glob(f"{name}.*") if candidate.is_file()]
        )
        # `np.save` and the like append their ending; with several candidates it is not known which is the output.
        return paths[0] if len(paths) == 1 else None

    def _missing(self, names: Mapping[str, None], namespace: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for name in names:
            if self._wanted(name)["kind"] == "value":
                if name not in namespace:
                    yield self._not_set(name, namespace)
            elif self._written(name) is None:
                yield self._not_written(name)

    def _changed(self) -> Iterator[Diagnostic]:
        changed = self._guard.changed()
        for name, sure in changed.items():
            if name in self._ticket["inputs"] and not self._group_of(name):
                yield self._changed_input(name, sure=sure)
        self._changed_members = [name for name in self._ticket["inputs"] if self._is_changed_member(name, changed)]
        for name in self._changed_members:
            if not self._is_left(name):
                yield self._changed_input(name, sure=changed.get(name, False))
                continue
            spec = self._ticket["inputs"][name]
            behind = [(_behind(spec, output), output, later) for output, later in spec.get("later", ())]
            for key, output, later in behind:
                if key in changed or not self._guard.knows(key):
                    yield self._changed_behind(name, output, later)
                    return

    def _is_changed_member(self, name: str, changed: Mapping[str, bool]) -> bool:
        """Tell whether a grouped input was changed; one that the step also outputs counts if that is not known."""
        if not self._group_of(name):
            return False
        return name in changed or (self._is_left(name) and not self._guard.knows(name))

    def _is_left(self, name: str) -> bool:
        """Tell whether an input, or another input of its group, is also an output of the step."""
        return any(member in self._ticket["outputs"] for member in self._group_of(name))

    def _group_of(self, name: str) -> list[str]:
        """Return the inputs stored in the same file as the input `name`, itself included; empty if stored alone."""
        spec = self._ticket["inputs"][name]
        if "#" not in spec.get("format", ""):
            return []
        return [other for other, known in self._ticket["inputs"].items() if known.get("digest") == spec["digest"]]

    def _changed_input(self, name: str, *, sure: bool) -> Diagnostic:
        expression = _copy_of(name, self._ticket)
        imported = "`import copy`, then " if expression.startswith("copy.") else ""
        return Diagnostic(
            code="JP307",
            message=f"step `{self._step}` changed its input `{name}` and does not declare it as an output",
            suggestion=f"work on a copy ({imported}`{name} = {expression}` first), or say that it changes: `-o {name}`",
            severity="error" if sure else "warning",
            step=self._step,
        )

    def _changed_behind(self, name: str, output: str, later: str) -> Diagnostic:
        """Return the error that a later step would load an object of a changed input in its state before the change."""
        both = " ".join(dict.fromkeys((*self._group_of(name), output)))
        return Diagnostic(
            code="JP307",
            message=f"step `{self._step}` changed its input `{name}`, which shares parts with `{output}`, "
            f"and step `{later}` takes `{output}` as it was before",
            suggestion=f"let step `{self._step}` take and leave all of them: `-i {both} -o {both}`",
            step=self._step,
        )

    def _twins(self, names: Mapping[str, None], namespace: Mapping[str, Any]) -> Iterator[Diagnostic]:
        values = [name for name in names if self._wanted(name)["kind"] == "value"]
        for first, second in combinations(values, 2):
            if namespace[first] is namespace[second] and not isinstance(namespace[first], _ALONE):
                yield Diagnostic(
                    code="JP213",
                    message=f"the outputs `{first}` and `{second}` of step `{self._step}` are one object",
                    suggestion=f"make one of them a copy if they are meant to be two values; a step that changes one "
                    f"takes both: `-i {first} {second}`",
                    severity="warning",
                    step=self._step,
                )

    def _write_manifest(self, document: Mapping[str, Any]) -> None:
        # Renamed when complete: a kernel that is killed while it writes must not leave a manifest that looks whole.
        # It is not flushed to the disk, as only the worker of this attempt reads it.
        temporary = self._folder / f"{MANIFEST}.new"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(document, file)
        temporary.replace(self._folder / MANIFEST)

    @property
    def _step(self) -> str:
        return str(self._ticket["step"])

    def _no_input(self, name: str) -> Diagnostic:
        known = ", ".join(self._ticket["inputs"]) or "none"
        return Diagnostic(
            code="JP310",
            message=f"step `{self._step}` has no input `{name}`",
            suggestion=f"use one of its inputs: {known}",
            step=self._step,
        )

    def _unloadable(self, name: str, error: Exception) -> Diagnostic:
        first = error.faults[0] if isinstance(error, PipelinesError) else None
        why = first.message if first else f"{type(error).__name__}: {error}"
        help_text = first.suggestion if first else "compute it again: `jupyter pipelines run NOTEBOOK --force`"
        return Diagnostic(
            code="JP310",
            message=f"the input `{name}` of step `{self._step}` cannot be loaded: {why}",
            suggestion=help_text,
            step=self._step,
        )

    def _not_set(self, name: str, namespace: Mapping[str, Any]) -> Diagnostic:
        near = closest_name(name, [variable for variable in namespace if not variable.startswith("_")])
        return Diagnostic(
            code="JP204",
            message=f"step `{self._step}` finished without setting its output `{name}`",
            suggestion=f"rename `{near}` to `{name}`, or write `-o {near}`"
            if near
            else f"assign `{name}` in the step, or take it out of `-o`",
            step=self._step,
            notes=(f"the step set a similar name: `{near}`",) if near else (),
        )

    def _not_written(self, name: str) -> Diagnostic:
        kind = self._wanted(name)["kind"]
        beside = sorted(file.name for file in self.path(name).parent.iterdir() if file.name != name)
        return Diagnostic(
            code="JP204",
            message=f"step `{self._step}` finished without writing its output {kind} `{name}`",
            suggestion=f"write to the path that the step is given in the variable `{name}`",
            step=self._step,
            notes=(f"found instead: {', '.join(beside[:5])}",) if beside else (),
        )

    def _noted(self, note: str) -> Diagnostic:
        return Diagnostic(
            code="JP205",
            message=note,
            suggestion="nothing has to be done; another type of value may be stored faster",
            severity="warning",
            step=self._step,
        )


def _behind(spec: Mapping[str, Any], output: str) -> str:
    """Return the guard's name for an output stored in one file with an input; a space keeps it apart from inputs."""
    return f"{spec['digest']} {output}"


def _copy_of(name: str, ticket: Mapping[str, Any]) -> str:
    from jupyter_pipelines.storage import serializers

    return serializers.copy_expression(ticket["inputs"][name].get("format") or serializers.BY_TYPE[-1], name)


def _no_ticket(path: str, error: Exception) -> Diagnostic:
    return Diagnostic(
        code="JP310",
        message=f"the inputs of this step are gone: `{path}` cannot be read",
        suggestion="run the pipeline again, and open the notebook of the new run",
        notes=(str(error),),
    )
