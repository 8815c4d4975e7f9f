"""The Python that steps run in, as far as results depend on it: its minor version and installed packages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.planning.keys import packages

# Seconds. An interpreter that does not answer must not block planning.
_TIMEOUT = 60


class ProbedEnvironment(NamedTuple):
    """The probed facts of a Python: minor version, versions of packages, and which packages of kernels they require."""

    python: str
    versions: Mapping[str, str]
    required: Mapping[str, Sequence[str]] = {}


class PythonEnvironment:
    """A Python whose packages are looked up on demand, each at most once.

    Make a new environment for every plan: packages come and go while a notebook is open.

    Parameters
    ----------
    probe : callable
        Takes import names and returns :class:`ProbedEnvironment` for them.
    """

    def __init__(self, probe: Callable[[tuple[str, ...]], ProbedEnvironment]) -> None:
        self._look = probe
        self._python: str | None = None
        self._versions: dict[str, str] = {}
        self._required: dict[str, Sequence[str]] = {}

    @classmethod
    def current(cls) -> PythonEnvironment:
        """Return the environment of this process."""
        return cls(lambda names: ProbedEnvironment(**packages.answer(names)))

    @classmethod
    def of(cls, executable: str | Path, folder: str | Path | None = None) -> PythonEnvironment:
        """Return the environment of another interpreter; each look-up starts it, which takes about 0.1 s.

        Parameters
        ----------
        executable : str or Path
            The interpreter.
        folder : str, Path or None
            Where it is started: the notebook's folder, which is where a kernel is.
        """
        return cls(lambda names: _probe_interpreter(str(executable), folder, names))

    @classmethod
    def fixed(cls, python: str, versions: Mapping[str, str] | None = None) -> PythonEnvironment:
        """Return an environment with the given `versions`; a package without a version is not installed."""
        known_versions = dict(versions or {})
        return cls(
            lambda names: ProbedEnvironment(
                python, {name: known_versions.get(name, packages.MISSING) for name in names}
            )
        )

    @property
    def python(self) -> str:
        """Minor version of Python, for instance ``3.11``; with its name before it unless it is CPython.

        Raises
        ------
        PlanError
            The interpreter cannot be asked (JP604).
        """
        if self._python is None:
            self._find(())
        return str(self._python)

    def version(self, name: str) -> str:
        """Return the version of the package that ``import name`` gets, with checksums where the version is not enough.

        Raises
        ------
        PlanError
            The interpreter cannot be asked (JP604).
        """
        if name not in self._versions:
            self._find((name,))
        return self._versions[name]

    def used_beside_kernel(self, names: Iterable[str]) -> dict[str, str]:
        """Return the versions of loaded packages, without those that only the kernel itself needs.

        What every kernel loads counts where another package that is loaded requires it, and where it is not installed.

        Parameters
        ----------
        names : iterable of str
            Import names of what is loaded.

        Raises
        ------
        PlanError
            The interpreter cannot be asked (JP604).
        """
        loaded = set(names)
        used = loaded - packages.OF_KERNELS.keys()
        if not used:
            return {}
        self.prepare(loaded)
        # Looked for in vain, for instance as an optional dependency: what needs it finds it once it is installed.
        used |= {name for name in loaded if self._versions[name] == packages.MISSING}
        pending = list(used)
        while pending:
            needed = loaded.intersection(self._required.get(pending.pop(), ())) - used
            used |= needed
            pending += needed
        return {name: self._versions[name] for name in sorted(used)}

    def prepare(self, names: Iterable[str]) -> None:
        """Look up many packages at once, which takes hardly longer than to look up a single package.

        Raises
        ------
        PlanError
            The interpreter cannot be asked (JP604).
        """
        new = sorted(set(names) - set(self._versions))
        if new or self._python is None:
            self._find(tuple(new))

    def _find(self, names: tuple[str, ...]) -> None:
        probed = self._look(names)
        self._python = probed.python
        self._versions.update(probed.versions)
        self._required.update(probed.required)


def _probe_interpreter(executable: str, folder: str | Path | None, names: tuple[str, ...]) -> ProbedEnvironment:
    import subprocess

    # The text of the module is passed, not its path: the other interpreter need not have this package installed.
    script = Path(packages.__file__).read_text(encoding="utf-8")
    try:
        completed = subprocess.run(
            [executable, "-c", script, *names],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            # Without it, an interpreter that asks something would read from the terminal or from the pipe of a caller.
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(_probe_failed(executable, str(error))) from error
    try:
        document: dict[str, Any] = json.loads(completed.stdout)
        return ProbedEnvironment(str(document["python"]), document["versions"], document["required"])
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(
            _probe_failed(executable, (completed.stderr.strip() or repr(error)).splitlines()[-1])
        ) from error


def _probe_failed(executable: str, why: str) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"the Python `{executable}` does not say what it has installed",
        suggestion="repair it, or write another `--kernel`: `jupyter kernelspec list` shows what there is",
        notes=(why,),
    )
