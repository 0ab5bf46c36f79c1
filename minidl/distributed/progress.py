"""A thread that asks MPI for news while the rank computes.

A library of MPI works on what was started only while it is called, and a computation calls it
seldom: between two gradients that arrive lie many milliseconds. MPI's own way out (a thread that
never rests) takes a core from the computation. This one sleeps between its questions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds between two questions. Over a network with a millisecond of delay, five times as many
#: hid no more of the waiting.
PAUSE = 1e-3


class Progress:
    """Calls a function again and again, between `begin` and `end`, in a thread of its own."""

    def __init__(self) -> None:
        self._ask: Callable[[], None] | None = None
        self._wanted = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, ask: Callable[[], None]) -> None:
        """Call ``ask`` from now on; it must not raise."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="minidl-mpi", daemon=True)
            self._thread.start()
        self._ask = ask
        self._wanted.set()

    def end(self) -> None:
        """Call it no more: no call is under way when this returns."""
        with self._turn:
            self._wanted.clear()
            self._ask = None

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(PAUSE)
            with self._turn:
                if self._ask is not None:
                    self._ask()
