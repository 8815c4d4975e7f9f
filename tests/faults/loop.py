"""Lets each call to the file system go wrong in turn: ``python -m tests.faults.loop SCENE KIND once|forever FOLDER``.

A process of its own, because what it puts in the place of `os` stays there. For every call that the scene makes it
forks a child in which that call goes wrong, looks at what is left, does the same again without a fault, and compares
with what comes out when nothing ever went wrong. It prints how many faults there were, and what was found wrong.
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
from jupyter_pipelines.storing import door
from tests.faults import writers
from tests.faults.scenes import SCENES, Digests, Scene, check
from tests.faults.shared import SHARED, check_both
from tests.faults.shim import Shim

DONE, REFUSED, BUG, UNREACHED, UNCLEAR = 0, 3, 5, 6, 7
KILLED = -9
AT_MOST = 5000


def main(name: str, kind: str, how: str, folder: str) -> None:
    door._AT_ONCE = 1  # one after the other, so that each fault meets the same call each time
    scene, verify = KNOWN[name] if name in KNOWN else (Scene(BAD[name]), writers.believed)
    found = faults(scene, kind, how == "forever", Path(folder), verify)
    sys.stdout.write(json.dumps(found))


def faults(scene: Scene, kind: str, forever: bool, folder: Path, verify: Callable[..., list[str]]) -> dict:
    """Let each call go wrong in turn and return the count of faults, and the violations."""
    template, root = folder / "template", folder / "store"
    scene.prepare(template)
    warm_up(scene, folder / "warm", verify)
    expected = in_child(template, root, scene, Shim(str(root)), folder)[1]
    injected, answers, wrong = 0, {}, []
    for at in range(1, AT_MOST):
        code, _ = in_child(template, root, scene, Shim(str(root), kind, at, forever), folder)
        if code == UNREACHED:
            break
        injected += 1
        answers[code] = answers.get(code, 0) + 1
        here = [] if code in (DONE, REFUSED, KILLED) else [f"I8: ended with {code}"]
        here += asked(lambda: judged(root, scene, expected, verify))
        wrong += [f"{kind} at {at}: {one}" for one in here]
    return {"faults": injected, "answers": answers, "wrong": wrong}


def warm_up(scene: Scene, root: Path, verify: Callable[..., list[str]]) -> None:
    """Do it once here, so that no child has to import anything."""
    scene.prepare(root)
    scene.work(root)
    verify(root, harmed=True, dead=False)
    shutil.rmtree(root)
    gc.disable()
    gc.collect()
    gc.freeze()  # a child that touches no counter copies no page


def judged(root: Path, scene: Scene, expected: Digests, verify: Callable[..., list[str]]) -> list[str]:
    """Look at what a fault left, work again, and look again."""
    wrong = [*verify(root, harmed=scene.harmed)]
    again = dict(scene.work(root))
    if again != expected:
        wrong += [f"I7: working again gives {again}, not {expected}"]
    later = verify(root, harmed=scene.harmed, dead=False)
    return wrong + [f"after working again: {one}" for one in later]


def asked(question: Callable[[], list[str]]) -> list[str]:
    """Ask in a process of its own, which sees what the next one would see."""
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


def in_child(template: Path, root: Path, scene: Scene, shim: Shim, folder: Path) -> tuple[int, Digests]:
    """Work on a copy of the template with a shim in place; return how it ended, and the digests."""
    shutil.rmtree(root, ignore_errors=True)
    if template.exists():
        shutil.copytree(template, root, symlinks=True)
    result = folder / "result"
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os._exit(work(scene, root, shim, result))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(result.read_text()) if result.exists() else {}


def work(scene: Scene, root: Path, shim: Shim, result: Path) -> int:
    """Do it, and say how it went as an exit code."""
    shim.install()
    try:
        digests = scene.work(root)
    except StoreError as error:
        (fault,) = error.faults
        if fault.suggestion and (str(root) in fault.message or fault.code in MISSES):
            return REFUSED
        sys.stderr.write(f"UNCLEAR {fault}\n")
        return UNCLEAR
    except AssertionError as error:
        # What a scene asserts of a store that it cannot read: a miss is right there, wrong bytes never are.
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
    """Tell whether the scene's own files could not be read or written: those are not the store's to explain."""
    ours = [one for one in traceback.extract_tb(error.__traceback__) if "jupyter_pipelines" in one.filename]
    return not ours or any(one.name in ("put_files", "put_folder") for one in ours)


def bug(error: BaseException) -> int:
    frames = [f"{Path(one.filename).name}:{one.lineno}:{one.name}" for one in traceback.extract_tb(error.__traceback__)]
    sys.stderr.write(f"BUG {error!r} {' '.join(frames[1:-2])}\n")
    return BUG


BAD = {
    "in place": partial(writers.working, writers.in_place),
    "without fsync": partial(writers.working, writers.without_fsync),
}
KNOWN = {
    **{name: (scene, check) for name, scene in SCENES.items()},
    **{name: (scene, check_both) for name, scene in SHARED.items()},
}
MISSES = ("JP205", "JP404", "JP405")

if __name__ == "__main__":
    main(*sys.argv[1:])
