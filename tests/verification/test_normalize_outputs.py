"""What cells show, compared: what does not count, and what does."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest

from jupyter_pipelines.execution.kernel_side.cell_log import HEAD
from jupyter_pipelines.verification.normalize_outputs import is_cut, shown


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def value(data: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "execute_result", "data": data}


def alike(first: Any, second: Any, *, loose: bool = False) -> bool:
    return shown([first], folders={}, loose=loose) == shown([second], folders={}, loose=loose)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("<Thing at 0x7f1e5a3c>", "<Thing at 0x7fffffff>"),
        ("12.5 ms ± 3 µs per loop (mean ± std. dev. of 7 runs, 100 loops each)", "99 ns ± 1 ns per loop"),
        ("Wall time: 5 s", "Wall time: 9 ms"),
        ("/tmp/ipykernel_12/345.py:3: FutureWarning: x", "/tmp/ipykernel_99/1.py:8: FutureWarning: x"),
        (" 10%|#    | 1/10", " 90%|#### | 9/10"),
        ("1\r2\r3", "3"),
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_what_differs_from_run_to_run_does_not_count(first: str, second: str) -> None:
    assert alike(stream(first), stream(second))


@pytest.mark.parametrize(
    ("first", "second"), [("1.5", "1.50"), ("a b", "a  b"), ("2020-01-01 10:00", "2020-01-01 10:01"), ("0x1", "0x2")]
)
def test_what_a_person_would_see_counts(first: str, second: str) -> None:
    assert not alike(stream(first), stream(second))


def test_times_do_not_count_where_two_runs_differ_anyway() -> None:
    assert not alike(stream("at 10:00:01"), stream("at 10:00:02"))
    assert alike(stream("at 10:00:01"), stream("at 10:00:02"), loose=True)


def test_pieces_of_a_stream_are_one_text_and_errors_are_told_by_type_and_text() -> None:
    parts = [stream("one "), stream("two")]
    assert shown(parts, folders={}) == shown([stream("one two")], folders={})
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["a"]}
    assert shown([error], folders={}) == shown([{**error, "traceback": ["b", "c"]}], folders={})
    assert shown([error], folders={}) != shown([{**error, "ename": "IndexError"}], folders={})


def test_the_folder_in_which_a_copy_ran_goes_by_the_name_of_the_original() -> None:
    assert shown([stream("/work/.a.convert-x/b")], folders={"/work/.a.convert-x": "/work/a"}) == (
        ("stdout", "/work/a/b"),
    )


def test_of_a_long_text_the_beginning_and_the_end_count() -> None:
    whole = "x" * HEAD + "middle" * 10_000 + "end"
    kept = "x" * HEAD + "\n… 60,003 characters left out; all of it: /a.log …\n" + whole[-16_384:]
    assert alike(stream(whole), stream(kept))
    assert not alike(stream(whole), stream(kept[:-3] + "END"))
    assert is_cut([stream(whole)])
    assert not is_cut([stream("x" * HEAD), value({"text/plain": whole})])


def png(pixels: bytes, comment: bytes) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + chunk(b"tEXt", comment) + body + chunk(b"IEND", b"")).decode()


def test_of_a_picture_the_pixels_count() -> None:
    first = value({"image/png": png(b"\1\2", b"Software one"), "text/plain": "<Figure>"})
    same = value({"image/png": png(b"\1\2", b"Software two"), "text/plain": "<Figure>"})
    other = value({"image/png": png(b"\1\3", b"Software one"), "text/plain": "<Figure>"})
    assert alike(first, same)
    assert not alike(first, other)
