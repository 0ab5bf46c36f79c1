"""A thread that asks while it is wanted, and waiting that ends."""

from __future__ import annotations

import threading

from minidl.distributed.progress import Progress
from minidl.distributed.waiting import wait


def test_a_thread_asks_until_it_is_told_to_stop() -> None:
    progress, asked = Progress(), threading.Semaphore(0)
    ended, late = threading.Event(), []

    def ask() -> None:
        if ended.is_set():
            late.append("asked after the end")
        asked.release()

    for _ in range(2):  # one thread for both
        progress.begin(ask)
        for _ in range(3):
            assert asked.acquire(timeout=60)
        progress.end()
    ended.set()
    again = threading.Semaphore(0)
    progress.begin(again.release)
    assert again.acquire(timeout=60)
    progress.end()
    assert late == []
    assert [t.name for t in threading.enumerate()].count("minidl-mpi") == 1


def test_waiting_ends_with_the_answer_or_the_limit() -> None:
    answers = iter([False] * 300 + [True])
    assert wait(lambda: next(answers))
    assert list(answers) == []
    assert not wait(lambda: False, limit=0.0)
    assert wait(lambda: True, limit=0.0)
