"""How a rank waits for the others: by asking, with pauses that grow.

MPI's own waiting asks without a pause. That answers soonest where each rank has a core, but takes
the core from the rank that is waited for where there are more ranks than cores, and keeps Python
from handling a signal until the wait is over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

#: So often it is asked without a pause, then with the core offered to others.
_AT_ONCE, _YIELDING = 20, 200

#: Seconds of the first pause and of the longest.
_SHORTEST, _LONGEST = 20e-6, 500e-6


def wait(done: Callable[[], bool], *, limit: float | None = None) -> bool:
    """Return True as soon as ``done()`` holds, or False after ``limit`` seconds without."""
    for attempt in range(_YIELDING):
        if done():
            return True
        if attempt > _AT_ONCE:
            os.sched_yield()
    pause, end = _SHORTEST, None if limit is None else time.monotonic() + limit
    while not done():
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)
    return True
