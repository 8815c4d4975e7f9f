"""Features of statements: global settings, seeds, values that users tune, names in texts that are code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from jupyter_pipelines.notebook.parameters.literals import NotLiteral, literal
from jupyter_pipelines.pipeline.identifiers import NAME_LETTER, normal_name, only_names

_SETTING = re.compile(
    r"numpy\.(set_printoptions|seterr|set_string_function)"
    r"|pandas\.(set_option|reset_option|options\b|set_eng_float_format|plotting\.(de)?register|core\.config)"
    r"|matplotlib\.(rc\b|rc_file|use\b|rcParams|style\b|cm\.register)"
    r"|matplotlib\.(pyplot|pylab)\.(rc\b|rcParams|rcdefaults|style\b|ion\b|ioff\b|set_cmap|switch_backend|xkcd)"
    r"|seaborn\.(set\w*|reset\w*|despine_default)\b"
    r"|warnings\.(filterwarnings|simplefilter|resetwarnings)"
    r"|os\.(environ\b|putenv|chdir|unsetenv|umask)"
    r"|sys\.(path\b|setrecursionlimit|stdout|displayhook)"
    r"|locale\.setlocale|socket\.setdefaulttimeout|gc\.\w+"
    r"|decimal\.(getcontext|setcontext)"
    r"|logging\.(basicConfig|disable|getLogger|captureWarnings)"
    r"|sklearn\.set_config|tqdm\.[\w.]*pandas|nltk\.data\.path"
    r"|torch\.(set_\w+|backends\.)|tensorflow\.(get_logger|config\.|compat\.v1\.(logging|disable))"
    r"|plotly\.[\w.]*(init_notebook_mode|renderers\b|templates\b)|cufflinks\.(go_offline|set_config_file)"
    r"|holoviews\.(extension|notebook_extension|opts\.defaults)|altair\.(renderers|data_transformers)\.enable"
    r"|bokeh\.[\w.]*output_notebook"
    r"|IPython\.[\w.]*(set_matplotlib_\w+|InteractiveShell\.\w+|set_matplotlib_close)"
    r"|matplotlib_inline\.[\w.]*set_matplotlib_\w+|mpl_toolkits\.[\w.]*set_\w+"
    r"|xgboost\.set_config|statsmodels\.[\w.]*set_\w+"
)
_SETTING_MAGICS = frozenset(
    "matplotlib config load_ext reload_ext autoreload precision pylab colors xmode pprint aimport env set_env cd "
    "doctest_mode autosave pdb".split()
)
_SEED = re.compile(r"(numpy\.random\.(seed|set_state)|random\.(seed|setstate))$")
_RANDOM = re.compile(r"(numpy\.random\.[a-z]\w*|random\.[a-z]\w*)$")
_TUNED = re.compile(
    r"(path|file|dir|folder|url|root|seed|state|size|num|count|rate|alpha|beta|gamma|lambda|eta|eps|epsilon|tol|depth|"
    r"epochs?|batch|iter|iters|iterations|steps?|split|ratio|frac|fraction|threshold|limit|width|height|bins?|trees?|"
    r"estimators|clusters?|components|neighbors|neighbours|folds?|degree|order|lr|momentum|dropout|units|layers?|hidden|"
    r"penalty|kernel|metric|min|max|start|end|year|date|ticker|symbol|window|lag|top|samples|points|k|n|m)"
)
_PATH = re.compile(
    r"[\w.~-]*(/[\w.~ -]+)+/?|[\w -]+\.(csv|tsv|json|txt|xlsx?|parquet|feather|pkl|db|sqlite3?|h5|npy|npz|zip|gz)"
)
_FORMULAS = frozenset(
    "ols wls gls glm logit probit poisson mixedlm quantreg gee rlm phreg dmatrix dmatrices from_formula eval "
    "query".split()
)
_FILE_QUERIES = frozenset("exists lexists isfile isdir is_file is_dir getsize getmtime".split())
_WORD = re.compile(rf"(?<!\.)(?<!{NAME_LETTER})(?!\d){NAME_LETTER}+")
Imported = Mapping[str, str]
"""By name: what it was imported as, fully named."""


def imported_by(body: tuple[ast.stmt, ...]) -> Iterator[tuple[str, str]]:
    """Yield each name that statements import, with what it is, fully named."""
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module or ''}.{alias.name}".lstrip(".")


def root(node: ast.expr) -> str:
    """Return the name at the beginning of an expression such as ``shop.route("/")``; empty if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def full_name(node: ast.expr, imported: Imported) -> str:
    """Return the full name of an expression such as ``plt.style.use``; empty if it does not begin with an import."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            break
    if not isinstance(node, ast.Name) or node.id not in imported:
        return ""
    return ".".join([imported[node.id], *reversed(parts)])


def affected_names(body: tuple[ast.stmt, ...], imported: Imported) -> Iterator[str]:
    """Yield the full names of what statements call, assign to or delete, without bodies of functions."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        for target in _targets(node):
            yield full_name(target, imported)
        waiting.extend(ast.iter_child_nodes(node))


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        return [node.func]
    if isinstance(node, ast.Assign | ast.Delete):
        return [target for target in node.targets if isinstance(target, ast.Attribute | ast.Subscript)]
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def sets_something(text: str, body: tuple[ast.stmt, ...], imported: Imported) -> bool:
    """Return whether statements make a setting of the whole program."""
    last_line = text.strip().split("\n")[-1].strip()
    if last_line.startswith("%"):
        return last_line.lstrip("%").split(" ")[0] in _SETTING_MAGICS
    return any(_SETTING.match(name) for name in affected_names(body, imported) if name)


def changes_folder(text: str, body: tuple[ast.stmt, ...], imported: Imported) -> bool:
    """Return whether statements change the working directory."""
    return text.strip().startswith("%cd") or any(name.startswith("os.chdir") for name in affected_names(body, imported))


def sets_seed(body: tuple[ast.stmt, ...], imported: Imported) -> bool:
    """Return whether statements set the state of a global random generator."""
    return any(_SEED.match(name) for name in affected_names(body, imported))


def sets_seed_of(body: tuple[ast.stmt, ...], imported: Imported, generator: str) -> bool:
    """Return whether statements set the state of the global generator of ``numpy`` or ``random``."""
    start = "numpy.random." if generator == "numpy" else "random."
    return any(_SEED.match(name) and name.startswith(start) for name in affected_names(body, imported))


def uses_random(body: tuple[ast.stmt, ...], imported: Imported) -> bool:
    """Return whether statements visibly use a global random generator."""
    return any(_RANDOM.match(name) and not _SEED.match(name) for name in affected_names(body, imported))


def tuned_value(name: str, value: ast.expr) -> object | None:
    """Return the literal under `name` if users probably want to set it from outside, else None."""
    try:
        constant = literal(value)
    except NotLiteral:
        return None
    if isinstance(constant, str):
        return constant if _PATH.fullmatch(constant) or _is_tuned(name) else None
    if isinstance(constant, bool | int | float):
        return constant if name.isupper() or _is_tuned(name) else None
    return None


def _is_tuned(name: str) -> bool:
    return any(_TUNED.fullmatch(word) for word in re.split(r"[_\d]+", name.lower()) if word)


def names_in_texts(body: tuple[ast.stmt, ...]) -> set[str]:
    """Return every word of texts that are evaluated as code: formulas, queries, expressions."""
    words: set[str] = set()
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Call) and _called(node) in _FORMULAS:
            texts = (child.value for child in ast.walk(node) if isinstance(child, ast.Constant))
            # `@name` in a query refers to a variable of the code around it.
            names = (only_names(normal_name(text.replace("@", " "))) for text in texts if isinstance(text, str))
            words |= {word for text in names for word in _WORD.findall(text)}
    return words


def looks_for_files(body: tuple[ast.stmt, ...]) -> bool:
    """Return whether statements ask for the existence, the size or the time of files."""
    nodes = (node for statement in body for node in ast.walk(statement))
    return any(isinstance(node, ast.Call) and _called(node) in _FILE_QUERIES for node in nodes)


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
