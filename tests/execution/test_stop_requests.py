"""Requests to stop a run, written to its folder: each is taken once, as whole lines, and repeats do not escalate."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.execution.runs import stop_requests
from jupyter_pipelines.execution.runs.stop_requests import FILE, StopRequests, request_stop


def test_requests_are_taken_once(tmp_path: Path) -> None:
    requests = StopRequests(tmp_path)
    assert requests.take() == []
    request_stop(tmp_path, step="train")
    request_stop(tmp_path)
    assert requests.take() == ["train", None]
    assert requests.take() == []


def test_requests_left_before_the_run_looks_are_heard(tmp_path: Path) -> None:
    request_stop(tmp_path)
    assert StopRequests(tmp_path).take() == [None]


def test_asking_again_is_not_asking_louder(tmp_path: Path) -> None:
    requests = StopRequests(tmp_path)
    request_stop(tmp_path)
    assert requests.take() == [None]
    request_stop(tmp_path)
    assert requests.take() == []
    assert (tmp_path / FILE).read_text().count("\n") == 1


def test_two_requests_at_the_same_moment_count_once(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(2 * '{"step": null, "now": false}\n')
    assert StopRequests(tmp_path).take() == [None]


def test_now_is_asking_twice_at_once(tmp_path: Path) -> None:
    requests = StopRequests(tmp_path)
    request_stop(tmp_path, step="train", now=True)
    assert requests.take() == ["train", "train"]


def test_now_after_asking_is_asking_once_more(tmp_path: Path) -> None:
    requests = StopRequests(tmp_path)
    request_stop(tmp_path)
    assert requests.take() == [None]
    request_stop(tmp_path, now=True)
    assert requests.take() == [None]
    request_stop(tmp_path)
    request_stop(tmp_path, now=True)
    assert requests.take() == []


def test_a_line_is_heard_when_it_is_whole(tmp_path: Path) -> None:
    requests = StopRequests(tmp_path)
    line = '{"step": "train", "now": false}\n'
    (tmp_path / FILE).write_text(line[:9])
    assert requests.take() == []
    with (tmp_path / FILE).open("a") as file:
        file.write(line[9:])
    assert requests.take() == ["train"]


@pytest.mark.parametrize("line", ["{", "[]", "null", '{"step": 3, "now": false}', '{"step": "a"}', "\x00\x01"])
def test_what_is_no_request_is_ignored(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(line + "\n")
    request_stop(tmp_path)
    assert StopRequests(tmp_path).take() == [None]


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    request_stop(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="ymbolic"):
        stop_requests.request_stop(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == ""
