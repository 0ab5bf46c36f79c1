"""Gradients summed over ranks, while backward goes on.

An optimizer's gradients lie end to end in a flat array (`minidl.optim.flat`). It is cut into
*buckets*, neighbouring gradients of about a megabyte, from the last parameter to the first, because
backward comes to them in about that order. As soon as the gradients of a bucket are complete its
sum is started, without waiting for it, and goes on beside the rest of backward. All ranks start
buckets in the same order, whatever order their gradients come in: MPI pairs them by it.

MPI works on what was started only while it is called, so each gradient that arrives asks for news,
and a thread does in between (`minidl.distributed.progress`).

In a step that `minidl.compile` records, what is called here is taken down where it happens, so that
a replay starts each bucket right after the last of its gradients has been written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from minidl.autograd import recording
from minidl.autograd.arrival import listener
from minidl.autograd.primitive import Array, box
from minidl.autograd.reverse import EAGER, Leaf
from minidl.distributed.waiting import wait
from minidl.distributed.world import World
from minidl.optim.flat import FlatParameters
from minidl.optim.optimizer import Optimizer

#: Bytes from which a bucket is full. Smaller ones start earlier, and each costs a message.
BUCKET_BYTES = 1 << 20


@dataclass
class Bucket:
    """Neighbouring gradients that are summed in one message: ``members`` of ``part``."""

    part: FlatParameters
    members: range
    array: Array

    def fill(self) -> None:
        """Bring every gradient into the array: those that are not there are zero."""
        for i in self.members:
            self.part._adopt(i)
            if self.part.parameters[i].grad is None:
                self.part.views[i][1][...] = 0.0


class Sent(NamedTuple):
    """One message of a step: when it was started and found done (`time.perf_counter`)."""

    bytes: int
    started: float
    done: float


@dataclass
class Traffic:
    """What this rank has summed so far.

    ``messages`` and ``bytes`` count what was given to MPI, which sends more or less than that by
    its algorithm; ``waited`` are the seconds in which nothing else was done; ``last`` holds the
    messages of the last step in their order.
    """

    steps: int = 0
    messages: int = 0
    bytes: int = 0
    waited: float = 0.0
    last: list[Sent] = field(default_factory=list)


class GradientSum:
    """Sums an optimizer's gradients over ranks, as a context around the backward pass of a step.

    Each rank weighs its loss so that the sum over ranks is the loss of the whole batch: a mean over
    its own samples by its share of the samples. With gradient accumulation the context stands
    around the last backward pass alone; gradients of the earlier ones are summed with it. After it
    every rank has the same gradients, to the bit, and clipping and the optimizer's step follow as
    in one process. A parameter has a gradient if it has one on any rank.

    With one rank it does nothing.

    Parameters
    ----------
    world
        The ranks; all of them make this object, with the same model and optimizer.
    optimizer
        Whose gradients are to be summed. One that calls a closure several times a step (`LBFGS`)
        has the context in the closure, which returns the loss summed over ranks.
    overlap
        Start sums during backward; otherwise all after it, with the same result.
    bucket_bytes
        From how many bytes on a bucket is full.

    Attributes
    ----------
    traffic : Traffic
        Messages, bytes and seconds so far.

    Raises
    ------
    TypeError
        A parameter is of another dtype than float32 and float64, or lies on a device.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl import distributed, nn, optim
    >>> world = distributed.join()
    >>> model = nn.Linear(3, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> gradients = distributed.GradientSum(world, optimizer)
    >>> x = np.ones((8, 3), np.float32)[world.rank :: world.size]  # this rank's share
    >>> optimizer.zero_grad()
    >>> with gradients:
    ...     (model(x).square().sum() / 8).backward()
    >>> _ = optimizer.step()
    """

    def __init__(
        self,
        world: World,
        optimizer: Optimizer,
        *,
        overlap: bool = True,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        if bucket_bytes < 1:
            raise ValueError(f"GradientSum: bucket_bytes must be at least 1, got {bucket_bytes}")
        self.world, self.optimizer = world, optimizer
        self.overlap, self.bucket_bytes = overlap, bucket_bytes
        self.traffic = Traffic()
        self._channel: Any = world.channel()
        self._leaves: list[Any] = []
        self._layout = 0  # counts how often buckets have been cut
        self.buckets: list[Bucket] = []
        self._bucket_of: dict[Leaf, int] = {}
        #: While backward runs: the gradients that each bucket lacks, and the next to be started.
        self._lacking: list[set[Leaf]] = []
        self._next = 0
        self._token: Token[Any] | None = None
        #: What was started, in order (request, bytes, when), and when the first of it were done.
        self._started: list[tuple[Any, int, float]] = []
        self._ended: list[float] = []
        self._turn = threading.Lock()  # both are written by the thread that asks for news, too
        if world.size > 1:
            for part in self._parts():
                _check(part)

    def _parts(self) -> list[FlatParameters]:
        return [part for parts in self.optimizer._flat for part in parts]

    # ---- around backward ---------------------------------------------------------------------

    def begin(self) -> None:
        """Listen to the backward pass that follows; `finish` ends it."""
        if self.world.size == 1:
            return
        self._close()
        if self._started:
            raise RuntimeError(
                "GradientSum: an error left the step before in the middle of its sums, which other "
                "ranks still wait for; all ranks have to end"
            )
        self._lay_out()
        self._lacking = [
            {bucket.part.parameters[i].trace for i in bucket.members} for bucket in self.buckets
        ]
        self._next = 0
        self._token = listener.set(self._arrived)

    def finish(self, values: Any = None) -> Any:
        """Wait for all sums; from then on every rank has the same gradients.

        Parameters
        ----------
        values
            A few numbers of each rank (its loss, its weight) that are to be summed, too.

        Returns
        -------
        ndarray or None
            Their sums, float64.
        """
        if self.world.size == 1:
            return None if values is None else np.array(values, np.float64)
        self._close()
        return recording.run(self._finish, values)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self._close()

    def _close(self) -> None:
        if self._token is not None:
            listener.reset(self._token)
            self._token = None

    # ---- buckets -----------------------------------------------------------------------------

    def _lay_out(self) -> None:
        """Cut the arrays into buckets anew, if other parameters want a gradient than before."""
        parts = self._parts()
        leaves = [p.trace for part in parts for p in part.parameters]
        known = len(leaves) == len(self._leaves)
        if known and all(a is b for a, b in zip(leaves, self._leaves, strict=True)):
            return
        self._leaves = leaves
        self._layout += 1
        self.buckets = []
        for part in reversed(parts):
            _check(part)
            self.buckets += _cut(part, self.bucket_bytes)
        self._bucket_of = {
            bucket.part.parameters[i].trace: n
            for n, bucket in enumerate(self.buckets)
            for i in bucket.members
        }

    def _arrived(self, leaf: Leaf) -> None:
        """Note that a gradient is complete; start the buckets whose turn it is."""
        number = self._bucket_of.get(leaf)
        if number is None or not self.overlap:
            return
        if leaf not in self._lacking[number]:
            raise RuntimeError(
                f"GradientSum: a second backward pass reached a parameter of shape {leaf.shape} "
                "while its gradient is being summed; only the last pass of a step belongs here"
            )
        self._lacking[number].remove(leaf)
        before = self._next
        while self._next < len(self.buckets) and not self._lacking[self._next]:
            recording.run(self.start, self._layout, self._next)
            self._next += 1
        if before == self._next and before:
            recording.run(self.progress)

    def start(self, layout: int, number: int) -> None:
        """Start the sum of a bucket: what the listener does, and a replay does again.

        A program that was recorded before buckets were cut anew does not know when the new ones are
        complete; then they are started at the end.
        """
        if not self._started:
            self._lay_out()  # at every step, replayed or not, so that all ranks have the same
        if layout == self._layout:
            self._start(number)

    def _start(self, number: int) -> None:
        bucket = self.buckets[number]
        bucket.fill()
        self._send(bucket.array)
        if self.overlap and self.world.progress is not None:
            self.world.progress.begin(self.progress)

    def _send(self, array: Array) -> None:
        with self._turn:
            request = self._channel.Iallreduce(self.world.in_place, array)
            self._started.append((request, array.nbytes, time.perf_counter()))

    def progress(self) -> None:
        """Let MPI work on what has been started: likewise."""
        if not self._turn.acquire(blocking=False):
            return  # somebody is at it
        try:
            while len(self._ended) < len(self._started):
                if not self._started[len(self._ended)][0].Test():
                    return
                self._ended.append(time.perf_counter())
        finally:
            self._turn.release()

    def _finish(self, values: Any) -> Array | None:
        begun = time.perf_counter()
        if not self._started:
            self._lay_out()
        for number in range(len(self._started), len(self.buckets)):
            self._start(number)
        numbers = np.zeros(0) if values is None else np.array(values, np.float64).reshape(-1)
        members = [bucket.part.parameters[i] for bucket in self.buckets for i in bucket.members]
        there = [parameter.grad is not None for parameter in members]
        told = np.concatenate([numbers, there])
        self._send(told)
        if self.world.progress is not None:
            self.world.progress.end()  # from here on this thread asks by itself

        def done() -> bool:
            self.progress()
            return len(self._ended) == len(self._started)

        wait(done)
        for bucket, i, any_rank in zip(*self._members(), told[numbers.size :], strict=True):
            parameter = bucket.part.parameters[i]
            if any_rank and parameter.grad is None:
                parameter.trace.grad = box(bucket.part.views[i][1], EAGER, None)
        self._count(time.perf_counter() - begun)
        return None if values is None else told[: numbers.size]

    def _members(self) -> tuple[Sequence[Bucket], Sequence[int]]:
        pairs = [(bucket, i) for bucket in self.buckets for i in bucket.members]
        return [bucket for bucket, _ in pairs], [i for _, i in pairs]

    def _count(self, seconds: float) -> None:
        traffic = self.traffic
        traffic.last = [
            Sent(size, started, done)
            for (_, size, started), done in zip(self._started, self._ended, strict=True)
        ]
        traffic.steps += 1
        traffic.messages += len(traffic.last)
        traffic.bytes += sum(sent.bytes for sent in traffic.last)
        traffic.waited += seconds
        self._started.clear()
        self._ended.clear()


def _cut(part: FlatParameters, size: int) -> Iterator[Bucket]:
    """Cut a part into buckets, from the end; parameters that want no gradient stay outside."""

    def bucket(first: int, last: int) -> Bucket:
        piece = slice(part.pieces[first].start, part.pieces[last].stop)
        return Bucket(part, range(first, last + 1), part.grad[piece])

    last: int | None = None
    for i in reversed(range(len(part.parameters))):
        if part.parameters[i].requires_grad:
            last = i if last is None else last
            if (part.pieces[last].stop - part.pieces[i].start) * part.grad.itemsize >= size:
                yield bucket(i, last)
                last = None
        elif last is not None:
            yield bucket(i + 1, last)
            last = None
    if last is not None:
        yield bucket(0, last)


def _check(part: FlatParameters) -> None:
    if not isinstance(part.grad, np.ndarray):
        raise TypeError(
            "GradientSum: gradients are summed in the host's memory, and the model lies on "
            f"{part.parameters[0].device}"
        )
    if part.grad.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"GradientSum: float32 or float64 parameters are wanted, got {part.grad.dtype}"
        )
