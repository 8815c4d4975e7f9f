"""Requests to stop, from threads and signals: recorded without interrupting a write."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_pipelines.execution.scheduler import stop
from jupyter_pipelines.execution.scheduler.stop import StopToken


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore every signal handler, even if a test fails."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_requests_are_taken_once() -> None:
    stop = StopToken()
    stop.request("train")
    stop.request()
    assert stop.take() == ["train", None]
    assert stop.take() == []


def test_an_interrupt_is_noted_and_raises_nothing() -> None:
    stop = StopToken()
    with stop.on_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert stop.take() == [None, None]


def test_an_interrupt_ends_what_may_be_interrupted() -> None:
    stop = StopToken()
    passed = []
    with stop.on_signals():
        try:
            with stop.interruptible():
                signal.raise_signal(signal.SIGINT)
                passed.append("not interrupted")
        except KeyboardInterrupt:
            passed.append("interrupted")
        assert stop.take() == [None]
        with stop.interruptible():
            passed.append("later blocks are not")
        signal.raise_signal(signal.SIGINT)
    assert passed == ["interrupted", "later blocks are not"]


def test_what_may_be_interrupted_is_not_begun_after_an_interrupt() -> None:
    stop = StopToken()
    stop.request()
    with pytest.raises(KeyboardInterrupt), stop.interruptible():
        raise AssertionError("not begun")
    assert stop.take() == [None]


def test_a_request_about_one_step_interrupts_nothing() -> None:
    stop = StopToken()
    stop.request("train")
    begun = False
    with stop.interruptible():
        begun = True
    assert begun


def test_handlers_are_given_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        _fail_while_installed()
    assert signal.getsignal(signal.SIGINT) is before


def _fail_while_installed() -> None:
    with StopToken().on_signals():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_the_process_is_sent_again_afterwards(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(stop.os, "kill", lambda pid, again: sent.append((pid, again)))
    signal.signal(number, signal.SIG_DFL)
    token = StopToken()
    with token.on_signals():
        signal.raise_signal(number)
        assert sent == []
    assert token.take() == [None]
    assert sent == [(stop.os.getpid(), number)]
    assert signal.getsignal(number) == signal.SIG_DFL


def test_what_is_ignored_or_handled_elsewhere_stays_so() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    stop = StopToken()
    with stop.on_signals():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    assert stop.take() == []


def test_other_threads_leave_signals_alone() -> None:
    seen: list[Any] = []
    before = signal.getsignal(signal.SIGINT)

    def read_handler() -> None:
        with StopToken().on_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=read_handler)
    thread.start()
    thread.join()
    assert seen == [before]
