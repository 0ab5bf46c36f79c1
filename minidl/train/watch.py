"""What ends a training at any moment, a signal or the clock, and ends it for all ranks alike.

A signal may reach one rank and not the others, or all of them at different steps; each has a clock
of its own. So what a rank notices by itself has no effect yet: it is summed over the ranks, in each
step and after each batch of an evaluation, and all act on the sum, at the same point.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np

from minidl.distributed import World
from minidl.train.interruption import Interrupted, Interruption


@dataclass(frozen=True)
class Notice:
    """Ctrl-C, SIGTERM, and that the time is over: each 0, or how many ranks have noticed it."""

    interrupt: float = 0.0
    terminate: float = 0.0
    late: float = 0.0


class Watch:
    """Looks for signals and at the clock.

    Parameters
    ----------
    interruption
        Listens for signals.
    late
        Whether the time is over. On several ranks the first one's clock decides.
    """

    def __init__(
        self, interruption: Interruption, world: World, *, late: Callable[[], bool]
    ) -> None:
        self.interruption, self.world, self._late = interruption, world, late
        self._agreed = Notice()

    def notice(self) -> Notice:
        """Return what this rank has noticed by itself."""
        heard = self.interruption.received
        late = self.world.rank == 0 and self._late()
        return Notice(heard == signal.SIGINT, heard == signal.SIGTERM, late)

    def agreed(self, notice: Notice) -> None:
        """Take note of what all ranks have noticed."""
        self._agreed = notice

    def ask(self) -> None:
        """Hear what the other ranks have noticed; every rank calls this at the same point."""
        if self.world.size > 1:
            own = np.array(astuple(self.notice()), np.float64)
            self.agreed(Notice(*self.world.sum(own).tolist()))

    @property
    def late(self) -> bool:
        """Whether the time is over, for all ranks."""
        return self._late() if self.world.size == 1 else bool(self._agreed.late)

    def check(self) -> None:
        """Raise `Interrupted` where a signal has arrived, on one rank for all of them."""
        if self.world.size == 1:
            self.interruption.check()
        elif self._agreed.interrupt:
            raise Interrupted(signal.SIGINT)
        elif self._agreed.terminate:
            raise Interrupted(signal.SIGTERM)

    def ask_and_check(self) -> None:
        """Do both: what an evaluation does after each batch."""
        self.ask()
        self.check()
