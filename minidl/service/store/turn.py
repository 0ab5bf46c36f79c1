"""A lock that is given to who has waited longest.

Python's own may be taken again at once by the thread that let go of it: under load some of the
threads that wait for it would be passed over for many seconds.
"""

from __future__ import annotations

import threading
from collections import deque


class Turn:
    """Held by one thread at a time, in the order in which they came.

    Examples
    --------
    >>> turn = Turn()
    >>> turn.acquire(timeout=1.0), turn.acquire(timeout=0.0)
    (True, False)
    >>> turn.release()
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_taken = False
        self._line: deque[threading.Event] = deque()

    def acquire(self, *, timeout: float) -> bool:
        """Wait for one's turn; False where it has not come within some seconds."""
        called = threading.Event()
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return True
            self._line.append(called)
        try:
            if called.wait(timeout):
                return True
        except BaseException:  # Ctrl-C, perhaps when the turn has just come
            if not self._withdraw(called):
                self.release()
            raise
        return not self._withdraw(called)

    def _withdraw(self, called: threading.Event) -> bool:
        """Leave the line; False where it is too late: the turn is one's own."""
        with self._guard:
            if called not in self._line:
                return False
            self._line.remove(called)
            return True

    def release(self) -> None:
        """Give the turn to the next in line."""
        with self._guard:
            if self._line:
                self._line.popleft().set()
            else:
                self._is_taken = False
