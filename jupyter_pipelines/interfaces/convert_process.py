"""Entry point of a conversion process: ``python -m jupyter_pipelines.interfaces.convert_process FOLDER``.

The folder holds an order; progress messages and the result are written there, too. The process forks at once, and the
parent ends when the child has written its identity: the caller then knows which process to look for.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

ORDER, OWNER, PROGRESS_LOG, RESULT = "order.json", "owner.json", "said.txt", "result.json"


def main(folder: Path) -> None:
    """Carry out the order in `folder`, and leave the result there."""
    from jupyter_pipelines.errors import PipelinesError
    from jupyter_pipelines.execution.blocked_imports import FORMATS, block_imports
    from jupyter_pipelines.interfaces.strict_json import strict_json_value

    block_imports(*FORMATS)
    order = json.loads((folder / ORDER).read_text("utf-8"))
    with (folder / PROGRESS_LOG).open("a", encoding="utf-8") as log:
        try:
            outcome = _converted(order, log)
        # Other errors are bugs: without a result file the caller reports that the process has died.
        except PipelinesError as error:
            faults = [fault.to_dict() for fault in error.faults]
            outcome = {"state": "failed", "result": None, "page": None, "faults": faults}
    _write_atomically(folder / RESULT, json.dumps(strict_json_value(outcome), default=str))


def _converted(order: Mapping[str, Any], log: IO[str]) -> dict[str, Any]:
    from jupyter_pipelines.project import Project
    from jupyter_pipelines.verification.side_by_side import side_by_side

    def tell(line: str) -> None:
        log.write(f"{line}\n")
        log.flush()

    source = Path(order["source"])
    target = source.with_name(order["target"]) if order["target"] else None
    result = Project().convert(source, target, static=order["static"], dry_run=order["dry_run"], tell=tell)
    return {"state": "done", "result": result.to_dict(), "page": side_by_side(result, source), "faults": []}


def _write_atomically(path: Path, content: str) -> None:
    """Write a file atomically."""
    # The server polls these files, and must never read one that is half written.
    half = path.with_suffix(".half")
    half.write_text(content, "utf-8")
    half.replace(path)


def _write_owner(folder: Path) -> None:
    """Write the identity of this process into the folder of the order."""
    from jupyter_pipelines.storage.files.process_identity import ProcessIdentity

    _write_atomically(folder / OWNER, json.dumps(ProcessIdentity.current().to_dict()))


def _daemonize(folder: Path) -> None:
    """Fork, so that init adopts this process; the caller waits until the identity of the child is written."""
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            # End of file without a byte means that the child died before it had written its identity.
            os._exit(0 if pipe.read() else 1)
    os.close(read_end)
    _write_owner(folder)
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(b"\n")


if __name__ == "__main__":
    # Jupyter's server may be restarted or its terminal closed during a conversion, which then goes on.
    _daemonize(Path(sys.argv[1]))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    main(Path(sys.argv[1]))
