"""The options of a header: one table for parsing, completion, help and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from jupyter_pipelines.errors import closest_name

Takes = Literal["items", "names", "paths", "text", "count", "duration", "lifetime", "size", "axes", "share", "nothing"]
Kind = Literal["step", "params", "setup"]

KINDS: tuple[Kind, ...] = ("step", "params", "setup")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderOption:
    """An option of ``%%step``.

    Parameters
    ----------
    name : str
        Its long name without hyphens; also its key in the ``#|`` form.
    short : str
        Its short form with the hyphen; empty when there is none.
    takes : str
        What follows it. ``items``, ``names``, ``paths`` and ``axes`` may be repeated and add up, the others stand
        once.
    metavar : str
        How help texts write what follows it.
    help : str
        One line.
    label : str
        What the form in JupyterLab calls it; empty for an option that stands there by its name.
    example : str
        What the form says besides `help`.
    minimum : int
        Smallest value of a ``count``.
    """

    name: str
    short: str = ""
    takes: Takes
    metavar: str = ""
    help: str
    label: str = ""
    example: str = ""
    minimum: int = 0

    @property
    def long(self) -> str:
        """The option as it is written in a magic."""
        return f"--{self.name}"

    @property
    def usage(self) -> str:
        """The option with its short form and what follows it."""
        spellings = f"{self.short}/{self.long}" if self.short else self.long
        return f"{spellings} {self.metavar}".rstrip()

    @property
    def many(self) -> bool:
        """Whether it takes more than one word."""
        return self.takes in ("items", "names", "paths", "axes")


OPTIONS: tuple[HeaderOption, ...] = (
    HeaderOption(
        name="in",
        short="-i",
        takes="items",
        metavar="ITEM…",
        help="what the step takes",
        label="Inputs",
        example="`rows`, or `raw=data/x.csv` for a file",
    ),
    HeaderOption(
        name="out",
        short="-o",
        takes="items",
        metavar="ITEM…",
        help="what the step makes",
        label="Outputs",
        example="`model`, or `chart:file` for a file it writes",
    ),
    HeaderOption(
        name="param",
        short="-p",
        takes="items",
        metavar="NAME…",
        help="parameters the step uses",
        label="Parameters",
    ),
    HeaderOption(
        name="after", takes="names", metavar="STEP…", help="steps to wait for without taking anything from them"
    ),
    HeaderOption(
        name="optional", takes="names", metavar="NAME…", help="inputs that may be missing; they are then None"
    ),
    HeaderOption(
        name="foreach",
        takes="axes",
        metavar="NAME=VALUES…",
        help="run once for each value: 2,4,8, a parameter that holds a list, a folder or a pattern of files",
    ),
    HeaderOption(
        name="at-once", takes="count", metavar="N", help="how many items of a --foreach may run at once", minimum=1
    ),
    HeaderOption(name="allow-failed", takes="share", metavar="N|N%", help="how many items of a --foreach may fail"),
    HeaderOption(name="retries", takes="count", metavar="N", help="how often to try again after a failure"),
    HeaderOption(
        name="timeout", takes="duration", metavar="DURATION", help="stop an attempt after this time: 90, 30s, 2h"
    ),
    HeaderOption(name="no-cache", takes="nothing", help="never reuse the result"),
    HeaderOption(
        name="cache-for",
        takes="lifetime",
        metavar="DURATION|forever",
        help="how long to accept the result of code that asks the network or a program: 12h, 1d, forever",
    ),
    HeaderOption(
        name="ignore",
        takes="paths",
        metavar="PATH…",
        help="files of the project that do not count: logs/, *.tmp",
    ),
    HeaderOption(name="always", takes="nothing", help="run even if what is before it failed"),
    HeaderOption(name="cpus", takes="count", metavar="N", help="cores the step needs", minimum=1),
    HeaderOption(name="gpus", takes="count", metavar="N", help="GPUs the step needs"),
    HeaderOption(name="memory", takes="size", metavar="SIZE", help="memory the step needs: 512M, 8G"),
    HeaderOption(name="on", takes="text", metavar="TARGET", help="where the step runs"),
    HeaderOption(name="kernel", takes="text", metavar="NAME", help="the kernel the step runs in"),
)

BY_KEY: Mapping[str, HeaderOption] = MappingProxyType({option.name: option for option in OPTIONS})
BY_SPELLING: Mapping[str, HeaderOption] = MappingProxyType(
    {spelling: option for option in OPTIONS for spelling in (option.short, option.long) if spelling}
)
USAGE = ", ".join(option.usage for option in OPTIONS)

# Words after `#|` that belong to Quarto, nbdev and other tools: a step may have them, and they are ignored.
# `cache` is Quarto's as well, but `#| cache: false` in a step is about the step.
FOREIGN = frozenset(
    "align asis_output classes column default_exp echo eval export exporti exports filter_stream hide hide_input "
    "hide_line hide_output id include input label layout lst-cap lst-label message notest output output-location "
    "panel renderings results slow tags warning error active-ipynb active-py context".split()
)
FOREIGN_PREFIXES = ("code-", "fig-", "tbl-", "cap-", "layout-", "out-", "html-", "page-", "lst-")

_SYNONYMS: Mapping[str, str] = {
    "input": "in", "inputs": "in", "output": "out", "outputs": "out", "params": "param", "parameters": "param",
    "parameter": "param", "cache": "no-cache", "max-age": "cache-for", "ttl": "cache-for", "expires": "cache-for",
    "exclude": "ignore", "skip": "ignore", "nocache": "no-cache", "needs": "after", "depends": "after",
    "depends-on": "after", "prev": "after", "mem": "memory", "ram": "memory", "cpu": "cpus", "cores": "cpus",
    "for-each": "foreach", "map": "foreach", "over": "foreach", "at-most": "at-once", "parallel": "at-once",
    "allow-failures": "allow-failed", "may-fail": "allow-failed",
    "gpu": "gpus", "retry": "retries", "time-limit": "timeout", "compute": "on", "executor": "on", "target": "on",
}  # fmt: skip


def closest_option(text: str) -> HeaderOption | None:
    """Return the option that `text` is probably a misspelling of."""
    key = text.lstrip("-").lower().replace("_", "-")
    meant = _SYNONYMS.get(key) or closest_name(key, [option.name for option in OPTIONS])
    short = next((option for option in OPTIONS if option.short and text.lower().startswith(option.short)), None)
    return next((option for option in OPTIONS if option.name == meant), None if text.startswith("--") else short)
