"""The contents of the URLs that steps take: each server is asked once in a plan, and all of them at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.pipeline.artifacts import Input, UrlSource
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.pipeline.url_inputs import UrlAnswer, UrlContent, UrlProblem, UrlRequest

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

# Of a server that failed, a picture shows this for so long; then, what was known before.
_SHOWN_SECONDS = 60.0


class UrlReader(Protocol):
    """Access to servers and to earlier answers of theirs."""

    def latest(self, step: str) -> StepRecord | None:
        """Return the newest record of the step called `step`."""

    def url_contents(self, requests: Iterable[UrlRequest]) -> Mapping[str, UrlAnswer]:
        """Return the present contents of URLs; the contents are in the store."""


class UrlAnswers:
    """The contents of the URLs that the steps of a pipeline take.

    Parameters
    ----------
    steps : iterable of Step
        The steps.
    reader : UrlReader
        Asks the servers.
    forced : collection of str
        Steps that are computed again whatever is stored: `--cache-for` does not spare their servers.
    age : float
        Seconds for which earlier answers are accepted in any case.
    look : bool
        Ask no server: the last contents that are known count.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        reader: UrlReader,
        forced: Collection[str] = (),
        *,
        age: float = 0.0,
        look: bool = False,
    ) -> None:
        self._steps = steps
        self._reader = reader
        self._forced = frozenset(forced)
        self._age = age
        self._look = look
        self._answers: Mapping[str, UrlAnswer] | None = None

    def ask(self, reader: UrlReader | None = None, chosen: Collection[str] | None = None) -> None:
        """Ask the servers, of which each is asked once; the answers hold until they are asked again.

        Parameters
        ----------
        reader : UrlReader or None
            Knows the records.
        chosen : collection of str or None
            Steps whose servers are asked; of other steps, the last contents that are known count. None are all steps.
        """
        requests: dict[str, UrlRequest] = {}
        for step in self._steps:
            look = self._look or (chosen is not None and step.name not in chosen)
            for step_input, source in url_inputs(step):
                request = self._request(step, step_input, source, reader or self._reader, look=look)
                other = requests.setdefault(source.url, request)
                requests[source.url] = UrlRequest(
                    url=source.url,
                    accepted=min(request.accepted, other.accepted),
                    failed=min(request.failed, other.failed),
                    known=tuple(dict.fromkeys((*other.known, *request.known))),
                    look=request.look and other.look,
                )
        self._answers = self._reader.url_contents(requests.values()) if requests else {}

    def of(self, source: UrlSource) -> UrlAnswer:
        """Return the content of a URL; asks all servers if that has not been done."""
        if self._answers is None:
            self.ask()
        return (self._answers or {}).get(source.url) or UrlProblem(text="its server was not asked")

    def documents(self, step: Step) -> dict[str, dict[str, str]]:
        """Return what records hold of the URLs of a step, by input."""
        answers = ((step_input.name, source, self.of(source)) for step_input, source in url_inputs(step))
        return {
            name: {"url": str(source), **answer.to_dict()}
            for name, source, answer in answers
            if isinstance(answer, UrlContent)
        }

    def change(self, step: Step, name: str, before: Mapping[str, Mapping[str, str]]) -> str:
        """Return how servers name the contents of an input then and now; empty if that says nothing."""
        source = next((source for step_input, source in url_inputs(step) if step_input.name == name), None)
        answer = self.of(source) if source else None
        if not isinstance(answer, UrlContent) or name not in before:
            return ""
        old, new = UrlContent.from_dict(before[name]).version, answer.version
        return f"{old} -> {new.removeprefix('ETag ')}" if old and new and old != new else ""

    def fault(self, step: Step, text: str) -> Diagnostic | None:
        """Return the fault for the URL of a step that cannot be checked and gives the reason `text`."""
        for step_input, source in url_inputs(step):
            answer = self.of(source)
            if isinstance(answer, UrlProblem) and problem_text(step_input, answer) == text:
                return Diagnostic(
                    code="JP224",
                    message=f"step `{step.name}` cannot run: {text}",
                    suggestion=_way_out(step, step_input, answer),
                    step=step.name,
                    place=step_input.place or step.place,
                )
        return None

    def _request(
        self, step: Step, step_input: Input, source: UrlSource, reader: UrlReader, *, look: bool
    ) -> UrlRequest:
        record = reader.latest(step.name)
        stored = record.urls.get(step_input.name) if record else None
        # A URL that hides something may be the URL of another content: then its server alone can say what it has.
        known = (UrlContent.from_dict(stored),) if stored and stored.get("url") == source.url == str(source) else ()
        if look:
            return UrlRequest(url=source.url, accepted=math.inf, failed=_SHOWN_SECONDS, known=known, look=True)
        accepted = 0.0 if step.name in self._forced else step.cache_for or 0.0
        return UrlRequest(url=source.url, accepted=max(accepted, self._age), failed=self._age, known=known)


def url_inputs(step: Step) -> Iterator[tuple[Input, UrlSource]]:
    """Yield the inputs of a step that are URLs."""
    for step_input in step.inputs:
        if isinstance(step_input.source, UrlSource):
            yield step_input, step_input.source


def problem_text(step_input: Input, problem: UrlProblem) -> str:
    """Return why a step cannot run whose input is a URL with a problem."""
    condition = "is missing" if problem.absent else "has not been checked" if problem.unasked else "cannot be checked"
    return f"its input `{step_input.name}` ({step_input.source}) {condition}: {problem.text}"


def _way_out(step: Step, step_input: Input, problem: UrlProblem) -> str:
    if problem.absent:
        return f"correct the URL, or write `--optional {step_input.name}` if it may be missing"
    if problem.refused:
        return "put user and password for this host into `~/.netrc`, or correct the URL"
    if step.cache_for == math.inf:
        return "try again when its server can be reached: it has to be asked once, and again with `--force`"
    if step.cache_for is not None:
        return "try again when its server can be reached; a longer `--cache-for` accepts what it said before"
    return (
        "try again when its server can be reached; with `--cache-for 1d` in the header it is asked once a day, "
        "and what it said is accepted until then"
    )
