"""The agent in an engine's worker process: it runs parcels with a local executor, and reports progress.

Steps do not run in the engine's process itself: papermill changes the working directory of the whole process, and an
engine runs several tasks in one process. So the agent passes them to worker processes, as on the user's machine.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import queue
import shutil
import stat
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.execution.ticket import (
    InputSpec,
    KernelPreimports,
    PublishPaths,
    SourceFile,
    StepOutcome,
    StepTicket,
    TicketProgress,
)
from jupyter_pipelines.pipeline.secrets import SecretNotFound, reveal
from jupyter_pipelines.planning.keys import packages
from jupyter_pipelines.planning.keys.traces import details_of, question
from jupyter_pipelines.planning.traced_records import packages_asked
from jupyter_pipelines.storage.blobs.blobs import IncomingFile
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

logger = logging.getLogger(__name__)
Tell = Callable[[dict[str, Any]], None]
_PACE = 0.05
_LOOK = 0.5
"""Seconds between two checks whether the run still waits for a parcel."""
_LOG_PIECE = 16_384
_current: list[ParcelAgent] = []
_lock = threading.Lock()


@dataclass(slots=True, kw_only=True)
class _ParcelJob:
    """A running parcel."""

    ticket: StepTicket
    tell: Tell
    said: int = 0
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    done: queue.Queue[StepOutcome] = field(default_factory=queue.Queue)


class ParcelAgent:
    """Runs parcels on this machine, several at once.

    Parameters
    ----------
    jobs : int
        Largest number of parcels that run at once.
    """

    def __init__(self, jobs: int) -> None:
        self._local = LocalExecutor(jobs)
        self._orders: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._jobs: dict[str, _ParcelJob] = {}
        self._early: dict[str, bool] = {}
        # Each parcel has its own folder. Prestarted kernels begin in a neutral one, so that any parcel can use them.
        self._start = tempfile.mkdtemp(prefix="jp-")
        weakref.finalize(self, shutil.rmtree, self._start, ignore_errors=True)
        threading.Thread(target=self._work, name="jupyter-pipelines-agent", daemon=True).start()

    @classmethod
    def here(cls, jobs: int) -> ParcelAgent:
        """Return the agent of this process; create it at the first call."""
        with _lock:
            if not _current:
                _current.append(cls(jobs))
            return _current[0]

    def run(self, parcel: Mapping[str, Any], tell: Tell, wanted: Callable[[], bool]) -> dict[str, Any]:
        """Run a parcel to its end; return its outcome, with the digests of its notebook and its log.

        Parameters
        ----------
        parcel : Mapping
            See :func:`jupyter_pipelines.execution.executors.remote.parcels.pack`.
        tell : callable
            Called with progress reports and pieces of the log.
        wanted : callable
            Tells whether the run still waits for the outcome; otherwise the parcel is ended at once.

        Raises
        ------
        PipelinesError
            The store cannot be opened here, or lacks files of the parcel.
        """
        store = open_store(parcel["ticket"]["store"], create=False)
        try:
            folder = store.scratch(".parcel")
            try:
                job = _ParcelJob(ticket=replace(unpack_ticket(parcel, store, folder), start=self._start), tell=tell)
                self._orders.put(("run", job))
                return _packed_outcome(self._end_of(job, wanted), job.ticket, store, parcel)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            store.close()

    def _end_of(self, job: _ParcelJob, wanted: Callable[[], bool]) -> StepOutcome:
        while True:
            try:
                return job.done.get(timeout=_LOOK)
            except queue.Empty:
                if not wanted():
                    self.cancel(job.ticket.id, hard=True)
                    return job.done.get()

    def cancel(self, ticket: str, *, hard: bool) -> None:
        """Request the end of a parcel, also of one that is still being unpacked."""
        self._orders.put(("cancel", (ticket, hard)))

    def close(self) -> None:
        """End everything that runs."""
        self._orders.put(("close", None))

    def _work(self) -> None:
        """Execute orders and poll the local executor, which is not thread-safe: only this thread uses it."""
        while True:
            try:
                order, what = self._orders.get(block=not self._jobs)
            except queue.Empty:
                order, what = "", None
            if order == "close":
                self._local.close()
                return
            self._obey(order, what)
            for news in self._local.poll(_PACE) if self._jobs else ():
                self._heard(news)
            for job in self._jobs.values():
                _send_log(job)

    def _obey(self, order: str, what: Any) -> None:
        if order == "run":
            self._jobs[what.ticket.id] = what
            self._local.submit(what.ticket)
            if what.ticket.id in self._early:
                self._local.cancel(what.ticket.id, hard=self._early.pop(what.ticket.id))
        elif order == "cancel" and what[0] in self._jobs:
            self._local.cancel(what[0], hard=what[1])
        elif order == "cancel":
            self._early[what[0]] = what[1]

    def _heard(self, news: TicketProgress | StepOutcome) -> None:
        job = self._jobs.get(news.ticket)
        if job is None:
            return
        if isinstance(news, TicketProgress):
            _send(job, {"progress": news.to_dict()})
        else:
            del self._jobs[news.ticket]
            job.done.put(news)


def unpack_ticket(parcel: Mapping[str, Any], store: Store, folder: Path) -> StepTicket:
    """Lay out the files of a parcel in a folder; return its ticket with the paths changed to those of this machine.

    Raises
    ------
    StoreError
        The store lacks files of the parcel.
    ValueError
        A path leads out of the folder.
    """
    # Resolved: the step asks for files below its working directory, which the system tells without links.
    project = Path(os.path.realpath(folder)) / "project"
    cwd = project / parcel["cwd"]
    cwd.mkdir(parents=True)
    for place, digest in parcel["files"].items():
        store.blobs.copy(digest, _target_path(project, place))
    for place, digest in parcel["folders"].items():
        store.blobs.materialise(digest, _target_path(project, place))
    for place, text in parcel["texts"].items():
        if place not in parcel["files"]:
            _target_path(project, place).write_text(text, encoding="utf-8")
    for place in parcel["names"]:
        (_target_path(project, place)).mkdir(exist_ok=True)
    for place, (time_ns, mode) in parcel["marks"].items():
        path = _target_path(project, place)
        with contextlib.suppress(OSError):
            os.utime(path, ns=(time_ns, time_ns))
            path.chmod(mode | stat.S_IRUSR)
    ticket = StepTicket.from_dict(parcel["ticket"])
    there, here = ticket.path, str(folder / "run" / Path(ticket.path).name)
    own = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    ways = os.pathsep.join([*(str(project / way) for way in parcel["ways"]), *own]) if parcel["ways"] else ""
    return replace(
        ticket,
        notebook=_with_path_replaced(ticket.notebook, there, here),
        path=here,
        cwd=str(cwd),
        root=str(project),
        sources=[SourceFile(path=str(project / place), text=text) for place, text in parcel["texts"].items()],
        inputs={name: _located_input(given, project) for name, given in ticket.inputs.items()},
        environment={**ticket.environment, **({"PYTHONPATH": ways} if ways else {})},
        warm=_without_own_modules(ticket.warm),
        # A kernel with its own PYTHONPATH fits this parcel only, so none is prestarted for the next.
        following=[] if ways else [warm for warm in map(_without_own_modules, ticket.following) if warm is not None],
        publish=PublishPaths(notebook=f"{here}.ipynb", log=f"{here}.log"),
    )


def _without_own_modules(warm: KernelPreimports | None) -> KernelPreimports | None:
    """Return the preimports without those of the step alone: in the neutral folder they could find other modules."""
    return None if warm is None else {**warm, "own": ()}


def missing_secrets(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the secrets that are not available on this machine, each with the reason."""
    reasons = {}
    for name, reference in secrets.items():
        try:
            reveal(reference, Path.cwd())
        except SecretNotFound as error:
            reasons[name] = error.why
    return reasons


def _target_path(project: Path, place: str) -> Path:
    # A parcel comes over the network, unsigned: a path in it must not lead to other files of this user.
    path = Path(os.path.normpath(project / place))
    if not path.is_relative_to(project.parent):
        raise ValueError(f"leads out of the folder of the step: {place!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _located_input(given: InputSpec, project: Path) -> InputSpec:
    if given["kind"] != "file" or not given["path"].startswith("{project}/"):
        return given
    return {**given, "path": os.path.normpath(project / given["path"].removeprefix("{project}/"))}


def _with_path_replaced(notebook: Mapping[str, Any], before: str, now: str) -> dict[str, Any]:
    """Return a notebook with a path replaced, both as a JSON string and as a Python literal inside of one."""
    # The doubly encoded form first: code cells hold the path as a literal, which JSON encodes once more.
    text = json.dumps(notebook)
    forms = [(json.dumps(json.dumps(path))[1:-1], json.dumps(path)[1:-1]) for path in (before, now)]
    for old, new in zip(*forms, strict=True):
        text = text.replace(old, new)
    document: dict[str, Any] = json.loads(text)
    return document


def _packed_outcome(
    outcome: StepOutcome, ticket: StepTicket, store: Store, parcel: Mapping[str, Any]
) -> dict[str, Any]:
    there = parcel["ticket"]["path"]
    outcome = replace(outcome, trace=_with_versions(outcome.trace, ticket))
    brought: dict[str, Any] = {"outcome": outcome.to_dict(), "notebook": None, "log": None}
    if outcome.state == "succeeded":
        brought["written"] = _written_files(outcome, Path(ticket.root), store)
    notebook, log = Path(ticket.publish["notebook"]), Path(ticket.publish["log"])
    if notebook.is_file():
        text = json.dumps(_with_path_replaced(json.loads(notebook.read_text("utf-8")), ticket.path, there), indent=1)
        brought["notebook"] = store.blobs.put_bytes(text.encode()).digest
    if log.is_file():
        (stored,) = store.blobs.put_files([IncomingFile(path=log)])
        brought["log"] = stored.digest
    return brought


def _with_versions(trace: Mapping[str, str] | None, ticket: StepTicket) -> dict[str, str] | None:
    """Return a trace with the versions of packages that this machine has."""
    if trace is None or ticket.kernel is not None:
        return None if trace is None else dict(trace)
    names = packages_asked([trace])
    here = {question("package", name): version for name, version in packages.versions(names).items()}
    return {**trace, **here}


def _written_files(outcome: StepOutcome, project: Path, store: Store) -> dict[str, str]:
    """Put the files that a step wrote into the project into the store; return them with their digests."""
    asked = map(details_of, outcome.trace or ())
    names = [str(details[0]) for kind, *details in asked if kind in ("written", "left")]
    files = [name for name in names if not name.startswith(("/", "~")) and (project / name).is_file()]
    stored = store.blobs.put_files([IncomingFile(path=project / name) for name in files])
    return {name: blob.digest for name, blob in zip(files, stored, strict=True)}


def _send_log(job: _ParcelJob) -> None:
    """Send the next piece of the log, at most 16 kB; the complete log is stored with the outcome."""
    try:
        with Path(job.ticket.publish["log"]).open("rb") as file:
            file.seek(job.said)
            piece = file.read(_LOG_PIECE)
    except OSError:
        return
    if piece:
        job.said += len(piece)
        # Dask's messages cannot hold surrogates, and a piece may end within a character.
        _send(job, {"log": job.decoder.decode(piece), "ticket": job.ticket.id})


def _send(job: _ParcelJob, news: dict[str, Any]) -> None:
    try:
        job.tell(news)
    except Exception as error:  # noqa: BLE001 - whatever a connection can fail with; the outcome takes another way
        logger.info("messages of ticket %s are lost: %s", job.ticket.id, error)


def failed_outcome(ticket: Mapping[str, Any], error: PipelinesError) -> dict[str, Any]:
    """Return the answer for a parcel that could not be unpacked."""
    fault = replace(error.faults[0], step=ticket["step"])
    return {"outcome": StepOutcome(ticket=ticket["id"], state="failed", fault=fault).to_dict()}
