"""Kill runners, kernels, workers and collectors of one pipeline at random: ``make soak``, ten minutes by default.

``ARGS="--minutes 2 --seed 7"``. It ends with 0 if no wrong bytes were served, nothing was stuck and nothing was left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.e2e.notebook_project import NotebookProject

STEPS = 12
SETTLED = 30.0
MARK = "JP_TEST_SOAK"


def cells(token: int) -> list[str]:
    """Return a pipeline of twelve steps in a diamond of diamonds; `token` makes it compute anew."""
    made = [f"%%step s0 -o v0\nv0 = [{token}] * 1000"]
    for number in range(1, STEPS):
        producers = sorted({(number - 1) // 2, number - 1})
        inputs = " ".join(f"v{producer}" for producer in producers)
        total = " + ".join(f"sum(v{producer}[:50])" for producer in producers)
        made.append(f"%%step s{number} -i {inputs} -o v{number}\nv{number} = [({total}) % 9973] * 1000")
    return made


def expected(token: int) -> int:
    """Return what the last step comes to."""
    values = [token]
    for number in range(1, STEPS):
        values.append(sum(50 * values[producer] for producer in {(number - 1) // 2, number - 1}) % 9973)
    return values[-1]


def soak_processes(mark: str) -> list[psutil.Process]:
    """Return all processes of this soak, also those that other processes started."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def kill_at_random(mark: str, chance: random.Random) -> str:
    """Kill one of them; return what it was."""
    candidates = soak_processes(mark)
    if not candidates:
        return ""
    victim = chance.choice(candidates)
    try:
        words = " ".join(victim.cmdline())
        victim.send_signal(signal.SIGKILL)
    except psutil.Error:
        return ""
    return next((word for word in ("gc", "run", "process", "zygote", "kernel") if word in words), "other")


def cycle(book: NotebookProject, token: int, mark: str, chance: random.Random, killed: dict[str, int]) -> list[str]:
    """Run and collect while things are killed, then run in peace; return what was wrong."""
    book.write(*cells(token))
    started = [book.start("run", "--json"), book.start("gc", "--older-than", "0", "--json")]
    deadline = time.monotonic() + 60
    while started[0].poll() is None and time.monotonic() < deadline:
        time.sleep(chance.uniform(0.05, 1.5))
        what = kill_at_random(mark, chance)
        killed[what] = killed.get(what, 0) + 1
    wrong = []
    for process in started:
        if process.poll() is None and process is started[0]:
            wrong.append("stuck: a run that was disturbed did not end in a minute")
            process.kill()
        process.communicate()
    answer = book.run()
    if answer.code != 0:
        return [*wrong, f"stuck: a plain re-run ended with {answer.code}: {answer.err[-500:]}"]
    value = book.value(f"s{STEPS - 1}.v{STEPS - 1}")
    if value != [expected(token)] * 1000:
        wrong.append(f"wrong bytes: {value[:3]}")
    states = {run["state"] for run in book.call("runs", "--json").document["runs"]}
    return wrong + (["stuck: a run still reads running"] if "running" in states else [])


def leftovers(book: NotebookProject, mark: str) -> list[str]:
    """Return what is left when no process works any more."""
    deadline = time.monotonic() + SETTLED
    while soak_processes(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    wrong = [f"left: {process}" for process in soak_processes(mark)]
    report = book.call("fsck")  # opening sweeps; it runs as a process of the soak and is gone when it answers
    wrong += [f"left: {path}" for path in (book.folder / ".pipelines" / "tmp").rglob("*") if path.is_file()]
    return wrong + ([] if report.code == 0 else [f"wrong bytes: {report.out}"])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen = options.parse_args()
    chance, mark = random.Random(chosen.seed), f"{os.getpid()}-{time.time_ns()}"
    wrong, killed, cycles = [], {}, 0
    end = time.monotonic() + 60 * chosen.minutes
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").touch()
        book = NotebookProject(Path(folder), environment={MARK: mark})
        while time.monotonic() < end:
            wrong += cycle(book, chosen.seed + cycles, mark, chance, killed)
            cycles += 1
        wrong += leftovers(book, mark)
    killed.pop("", None)
    kinds = ("wrong bytes", "stuck", "left")
    counts = ", ".join(f"{kind} {sum(violation.startswith(kind) for violation in wrong)}" for kind in kinds)
    sys.stdout.write(f"seed {chosen.seed}: {cycles} pipelines, {sum(killed.values())} kills {killed}: {counts}\n")
    sys.stdout.writelines(f"{violation}\n" for violation in wrong)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
