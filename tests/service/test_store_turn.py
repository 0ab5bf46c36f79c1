"""Writers of one process wait in line, and nobody is passed over."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from databases import new_job

from minidl.service.states import JobState
from minidl.service.store import Store
from minidl.service.store.turn import Turn

pytest_plugins = ["databases"]


def wait_until(condition: Any) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_first_come_first_served() -> None:
    turn = Turn()
    assert turn.acquire(timeout=0.0)
    came: list[int] = []

    def wait(number: int) -> None:
        if turn.acquire(timeout=60.0):
            came.append(number)
            turn.release()

    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=wait, args=[number]))
        threads[-1].start()
        wait_until(lambda: len(turn._line) == len(threads))
        if number == 2:
            assert not turn.acquire(timeout=0.01)  # who leaves the line is not waited for
    turn.release()
    for thread in threads:
        thread.join()
    assert came == list(range(6))
    assert turn.acquire(timeout=0.0)


def test_a_turn_that_comes_when_one_gives_up_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for interrupted in (False, True):
        turn = Turn()
        assert turn.acquire(timeout=0.0)

        def wait(_event: Any, _timeout: float, turn: Turn = turn, fail: bool = interrupted) -> bool:
            turn.release()  # gives it to who waits here, too late to be noticed
            if fail:
                raise KeyboardInterrupt
            return False

        with monkeypatch.context() as patch:
            patch.setattr(threading.Event, "wait", wait)
            if interrupted:
                with pytest.raises(KeyboardInterrupt):
                    turn.acquire(timeout=1.0)
            else:
                assert turn.acquire(timeout=1.0)
                turn.release()
        assert turn.acquire(timeout=0.0)


def test_fifty_clients_at_once(job_store: Store) -> None:
    def client(number: int) -> None:
        for key in range(4):
            job_store.submit(new_job(idempotency_key=f"{number}-{key}"), actor="ada")

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(client, range(50)))
    assert job_store.counts()[JobState.QUEUED] == 200
    assert job_store.last_event() == 200
