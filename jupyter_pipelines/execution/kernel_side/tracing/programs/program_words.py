"""Analyse command lines: which programs they start, which files they name, and whether they can depend on more.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

FILE_TOOLS = frozenset(
    """
    ar awk b2sum base32 base64 basename bc bunzip2 bzcat bzip2 cat chmod cksum cmp col column comm cp csplit cut date
    dd diff diff3 dirname dos2unix echo egrep expand expr factor false fgrep file fmt fold g++ gcc gawk grep
    gunzip gzip head hexdump hd iconv install jq join ln look ls lz4 lzma md5sum mkdir mktemp mv nl nm nproc numfmt
    objdump od patch paste pr printf ptx pwd readlink realpath rev rm rmdir sed seq sha1sum sha224sum sha256sum
    sha384sum sha512sum shasum shuf sleep sort split strings sum sync tac tail tar tee touch tr true
    truncate tsort unexpand uniq unix2dos unlink unlzma unxz unzip unzstd wc xxd xxhsum xz xzcat yes zcat zgrep zip
    zipinfo zstd zstdcat cc c++ clang clang++ gfortran ld as csvcut csvgrep csvsort csvstat dot neato
    """.split()
)
"""Programs that depend on the files they are given only, and perhaps on environment variables."""
FILES_ONLY = frozenset(
    """
    awk b2sum base32 base64 basename cat cksum cmp comm cut dirname echo egrep expand expr factor false fgrep fmt fold
    gawk grep head hexdump iconv join md5sum nl od paste printf rev sed seq sha1sum sha224sum sha256sum sha384sum
    sha512sum sleep sort split strings sum tac tail tee touch tr true unexpand uniq wc xxd yes
    sh bash dash zsh ksh
    """.split()
)
"""Programs that depend on no variables but `LANG` and `LC_*`; shells, as far as their command lines are analysed."""
PROBES = frozenset(
    """
    lscpu uname ldconfig fc-list fc-match fc-cache nvidia-smi rocm-smi rocminfo arch nproc sysctl lspci getconf
    hostname tty stty tput locale which whereis lsb_release system_profiler sw_vers xcode-select otool vm_stat
    """.split()
)
"""Programs that describe the machine, which is no dependency of a step."""
_WORKER_CODE = (
    "from multiprocessing.spawn import spawn_main",
    "from multiprocessing.resource_tracker import main",
    "from multiprocessing.forkserver import main",
    "from joblib.externals.loky.backend",
    "from loky.backend",
    "joblib.externals.loky.backend.",
    "loky.backend.",
    "ipykernel_launcher",
)
"""Beginnings of the code or module name with which Python starts as a worker process."""
_SHELLS = frozenset("sh bash dash zsh ksh".split())
_KEYWORDS = frozenset("if then elif else while until do ! { time exec command".split())
_NOTHING = frozenset(
    "fi done esac } ) ( : cd echo unset true false printf read exit return wait shift pwd break continue for in".split()
)
"""Keywords and built-in commands of shells that start no program."""
_SETTING = frozenset("export declare local readonly".split())
"""Built-in commands that set variables; without an assignment they print all variables."""
_SHELL_OPTION = re.compile(r"[-+][aefhmnuvxCE]+|[-+]o|pipefail|errexit|nounset|xtrace")
_STARTING = re.compile(r"(?:PATH|ENV|BASH_ENV|IFS|CDPATH|LD_\w+|DYLD_\w+)=")
"""Assignments of variables that decide which program or code a shell runs."""
_TEXT_OPTION = re.compile(r"-[euxvfC]*c")
_SEPARATORS = re.compile(r"[;|&()]+")
_REDIRECTION = re.compile(r"[<>&]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_VERSION = frozenset({"--version", "-V", "--help", "-h"})
_LISTS = re.compile(r"-[1aACxrRmpF]+|--all|--almost-all|--reverse|--recursive")
_COMPUTED = ("$", "`")
_RUNS_PROGRAMS = (
    *("--use-compress-program", "--to-command", "--checkpoint-action", "--info-script", "--new-volume-script"),
    *("--rsh-command", "--compress-program", "--filter", "--files0-from", "--files-from", "--null"),
)
"""Beginnings of options by which tools start another program, or read file names from a file."""
_AWK_OPTION = re.compile(r"-[Fv].*|--(?:field-separator|assign)(?:=.*)?|--", re.DOTALL)
_AWK_ASKS = re.compile(r"ENVIRON|SYMTAB|PROCINFO|ARGV|ARGC|\||system|getline|@")
_JQ_ASKS = re.compile(r"\benv\b|\$ENV|\binclude\b|\bimport\b|\binput_filename\b")
_SED_ADDRESS = r"(?:\d+|\$|/(?:\\.|[^/\\\n])*/I?)"
_SED_COMMAND = re.compile(
    rf"""\s*(?:{_SED_ADDRESS}(?:[,~][+~]?{_SED_ADDRESS})?)?\s*!?\s*(?:
    [pdnNhHgGxDPlz={{}}] | [qQ]\s*\d* | [aic]\b.*
    | s(?P<mark>[^\w\s\\])(?:\\.|(?!(?P=mark))[^\\])*(?P=mark)(?:\\.|(?!(?P=mark))[^\\])*(?P=mark)[gpiIm0-9]*
    | y(?P<sign>[^\w\s\\])(?:\\.|(?!(?P=sign))[^\\])*(?P=sign)(?:\\.|(?!(?P=sign))[^\\])*(?P=sign)
    )?\s*(?:[;\n]|(?=\}})|(?<=\{{)|$)""",
    re.VERBOSE,
)
"""A sed command that neither starts a program nor names a file."""


class ProgramUse(NamedTuple):
    """A program that a command line starts.

    Parameters
    ----------
    name : str
        Its name or path, as written.
    words : tuple of str
        Its arguments, which may name files.
    known : bool
        It depends on files only.
    """

    name: str
    words: tuple[str, ...] = ()
    known: bool = True


def programs_of(words: Sequence[str]) -> Iterator[ProgramUse]:
    """Yield the programs that an argument list starts; its first word is the program's name."""
    if not words or is_worker(words):
        return
    name = os.path.basename(words[0])
    if name in PROBES:
        return
    if name in _SHELLS:
        yield from _of_shell(name, words)
    elif len(words) == 2 and words[1] in _VERSION:
        yield ProgramUse(name=words[0])
    else:
        yield ProgramUse(name=words[0], words=tuple(words[1:]), known=_asks_files_only(name, words))


def is_worker(words: Sequence[str]) -> bool:
    """Tell whether an argument list starts a Python worker process (multiprocessing, loky, ipykernel)."""
    is_python = words[:1] and os.path.basename(words[0]).startswith(("python", "pypy"))
    code = (word for option, word in itertools.pairwise(words) if option in ("-c", "-m"))
    return bool(is_python) and next(code, "").startswith(_WORKER_CODE)


def programs_of_text(text: str, shell: str = "sh") -> Iterator[ProgramUse]:
    """Yield the programs that a shell starts for a script; the shell itself, unknown, for lines that cannot be read."""
    moves = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        # Here-documents and substitutions are computed by the shell: what they start is not in the line.
        if "<<" in line or any(sign in _without_single_quotes(line) for sign in _COMPUTED):
            yield ProgramUse(name=shell, known=False)
            continue
        try:
            for command in _commands(line):
                moves = moves or (command[:1] == ["cd"] and len(command) > 1)
                yield from _of_command(command, shell)
        except ValueError:
            yield ProgramUse(name=shell, known=False)
    if moves and ".." in text:
        yield ProgramUse(name=shell, known=False)  # its relative paths start from another folder


def _without_single_quotes(line: str) -> str:
    """Return the part of a line in which a shell expands: no single-quoted text, no escaped characters."""
    rest, quote, position = [], "", 0
    while position < len(line):
        sign = line[position]
        if quote == "'":
            quote = "" if sign == "'" else quote
        elif sign == "\\":
            position += 1
        elif sign in ("'", '"') and quote in ("", sign):
            quote = "" if quote else sign
        else:
            rest.append(sign)
        position += 1
    return "".join(rest)


def _of_shell(name: str, words: Sequence[str]) -> Iterator[ProgramUse]:
    if len(words) >= 3 and _TEXT_OPTION.fullmatch(words[1]):
        yield ProgramUse(name=words[0])
        yield from programs_of_text(words[2], name)
    else:
        yield ProgramUse(name=words[0], words=tuple(words[1:]), known=False)


def _commands(line: str) -> Iterator[list[str]]:
    """Yield the simple commands of a line; targets of redirections remain among their words, as files."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    # shlex would end the line at a `#` inside of a word, where a shell does not.
    lexer.whitespace_split, lexer.commenters = True, ""
    command: list[str] = []
    for word in lexer:
        if _SEPARATORS.fullmatch(word):
            yield command
            command = []
        elif not _REDIRECTION.fullmatch(word):
            command.append(word)
    yield command


def _of_command(command: list[str], shell: str) -> Iterator[ProgramUse]:
    while command and (command[0] in _KEYWORDS or _ASSIGNMENT.match(command[0])):
        if _STARTING.match(command[0]):
            yield ProgramUse(name=shell, known=False)
        command = command[1:]
    if not command:
        return
    if command[0] in _NOTHING:
        leaves = command[0] == "cd" and (len(command) == 1 or command[1].startswith(("/", "~", "..", "-")))
        yield ProgramUse(name=shell, words=tuple(command[1:]), known=not leaves)
    elif command[0] in _SETTING or command[0] == "set":
        yield ProgramUse(name=shell, words=tuple(command[1:]), known=_only_sets(command))
    else:
        yield from programs_of(command)


def _only_sets(command: Sequence[str]) -> bool:
    """Tell whether a built-in command sets variables or options only, and prints none."""
    words = command[1:]
    if command[0] == "set":
        return bool(words) and words not in (["-o"], ["+o"]) and all(map(_SHELL_OPTION.fullmatch, words))
    return bool(words) and all(_ASSIGNMENT.match(word) and not _STARTING.match(word) for word in words)


def _asks_files_only(name: str, words: Sequence[str]) -> bool:
    """Tell whether a program depends only on files that its arguments name or that are in the project."""
    if name not in FILE_TOOLS or any("://" in word or "/inet/" in word for word in words):
        return False
    check = _CHECKS.get(name)
    return (check is None or check(words)) and not any(word.startswith(_RUNS_PROGRAMS) for word in words)


def _awk_asks_files_only(words: Sequence[str]) -> bool:
    options = [word for word in words[1:] if word.startswith("-") and len(word) > 1]
    texts = [word.replace("||", "") for word in words[1:]]
    return all(map(_AWK_OPTION.fullmatch, options)) and not any(map(_AWK_ASKS.search, texts))


def _jq_asks_files_only(words: Sequence[str]) -> bool:
    options = [word for word in words[1:] if word.startswith("-")]
    if any(word == "--from-file" or (word[1:2] != "-" and not {"f", "L"}.isdisjoint(word)) for word in options):
        return False
    return not any(map(_JQ_ASKS.search, words[1:])) and not os.path.lexists(os.path.expanduser("~/.jq"))


def _sed_asks_files_only(words: Sequence[str]) -> bool:
    scripts, others, rest = [], [], list(words[1:])
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            if not re.fullmatch(r"--(?:quiet|silent|regexp-extended|separate|null-data|in-place)(?:=.*)?", word):
                return False
        elif not word.startswith("-") or word == "-":
            others.append(word)
        elif not re.fullmatch(r"-[nErsuz]*(?:e.*|i.*)?", word, re.DOTALL):
            return False
        elif re.match(r"-[nErsuz]*e", word):
            scripts.append(word.partition("e")[2] or (rest.pop(0) if rest else ""))
    return all(map(_is_plain_sed, scripts or others[:1]))


def _is_plain_sed(script: str) -> bool:
    """Tell whether a sed script neither starts a program nor names a file."""
    position = 0
    while position < len(script):
        command = _SED_COMMAND.match(script, position)
        if command is None or command.end() == position:
            return False
        position = command.end()
    return True


def _ls_asks_files_only(words: Sequence[str]) -> bool:
    return not any(word.startswith("-") and not _LISTS.fullmatch(word) for word in words[1:])


def _tar_asks_files_only(words: Sequence[str]) -> bool:
    options = [word for word in words[1:2] if "=" not in word] + [word for word in words[2:] if word.startswith("-")]
    return not any(":" in word for word in words) and not any(
        not word.startswith("--") and not {"I", "F", "T"}.isdisjoint(word) for word in options
    )


def _date_asks_files_only(words: Sequence[str]) -> bool:
    return not any(word.startswith(("-r", "-f", "--reference", "--file")) for word in words[1:])


def _diff_asks_files_only(words: Sequence[str]) -> bool:
    return not any(re.match(r"--(?:unified|context)|-[a-zA-Z]*[ucUC]", word) for word in words[1:])


_CHECKS: dict[str, Callable[[Sequence[str]], bool]] = {
    "awk": _awk_asks_files_only,
    "gawk": _awk_asks_files_only,
    "jq": _jq_asks_files_only,
    "sed": _sed_asks_files_only,
    "ls": _ls_asks_files_only,
    "tar": _tar_asks_files_only,
    "date": _date_asks_files_only,
    "diff": _diff_asks_files_only,
}
"""Checks of the arguments of tools that can also run programs, or depend on variables, file lists or file times."""
