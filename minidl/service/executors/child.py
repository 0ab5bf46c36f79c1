"""Child processes that do not outlive the process that has started them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def end_with_this_process() -> Callable[[], None] | None:
    """Return what a child does first: have Linux kill it when this process is killed.

    To be given to `subprocess.Popen` as ``preexec_fn``. None where there is nothing of the kind.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None)  # here, and not between fork and exec
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
