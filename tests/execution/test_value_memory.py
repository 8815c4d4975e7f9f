"""Memory that large values take between steps in real runs: no process holds a second copy."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the most memory a process ever held"),
]
SIZE = 300_000_000

PEAK = """
import atexit, pathlib

def begin_anew():
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # making the value may take more than keeping it

def held(word):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(word))) * 1024

def keep(name, before):
    pathlib.Path(name).write_text(str(held("VmHWM") - before))
"""
ARRAY = """
import numpy as np
before = held("VmRSS")
atexit.register(keep, "saved", before)
value = np.arange({size} // 8, dtype="f8")
"""
FRAME = """
import numpy as np
import pandas as pd
import pyarrow
rows = {size} // 100
pd.DataFrame({{"a": [1], "s": ["x"]}}).to_feather("/dev/null")
before = held("VmRSS")
atexit.register(keep, "saved", before)
columns = {{number: np.arange(rows, dtype=kind) for number, kind in enumerate(["i8", "f8"] * 4)}}
value = pd.DataFrame(columns, copy=False)
del columns
value["s"] = pd.array(pyarrow.repeat("a word of some letters", rows).cast(pyarrow.large_string()), dtype="str")
"""
USE = """
import numpy as np
import pandas as pd
import pyarrow
before = held("VmRSS")
atexit.register(keep, "loaded", before)
"""
PROGRAM = """
import json, sys
from pathlib import Path
from jupyter_pipelines.execution.worker.worker import execute
from jupyter_pipelines.testing import *
from tests.execution.sample_tickets import TicketFactory

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024

factory = TicketFactory(Path(sys.argv[1]))
make, use = json.loads(sys.argv[2])
made = execute(factory.ticket(*make, outputs="value"))
assert made.fault is None, made.fault
# What is imported must not count, so the input is loaded after that.
ticket = factory.ticket(*use, inputs=made.outputs, outputs="total")
cells = ticket.notebook["cells"]
roles = [cell["metadata"]["jupyter_pipelines"]["role"] for cell in cells]
cells.insert(roles.index("inputs"), cells.pop(roles.index("step")))
used = execute(ticket)
assert used.fault is None, used.fault
total = factory.values(used.outputs)["total"]
print(json.dumps({"worker": held(), "size": made.outputs["value"].bytes, "total": total}))
"""


def figures(folder: Path, make: str, use: str) -> dict[str, int]:
    steps = json.dumps([[PEAK + make.format(size=SIZE) + "begin_anew()"], [PEAK + USE, use]])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder), steps],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout.splitlines()[-1])
    return sizes | {name: int((folder / "project" / name).read_text()) for name in ("saved", "loaded")}


@pytest.mark.parametrize(
    ("make", "use"),
    [(ARRAY, "total = float(value.sum())"), (FRAME, "total = float(value[0].sum() + value['s'].str.len().sum())")],
    ids=["array", "frame"],
)
def test_a_large_value_is_never_held_twice(make: str, use: str, tmp_path: Path) -> None:
    sizes = figures(tmp_path, make, use)
    assert sizes["size"] >= 0.9 * SIZE
    assert sizes["saved"] <= 1.3 * sizes["size"]
    assert sizes["loaded"] <= 1.3 * sizes["size"]
    assert sizes["worker"] <= 200_000_000


RUNNER = """
import atexit, sys
from pathlib import Path
from jupyter_pipelines.interfaces.cli.main import main

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    Path("runner").write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

atexit.register(held)
main()
"""


def test_the_runner_holds_nothing_of_a_large_value(tmp_path: Path) -> None:
    make = f"import numpy as np\nvalue = np.arange({SIZE} // 8, dtype='f8')\nbig.write_bytes(value.tobytes())"
    use = "total = float(value.sum()) + big.stat().st_size"
    book = NotebookProject(tmp_path).write(
        f"%%step make -o value -o big:file\n{make}", f"%%step use -i value -i big -o total\n{use}"
    )
    command = [sys.executable, "-c", RUNNER, "run", book.name]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert int((tmp_path / "runner").read_text()) * 1024 <= 200_000_000
    assert book.value("use.total") == sum(range(SIZE // 8)) + SIZE
