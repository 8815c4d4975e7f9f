"""Packages that steps import and that are not installed; checked before anything runs.

Only what is certain is reported: an import at the top level of a cell or of shared code, in the kernel of this Python.
Where code may install the package, change the search path or make modules in another way, nothing is reported.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic, SourceLocation, shell_path
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step

# Installs, other search paths, other programs, other folders to work in, and packages that import what is no module.
_MAY_MAKE_MODULES = re.compile(
    r"\bsys\s*\.\s*(?:path|modules|meta_path|path_hooks)|\bfrom\s+sys\s+import|\bimport\s+sys\s+as"
    r"|install|\bpip3?\b|\bconda\b|\bmamba\b|PYTHONPATH|pythonpath|sitedir|\bchdir\b|\bsubprocess\b|\bos\.system\b|Popen"
    r"|(?<![.\w])(?:exec|eval|__import__)\s*\(|\bimportlib\b(?!\.(?:metadata|resources|util\.find_spec))|\bget_ipython\b|import_?hook"
    r"|\b(?:clr|cppimport|findspark|hy|import_ipynb|jpype|pythonnet|pyximport)\b"
    r"|^\s*%%(?:writefile|file|bash|sh|script|system|cython)\b|\b(?:urlretrieve|unpack_archive|extractall|clone_from|f2py)\b"
    r"|^\s*%(?!%|time|matplotlib|config|precision|autoreload)|(?:^|=)\s*!(?!=)",
    re.MULTILINE,
)
_PATIENCE = 30.0
"""Seconds for a new process to say what it finds; one that does not answer shows nothing."""
_CONFIGURATION = ("ipython_config.py", "ipython_kernel_config.py", "startup/*.py", "startup/*.ipy")
_DISTRIBUTIONS = {
    "Bio": "biopython",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}


def missing_packages(pipeline: Pipeline, on: str = "local") -> tuple[Diagnostic, ...]:
    """Return a fault for every import that certainly fails, because nothing of that name is installed.

    Parameters
    ----------
    pipeline : Pipeline
        The steps that may run.
    on : str
        Where steps run that do not say where.
    """
    # Other kernels and other machines have packages of their own.
    steps = [step for step in pipeline if not step.kernel and not step.gathering and (step.on or on) == "local"]
    absent = _absent({name for step in steps for name in step.packages}, pipeline)
    # One step may install, or write, what a later one imports.
    texts = [*_configuration(), *chain.from_iterable(map(_texts, pipeline))] if absent else []
    absent = {name for name in absent if not _is_named_as_file(name, texts)}
    if not absent or _may_make_modules(texts):
        return ()
    absent = _absent_for_new_process(absent, pipeline.folder)
    faults: dict[tuple[str, SourceLocation], Diagnostic] = {}
    for step in steps:
        names = absent.intersection(step.packages)
        if names:
            for name, place in _imports(step):
                if name in names and (name, place) not in faults:
                    faults[name, place] = _not_installed(pipeline, step, name, place)
    return tuple(faults.values())


def _absent(names: set[str], pipeline: Pipeline) -> set[str]:
    """Return the names that no module or package has, and no file that code might make a module of."""
    absent = {name for name in names if not _is_importable(name)}
    if absent:
        # Finders cache the contents of folders: a package installed a moment ago would not be found.
        importlib.invalidate_caches()
    folders = (pipeline.folder, pipeline.root, pipeline.root / "src")
    return {
        name for name in absent if not _is_importable(name) and not any(_is_beside(name, folder) for folder in folders)
    }


def _is_named_as_file(name: str, texts: Iterable[str]) -> bool:
    """Tell whether code names a file or folder of that name in a string: it may write the module itself."""
    named = re.compile(rf"[/'\"]{re.escape(name)}(?:\.\w+|/|['\"])")
    return any(map(named.search, texts))


def _absent_for_new_process(names: set[str], folder: Path) -> set[str]:
    """Return those of the names that a new process does not find either: this one may be older than an installation."""
    code = f"import importlib.util as u, sys; print(*(n for n in {sorted(names)!r} if u.find_spec(n) is None))"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    return names.intersection(asked.stdout.split())


def _is_importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, AttributeError, ValueError, OSError):  # a finder that fails shows nothing
        return True


def _is_beside(name: str, folder: Path) -> bool:
    # Whatever its ending: `import_ipynb`, Hy or `pyximport` import files that are no modules for Python.
    return (folder / name).exists() or any(folder.glob(f"{name}.*"))


def _may_make_modules(texts: Iterable[str]) -> bool:
    return any(_MAY_MAKE_MODULES.search(text) for text in texts)


def _configuration() -> Iterator[str]:
    """Yield the files of the user that a kernel runs when it starts."""
    folder = Path(os.environ.get("IPYTHONDIR") or Path.home() / ".ipython", "profile_default")
    for path in (path for pattern in _CONFIGURATION for path in folder.glob(pattern)):
        try:
            yield re.sub(r"^\s*#.*", "", path.read_text("utf-8", "replace"), flags=re.MULTILINE)
        except OSError:
            continue


def _texts(step: Step) -> Iterator[str]:
    yield from (cell.text for cell in step.cells)
    yield from (piece.source for piece in step.shared)
    yield from (module.source for module in step.modules)


def _imports(step: Step) -> Iterator[tuple[str, SourceLocation]]:
    """Yield the top-level name of every import that runs whenever the step does, with its place."""
    from jupyter_pipelines.notebook.headers.split import split_cell  # of no use where nothing is missing

    for piece in step.shared:
        if piece.kind in ("import", "setup"):
            split = split_cell(piece.source)
            for name, place in _imports_in(split.body, piece.source, piece.cell, split.offset):
                # Of a file that a cell runs, the line that runs it is known.
                yield name, replace(place, line=piece.line + (0 if piece.file else place.line - 1))
    for cell in step.cells:
        yield from _imports_in(cell.body, cell.text, cell.number, cell.offset)


def _imports_in(body: str, text: str, cell: int, offset: int) -> Iterator[tuple[str, SourceLocation]]:
    from jupyter_pipelines.notebook.code.cell_code import parse_code
    from jupyter_pipelines.notebook.code.name_usage import SourceSpan
    from jupyter_pipelines.notebook.linking.step_drafts import place_in

    code, lines = parse_code(body), text.split("\n")
    for statement in code.tree.body if code.tree else ():
        spans: list[tuple[str, SourceSpan]] = []
        if isinstance(statement, ast.Import):
            spans = [
                (alias.name, SourceSpan(0, alias.lineno, alias.col_offset, len(alias.name.encode())))
                for alias in statement.names
            ]
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            column = statement.col_offset + len("from ")
            spans = [(statement.module, SourceSpan(0, statement.lineno, column, len(statement.module.encode())))]
        for name, span in spans:
            yield name.partition(".")[0], place_in(lines, cell, span, offset=offset, indent=code.indent)


def _is_slip(written: str, name: str) -> bool:
    """Tell whether a name is another one with two letters exchanged, or one too many, too few or wrong, inside."""
    same_letters = sorted(written) == sorted(name)
    return same_letters or (written[0] + written[-1] == name[0] + name[-1] and abs(len(written) - len(name)) <= 1)


def _not_installed(pipeline: Pipeline, step: Step, name: str, place: SourceLocation) -> Diagnostic:
    import pkgutil

    # Nearer than other names have to be: `lxml` is not `xml`, and `httpx` is not `http`.
    near = get_close_matches(name, [module.name for module in pkgutil.iter_modules()], n=3, cutoff=0.8)
    closest = sorted((module for module in near if _is_slip(name, module)), key=sys.stdlib_module_names.__contains__)
    install = f"`{shell_path(sys.executable)} -m pip install {_DISTRIBUTIONS.get(name, name)}`"
    written_name = step.item.group if step.item else step.name
    return Diagnostic(
        code="JP223",
        message=f"step `{written_name}` imports `{name}`, which is not installed",
        # Never both: a package with a misspelt name may be a trap.
        suggestion=f"write `{closest[0]}`" if closest else f"install it: {install}",
        notebook=str(pipeline.notebook) if pipeline.notebook else None,
        step=written_name,
        place=place,
        notes=(f"the Python of the step's kernel: {sys.executable}",),
    )
