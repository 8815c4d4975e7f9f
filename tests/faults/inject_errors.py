"""Let each file system call fail in turn: ``python -m tests.faults.inject_errors SCENARIO KIND once|forever FOLDER``.

A process of its own, because what it puts in the place of `os` stays there. For every call that the scenario makes it
forks a child in which that call goes wrong, looks at what is left, does the same again without a fault, and compares
with what comes out when nothing ever went wrong. It prints how many faults there were, and the broken invariants.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.files import local_folder
from tests.faults import writers
from tests.faults.scenarios import SCENARIOS, Digests, FaultScenario, check
from tests.faults.shared_scenarios import SHARED_SCENARIOS, check_shared
from tests.faults.syscall_shim import SyscallShim

DONE, REFUSED, BUG, UNREACHED, UNCLEAR = 0, 3, 5, 6, 7
KILLED = -9
AT_MOST = 5000


def main(name: str, kind: str, how: str, folder: str) -> None:
    local_folder._MAX_THREADS = 1  # one after the other, so that each fault meets the same call each time
    scenario, verify = KNOWN[name] if name in KNOWN else (FaultScenario(BAD[name]), writers.torn_bytes)
    report = inject_each(scenario, kind, how == "forever", Path(folder), verify)
    sys.stdout.write(json.dumps(report))


def inject_each(
    scenario: FaultScenario, kind: str, forever: bool, folder: Path, verify: Callable[..., list[str]]
) -> dict:
    """Let each call go wrong in turn and return the count of faults, and the violations."""
    template, root = folder / "template", folder / "store"
    scenario.prepare(template)
    warm_up(scenario, folder / "warm", verify)
    expected = in_child(template, root, scenario, SyscallShim(str(root)), folder)[1]
    injected, answers, wrong = 0, {}, []
    for at in range(1, AT_MOST):
        code, _ = in_child(template, root, scenario, SyscallShim(str(root), kind, at, forever), folder)
        if code == UNREACHED:
            break
        injected += 1
        answers[code] = answers.get(code, 0) + 1
        here = [] if code in (DONE, REFUSED, KILLED) else [f"I8: ended with {code}"]
        here += ask_in_child(lambda: check_recovery(root, scenario, expected, verify))
        wrong += [f"{kind} at {at}: {violation}" for violation in here]
    return {"faults": injected, "answers": answers, "wrong": wrong}


def warm_up(scenario: FaultScenario, root: Path, verify: Callable[..., list[str]]) -> None:
    """Do it once here, so that no child has to import anything."""
    scenario.prepare(root)
    scenario.work(root)
    verify(root, harmed=True, dead=False)
    shutil.rmtree(root)
    gc.disable()
    gc.collect()
    gc.freeze()  # a child that touches no counter copies no page


def check_recovery(
    root: Path, scenario: FaultScenario, expected: Digests, verify: Callable[..., list[str]]
) -> list[str]:
    """Check what a fault left, work again, and check again."""
    wrong = [*verify(root, harmed=scenario.harmed)]
    again = dict(scenario.work(root))
    if again != expected:
        wrong += [f"I7: working again gives {again}, not {expected}"]
    later = verify(root, harmed=scenario.harmed, dead=False)
    return wrong + [f"after working again: {violation}" for violation in later]


def ask_in_child(question: Callable[[], list[str]]) -> list[str]:
    """Ask in a child process, which sees what the next process would see."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = question()
        except BaseException as error:  # noqa: BLE001
            answer = [f"cannot be looked at: {error!r}"]
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)


def in_child(
    template: Path, root: Path, scenario: FaultScenario, shim: SyscallShim, folder: Path
) -> tuple[int, Digests]:
    """Work on a copy of the template with a shim in place; return how it ended, and the digests."""
    shutil.rmtree(root, ignore_errors=True)
    if template.exists():
        shutil.copytree(template, root, symlinks=True)
    result = folder / "result"
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os._exit(work(scenario, root, shim, result))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(result.read_text()) if result.exists() else {}


def work(scenario: FaultScenario, root: Path, shim: SyscallShim, result: Path) -> int:
    """Do it, and say how it went as an exit code."""
    shim.install()
    try:
        digests = scenario.work(root)
    except StoreError as error:
        (diagnostic,) = error.faults
        if diagnostic.suggestion and (str(root) in diagnostic.message or diagnostic.code in MISSES):
            return REFUSED
        sys.stderr.write(f"UNCLEAR {diagnostic}\n")
        return UNCLEAR
    except AssertionError as error:
        # What a scenario asserts of a store that it cannot read: a miss is right there, wrong bytes never are.
        return BUG if "WRONG" in str(error) or not shim.at else REFUSED
    except OSError as error:
        if is_documented(error):
            return REFUSED
        return bug(error)
    except BaseException as error:  # noqa: BLE001
        return bug(error)
    result.write_text(json.dumps(digests))
    return DONE if shim.count >= shim.at else UNREACHED


def is_documented(error: OSError) -> bool:
    """Tell whether the scenario's own files could not be read or written: those are not the store's to explain."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "jupyter_pipelines" in frame.filename]
    return not ours or any(frame.name in ("put_files", "put_folder") for frame in ours)


def bug(error: BaseException) -> int:
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    sys.stderr.write(f"BUG {error!r} {' '.join(frames[1:-2])}\n")
    return BUG


BAD = {
    "in place": partial(writers.write_twice, writers.in_place),
    "without fsync": partial(writers.write_twice, writers.without_fsync),
}
KNOWN = {
    **{name: (scenario, check) for name, scenario in SCENARIOS.items()},
    **{name: (scenario, check_shared) for name, scenario in SHARED_SCENARIOS.items()},
}
MISSES = ("JP205", "JP404", "JP405")

if __name__ == "__main__":
    main(*sys.argv[1:])
