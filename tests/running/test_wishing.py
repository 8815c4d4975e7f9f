"""Wishes that a run stops, left in its folder: heard once each, whole lines only, and never twice as loud by chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.running import wishing
from jupyter_pipelines.running.wishing import FILE, Mailbox, leave


def test_wishes_are_taken_once(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    assert mailbox.take() == []
    leave(tmp_path, step="train")
    leave(tmp_path)
    assert mailbox.take() == ["train", None]
    assert mailbox.take() == []


def test_wishes_left_before_the_run_looks_are_heard(tmp_path: Path) -> None:
    leave(tmp_path)
    assert Mailbox(tmp_path).take() == [None]


def test_asking_again_is_not_asking_louder(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    leave(tmp_path)
    assert mailbox.take() == [None]
    leave(tmp_path)
    assert mailbox.take() == []
    assert (tmp_path / FILE).read_text().count("\n") == 1


def test_two_who_ask_at_the_same_moment_are_one(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(2 * '{"step": null, "now": false}\n')
    assert Mailbox(tmp_path).take() == [None]


def test_now_is_asking_twice_at_once(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    leave(tmp_path, step="train", now=True)
    assert mailbox.take() == ["train", "train"]


def test_now_after_asking_is_asking_once_more(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    leave(tmp_path)
    assert mailbox.take() == [None]
    leave(tmp_path, now=True)
    assert mailbox.take() == [None]
    leave(tmp_path)
    leave(tmp_path, now=True)
    assert mailbox.take() == []


def test_a_line_is_heard_when_it_is_whole(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    line = '{"step": "train", "now": false}\n'
    (tmp_path / FILE).write_text(line[:9])
    assert mailbox.take() == []
    with (tmp_path / FILE).open("a") as file:
        file.write(line[9:])
    assert mailbox.take() == ["train"]


@pytest.mark.parametrize("line", ["{", "[]", "null", '{"step": 3, "now": false}', '{"step": "a"}', "\x00\x01"])
def test_what_is_no_wish_is_ignored(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(line + "\n")
    leave(tmp_path)
    assert Mailbox(tmp_path).take() == [None]


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    leave(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="ymbolic"):
        wishing.leave(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == ""
