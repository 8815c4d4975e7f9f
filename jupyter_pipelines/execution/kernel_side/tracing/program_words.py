"""Read the words of a command: which programs it starts, which files it names, and whether that is all it can do.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

FILE_TOOLS = frozenset(
    """
    ar awk b2sum base32 base64 basename bc bunzip2 bzcat bzip2 cat chmod cksum cmp col column comm cp csplit cut date
    dc dd diff diff3 dirname dos2unix echo ed egrep expand expr factor false fgrep file fmt fold g++ gcc gawk grep
    gunzip gzip head hexdump hd iconv install jq join ln look ls lz4 lzma md5sum mkdir mktemp mv nl nm nproc numfmt
    objdump od patch paste pr printf ptx pwd readlink realpath rev rm rmdir sed seq sha1sum sha224sum sha256sum
    sha384sum sha512sum shasum shuf sleep sort split strings sum sync tac tail tar tee touch tr true
    truncate tsort unexpand uniq unix2dos unlink unlzma unxz unzip unzstd wc xxd xxhsum xz xzcat yes zcat zgrep zip
    zipinfo zstd zstdcat cc c++ clang clang++ gfortran ld as csvcut csvgrep csvsort csvstat dot neato
    """.split()
)
"""Programs that ask nothing but the files that they are given."""
PROBES = frozenset(
    """
    lscpu uname ldconfig fc-list fc-match fc-cache nvidia-smi rocm-smi rocminfo arch nproc sysctl lspci getconf
    hostname tty stty tput locale which whereis lsb_release system_profiler sw_vers xcode-select otool vm_stat
    """.split()
)
"""Programs that ask for the machine: that does not count."""
_WORKER_CODE = (
    "from multiprocessing.",
    "from joblib.externals.loky",
    "from loky.backend",
    "joblib.externals.loky.backend",
    "loky.backend.popen",
    "ipykernel_launcher",
)
_SHELLS = frozenset("sh bash dash zsh ksh".split())
_KEYWORDS = frozenset("if then elif else while until do ! { time exec command".split())
_NOTHING = frozenset(
    """
    fi done esac } ) ( : cd echo export set unset true false printf read exit return wait umask ulimit shift
    trap local declare readonly pwd break continue alias for in
    """.split()
)
"""Words of shells, and commands that they do themselves."""
_SEPARATORS = re.compile(r"[;|&()]+")
_REDIRECTION = re.compile(r"[<>&]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_VERSION = frozenset({"--version", "-V", "--help", "-h"})
_LISTS = re.compile(r"-[1aACxrRmpF]+|--all|--almost-all|--reverse|--recursive")
_COMPUTED = ("$", "`")


class ProgramUse(NamedTuple):
    """A program that is started.

    Parameters
    ----------
    name : str
        What it is called.
    words : tuple of str
        What is written behind its name: files among others.
    known : bool
        All that it can do is to read and write files.
    """

    name: str
    words: tuple[str, ...] = ()
    known: bool = True


def programs_of(words: Sequence[str]) -> Iterator[ProgramUse]:
    """Yield the programs that start when a program gets these words, the first of them its own name."""
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
    """Tell whether a program is a worker process of this step: it is watched like the step."""
    return any(part in word for word in words[1:] for part in _WORKER_CODE)


def programs_of_text(text: str, shell: str = "sh") -> Iterator[ProgramUse]:
    """Yield the programs that a shell starts for a text."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        if "<<" in line or any(sign in line for sign in _COMPUTED):
            yield ProgramUse(name=shell, known=False)
            continue
        try:
            for command in _commands(line):
                yield from _of_command(command, shell)
        except ValueError:
            yield ProgramUse(name=shell, known=False)


def _of_shell(name: str, words: Sequence[str]) -> Iterator[ProgramUse]:
    options = [word for word in words[1:] if word.startswith("-")]
    if len(words) >= 3 and options and options[-1].startswith("-") and options[-1].endswith("c"):
        position = words.index(options[-1]) + 1
        if position < len(words):
            yield ProgramUse(name=words[0])
            yield from programs_of_text(words[position], name)
            return
    yield ProgramUse(name=words[0], words=tuple(words[1:]), known=False)


def _commands(line: str) -> Iterator[list[str]]:
    """Yield the simple commands of a line, without what they are redirected to: that is named in the line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
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
        command = command[1:]
    if not command:
        return
    if command[0] in _NOTHING:
        leaves = command[0] == "cd" and (len(command) == 1 or command[1].startswith(("/", "~", "..")))
        yield ProgramUse(name=shell, words=tuple(command[1:]), known=not leaves)
        return
    yield from programs_of(command)


def _asks_files_only(name: str, words: Sequence[str]) -> bool:
    """Tell whether a program asks nothing but files that its words name or that are in the project."""
    if name not in FILE_TOOLS or any("://" in word or "/inet/" in word for word in words):
        return False
    if name in ("awk", "gawk", "sed") and any("system(" in word or "getline" in word for word in words):
        return False
    if name == "ls" and any(word.startswith("-") and not _LISTS.fullmatch(word) for word in words[1:]):
        return False  # it looks at files without opening them
    if name == "tar" and any(":" in word for word in words):
        return False
    return not any(word.startswith(("--use-compress-program", "--to-command", "--checkpoint-action")) for word in words)
