"""`profile`: open a profile, run something, look at the tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns

from minidl.nn.module import Module
from minidl.profiling import chrome_trace, tables
from minidl.profiling.instruments import recording
from minidl.profiling.recorder import Event, Recorder


class Profile:
    """What was recorded: tables, and the events themselves.

    Times are of the wall clock, profiling included; what an operation costs when nobody profiles
    is a little less. Every table's column ``self`` adds up to `seconds`, by a row ``[other]`` for
    what ran between the recorded events.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._begin = perf_counter_ns()
        self._end = 0

    def _close(self) -> None:
        self._end = perf_counter_ns()
        self._recorder.finish()

    @property
    def events(self) -> list[Event]:
        """Every event, in the order of their beginnings.

        Raises
        ------
        RuntimeError
            The profiled block has not ended.
        """
        if not self._end:
            raise RuntimeError("profile: the block still runs; ask after the `with` statement")
        return self._recorder.events

    @property
    def seconds(self) -> float:
        """How long the profiled block ran."""
        _ = self.events
        return (self._end - self._begin) / 1e9

    def by_operation(self, *, shapes: bool = False, per: int = 1) -> tables.OperationTable:
        """Return a row an operation, forward and backward, the longest first.

        Parameters
        ----------
        shapes
            Whether an operation has a row for each combination of its arguments' shapes.
        per
            Divide times, calls and bytes by this, such as the number of steps.
        """
        return tables.by_operation(self.events, self.seconds, shapes=shapes, per=per)

    def by_layer(self, *, per: int = 1) -> tables.LayerTable:
        """Return a row a layer, forward and backward, in the order in which they were called.

        A layer's own time is that of its operations and of the Python around them, without the
        layers inside it; backward is the time of the nodes that its forward recorded.

        Parameters
        ----------
        per
            Divide times and calls by this, such as the number of steps.
        """
        return tables.by_layer(self.events, self.seconds, per=per)

    def by_phase(self, *, per: int = 1) -> tables.PhaseTable:
        """Return a row for each outermost model, backward walk, optimizer step and named phase.

        Parameters
        ----------
        per
            Divide times and calls by this, such as the number of steps.
        """
        return tables.by_phase(self.events, self.seconds, per=per)

    def chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write all events as a trace that ``chrome://tracing`` and Perfetto open."""
        chrome_trace.write(self.events, self._begin, path)


@contextmanager
def profile(model: Module | None = None) -> Iterator[Profile]:
    """Record what runs in this block, in this thread.

    Parameters
    ----------
    model
        Whose modules' names the tables show. Without it, names are those inside the outermost
        module that is called.

    Raises
    ------
    RuntimeError
        Another profile is open in this thread.

    Examples
    --------
    >>> import minidl
    >>> from minidl import nn
    >>> from minidl.profiling import profile
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> with profile() as p:
    ...     model(minidl.ones(2, 4)).sum().backward()
    >>> [row.name for row in p.by_layer().rows][:4]
    ['Sequential', '0 Linear', '1 ReLU', '2 Linear']
    """
    recorder = Recorder(model)
    with recording(recorder):
        found = Profile(recorder)
        try:
            yield found
        finally:
            found._close()
