"""The door that nobody stands at, for conversions: ``python -m jupyter_pipelines.interfaces.converter FOLDER``.

The folder holds an order; what is said meanwhile and the result go there, too. The process forks at once, and its first
half ends when the second has noted who it is: whoever started it then knows whom to look for.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

ORDER, OWNER, SAID, RESULT = "order.json", "owner.json", "said.txt", "result.json"


def main(folder: Path) -> None:
    """Carry out the order in `folder`, and leave the result there."""
    from jupyter_pipelines.errors import PipelinesError
    from jupyter_pipelines.interfaces.desk import strict
    from jupyter_pipelines.running.lean import FORMATS, leave_out

    leave_out(*FORMATS)
    order = json.loads((folder / ORDER).read_text("utf-8"))
    with (folder / SAID).open("a", encoding="utf-8") as said:
        try:
            found = _converted(order, said)
        except PipelinesError as error:
            faults = [fault.to_dict() for fault in error.faults]
            found = {"state": "failed", "result": None, "page": None, "faults": faults}
    _leave(folder / RESULT, json.dumps(strict(found), default=str))


def _converted(order: Mapping[str, Any], said: IO[str]) -> dict[str, Any]:
    from jupyter_pipelines.project import Project
    from jupyter_pipelines.proving.page import side_by_side

    def tell(line: str) -> None:
        said.write(f"{line}\n")
        said.flush()

    source = Path(order["source"])
    target = source.with_name(order["target"]) if order["target"] else None
    result = Project().convert(source, target, static=order["static"], dry_run=order["dry_run"], tell=tell)
    return {"state": "done", "result": result.to_dict(), "page": side_by_side(result, source), "faults": []}


def _leave(path: Path, content: str) -> None:
    """Let a file appear whole."""
    half = path.with_suffix(".half")
    half.write_text(content, "utf-8")
    half.replace(path)


def _introduce(folder: Path) -> None:
    """Note who works on the order."""
    from jupyter_pipelines.storing.owners import Owner

    _leave(folder / OWNER, json.dumps(Owner.current().to_dict()))


def _in_the_background(folder: Path) -> None:
    """Go on as a child of nobody; whoever started us goes on once it is known who we are."""
    mine, theirs = os.pipe()
    if os.fork():
        os.close(theirs)
        with os.fdopen(mine, "rb") as known:
            os._exit(0 if known.read() else 1)
    os.close(mine)
    _introduce(folder)
    with os.fdopen(theirs, "wb") as known:
        known.write(b"\n")


if __name__ == "__main__":
    _in_the_background(Path(sys.argv[1]))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    main(Path(sys.argv[1]))
