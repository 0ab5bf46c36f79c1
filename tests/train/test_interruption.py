"""Signals leave a note, are told between steps, and are given back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from minidl.train.interruption import Interrupted, Interruption


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_is_told_by_check(signum: signal.Signals, status: int) -> None:
    with Interruption() as interruption:
        interruption.check()
        os.kill(os.getpid(), signum)
        with pytest.raises(Interrupted) as caught:
            interruption.check()
    assert caught.value.signum is signum
    assert caught.value.exit_status == status
    assert str(caught.value) == signum.name


def test_a_second_signal_interrupts_at_once() -> None:
    with Interruption():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_are_given_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(ZeroDivisionError), Interruption():
        _ = 1 / 0
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_one_within_another_gives_back_to_the_outer() -> None:
    with Interruption() as outer:
        with Interruption() as inner:
            os.kill(os.getpid(), signal.SIGINT)
        outer.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            outer.check()
        with pytest.raises(Interrupted, match="SIGINT"):
            inner.check()


def test_what_the_outer_one_has_heard_the_inner_one_knows() -> None:
    with Interruption() as outer:
        os.kill(os.getpid(), signal.SIGTERM)
        with Interruption() as inner, pytest.raises(Interrupted, match="SIGTERM"):
            inner.check()
        with pytest.raises(Interrupted, match="SIGTERM"):
            outer.check()
        with Interruption(), pytest.raises(KeyboardInterrupt):  # it was the second one
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_patient_one_hears_sigterm_as_often_as_it_is_said() -> None:
    with Interruption(patient=True) as outer:
        with Interruption() as inner:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(Interrupted, match="SIGTERM"):
                inner.check()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        outer.check()


def test_in_another_thread_it_listens_to_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interruption() as interruption:
            seen.append(signal.getsignal(signal.SIGINT) is before)
            interruption.check()
            seen.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, True]
