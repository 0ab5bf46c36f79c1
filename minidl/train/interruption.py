"""Ctrl-C and SIGTERM: finish the step, write a checkpoint, end the run truthfully.

The first signal only leaves a note that the trainer reads between steps, so weights and optimizer
are never caught half updated. A second one interrupts at once; but not where it is a program that
stops the training, and may say so twice (systemd signals all processes of a service, and the
service then its own): for ending it at once a program has SIGKILL.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

#: Exit status by signal: 128 + 2 for Ctrl-C by the shell's custom; 75 (EX_TEMPFAIL of sysexits.h)
#: for SIGTERM tells a scheduler that the run can be taken up again.
EXIT_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 75}


class Interrupted(Exception):  # noqa: N818  (it is no error)
    """The run was asked to stop."""

    def __init__(self, signum: signal.Signals) -> None:
        super().__init__(signum.name)
        self.signum = signum
        self.exit_status = EXIT_STATUS[signum]


class Interruption:
    """Listens for the signals while it is entered; restores what was there before.

    Signals reach the main thread only: in another thread this listens to nothing. One that is
    entered within another knows what the outer one has heard before, and is as patient.

    Parameters
    ----------
    patient
        Take further SIGTERMs for the first one again.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in EXIT_STATUS:
                before = self._before[signum] = signal.signal(signum, self._receive)
                outer = getattr(before, "__self__", None)
                if isinstance(outer, Interruption):
                    self._received = self._received or outer._received
                    self._patient = self._patient or outer._patient
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._received is not None:
            if self._patient and signum == signal.SIGTERM:
                return
            raise KeyboardInterrupt
        self._received = signal.Signals(signum)

    @property
    def received(self) -> signal.Signals | None:
        """The signal that has arrived, if one has."""
        return self._received

    def check(self) -> None:
        """Raise `Interrupted` where a signal has arrived."""
        if self._received is not None:
            raise Interrupted(self._received)
