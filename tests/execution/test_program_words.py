"""Which programs a command starts, and whether they ask nothing but files."""

from __future__ import annotations

import pytest

from jupyter_pipelines.execution.kernel_side.tracing.programs.program_words import programs_of, programs_of_text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat data.csv", ["cat"]),
        ("cat a | sort -k 2 | head -1 > out.txt", ["cat", "sort", "head"]),
        ("LC_ALL=C sort a && wc -l b; ls -1a", ["sort", "wc", "ls"]),
        ("if grep -q x a; then cat b; fi", ["grep", "cat", "sh"]),
        ("echo done", ["sh"]),
        ("pip --version", ["pip"]),
        ("uname -a; nvidia-smi", []),
        ("# curl x", []),
        ("grep 'a b' data.csv\nsed s/a/b/ data.csv", ["grep", "sed"]),
        ("awk '{print $1}' d.csv", ["awk"]),
        ("awk -F, -v n=1 '$1 > 0 || $2 > n {print}' d.csv", ["awk"]),
        ("grep 'a$' d.csv | sed -n -e '2,$p' -e 's|a/b|`c`|g;/^#/d'", ["grep", "sed"]),
        ("sed -i.bak '1d; $!N; y/abc/xyz/' d.csv", ["sed"]),
        ("set -e\nexport A=1; jq -r '.a' d.json", ["sh", "sh", "jq"]),
        ("bash -ec 'cat d.csv'", ["bash", "cat"]),
    ],
)
def test_commands_that_ask_nothing_but_files(text: str, names: list[str]) -> None:
    uses = list(programs_of_text(text))
    assert [use.name for use in uses] == names
    assert all(use.known for use in uses)


@pytest.mark.parametrize(
    "text",
    [
        "curl -s x",
        "wget x",
        "ssh host cat data.csv",
        "psql -c 'select 1'",
        "aws s3 cp s3://a/b .",
        "gsutil cp gs://a/b .",
        "git status",
        "cat $HOME/x",
        "cat `which x`",
        "cat <<END\nx\nEND",
        "cat data.csv | xargs wc",
        "find . -name x",
        "ls -l",
        "[ -f x ] && cat x",
        "test -e x",
        "cd /elsewhere && cat x",
        "gcc https://x",
        "gawk 'BEGIN { getline < \"/inet/tcp/0/h/80\" }'",
        "awk 'BEGIN { system(\"curl x\") }'",
        "source x.sh",
        ". x.sh",
        "./tool",
        "sudo cat x",
        "eval cat x",
        "sh script.sh",
        "bash -c 'curl x'",
        "cat 'unfinished",
        "python script.py",
        """awk 'BEGIN{print ENVIRON["RATE"]}'""",
        "awk -f p.awk",
        "gawk -i p.awk 1",
        """awk '{print | "cmd"}' d.csv""",
        """awk '{"cmd" | getline x}' d.csv""",
        """awk 'BEGIN{ARGV[1]="/elsewhere"}' x""",
        "jq -n env.RATE",
        "jq -n '$ENV.RATE'",
        "jq -f p.jq d.json",
        "jq -rf p.jq d.json",
        "set | grep RATE",
        "set -o",
        "export -p",
        "export",
        "declare -p RATE",
        "readonly",
        "trap 'curl x' EXIT",
        "alias",
        "sed '1e git rev-parse HEAD' x",
        "sed s/a/b/e x",
        "sed 'r /elsewhere' x",
        "sed -n '/a/{p;w /elsewhere\n}' x",
        "sed -f p.sed x",
        "sed -nf p.sed x",
        "sed --file=p.sed x",
        "split --filter=curl x",
        "sort --compress-program=x y",
        "wc --files0-from=names",
        "tar -cI prog -f x.tar y",
        "date -r x",
        "diff -u a b",
        "ed x",
        "echo '!curl x' | dc",
        "PATH=bin cat x",
        "export PATH=bin; cat x",
        "cd sub && cat ../../x",
        "bash -lc 'cat x'",
        """awk "{print '$HOME'}" x""",
        "echo \\'$HOME\\'",
    ],
)
def test_commands_that_may_ask_more(text: str) -> None:
    assert any(not use.known for use in programs_of_text(text))


def test_code_that_names_workers_is_no_worker() -> None:
    code = "from multiprocessing.pool import ThreadPool; import os; os.system('curl x')"
    for words in (["python", "-c", code], ["curl", "-c", "from multiprocessing.spawn import spawn_main"]):
        assert [use.known for use in programs_of(words)] == [False]


@pytest.mark.parametrize(
    "words",
    [
        ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(3)"],
        ["python", "-m", "joblib.externals.loky.backend.popen_loky_posix"],
        ["python", "-c", "from multiprocessing.resource_tracker import main;main(5)"],
        ["/usr/bin/lscpu"],
        [],
    ],
)
def test_workers_and_probes_are_no_programs(words: list[str]) -> None:
    assert list(programs_of(words)) == []
