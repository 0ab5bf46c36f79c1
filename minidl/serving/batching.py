"""Requests that arrive together are answered together.

A model answers 32 samples in little more time than one, so samples of several requests are joined
into one batch. One thread runs the model: while it is busy, requests gather, and the next batch
takes what there is. ``max_wait`` lets a batch wait for more although the thread is free; the time
counts from when its oldest request arrived.

The queue is bounded: beyond that, a request is refused at once, so that waiting times stay bounded
as well. Nothing here knows of HTTP.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array

Answer = Callable[[Array], Array]


class QueueFullError(RuntimeError):
    """There is no room for a request's samples now."""


@dataclass(frozen=True)
class _Waiting:
    samples: Array
    future: Any
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """A queue of samples, and the thread that runs the model on them.

    Parameters
    ----------
    answer
        The model: samples ``(N, *)`` to answers ``(N, *)``, row by row; called in one thread.
    max_batch
        Samples the model is given at once, at most.
    max_wait
        Seconds that a request may wait for others to join it.
    max_queue
        Samples that may wait, at most.
    observe
        Told of each batch: its number of samples, and the seconds the model took.
    deliver
        Hands a batch's answers over: called in the model's thread, once a batch, with a function
        that settles its futures. At once by default; an event loop gives ``call_soon_threadsafe``.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        max_batch: int = 64,
        max_wait: float = 0.0,
        max_queue: int = 1024,
        observe: Callable[[int, float], None] = lambda samples, seconds: None,
        deliver: Callable[[Callable[[], None]], object] = lambda settle: settle(),
    ) -> None:
        self.max_batch = max_batch
        self.max_wait = max_wait
        self.max_queue = max_queue
        self._answer = answer
        self._observe = observe
        self._deliver = deliver
        self._queue: deque[_Waiting] = deque()
        self._samples = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="minidl-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Samples in the queue."""
        return self._samples

    @property
    def alive(self) -> bool:
        """Whether requests are taken and answered."""
        return self._thread.is_alive() and not self._closed

    def submit(self, samples: Array, future: Any = None) -> Any:
        """Put the samples of one request ``(N, *)`` into the queue; a future gets the answers.

        A future that is cancelled before its batch begins costs no more than its place.

        Parameters
        ----------
        future
            An event loop's own; by default one of `concurrent.futures`. It is returned.

        Raises
        ------
        QueueFullError
            The samples do not fit into the queue beside those that wait.
        RuntimeError
            The batcher was closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            if self._samples + len(samples) > self.max_queue:
                raise QueueFullError(
                    f"{self._samples} samples are waiting, and there is room for "
                    f"{self.max_queue}: {len(samples)} more do not fit; try again later"
                )
            waiting = _Waiting(samples, Future() if future is None else future)
            self._queue.append(waiting)
            self._samples += len(samples)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Take no more requests, answer those that were taken, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                outcomes = self._outcomes(batch)
                # One call for all: waking an event loop is a system call, and the loop takes the
                # interpreter away from this thread at each.
                self._deliver(partial(_settle, batch, outcomes))

    def _next_batch(self) -> list[_Waiting] | None:
        """Wait for requests and return those that go together and are still wanted.

        None when all is done.
        """
        with self._changed:
            while not self._queue:
                if self._closed:
                    return None
                self._changed.wait()
            end = self._queue[0].since + self.max_wait
            while self._samples < self.max_batch and not self._closed:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            batch: list[_Waiting] = []
            taken = 0
            # Whole requests, the first in any case: one larger than a batch is run in pieces.
            while self._queue:
                size = len(self._queue[0].samples)
                if batch and taken + size > self.max_batch:
                    break
                waiting = self._queue.popleft()
                self._samples -= size
                if not waiting.future.cancelled():
                    batch.append(waiting)
                    taken += size
            return batch

    def _outcomes(self, batch: list[_Waiting]) -> list[Any]:
        """Return each request's answers, or the exception that it ended in."""
        try:
            joined = batch[0].samples
            if len(batch) > 1:
                joined = np.concatenate([waiting.samples for waiting in batch])
            answers = self._in_pieces(joined)
        except Exception as error:
            if len(batch) == 1:
                return [error]
            # One may have failed the others: each on its own.
            return [outcome for waiting in batch for outcome in self._outcomes([waiting])]
        ends = accumulate(len(waiting.samples) for waiting in batch)
        return [answers[end - len(w.samples) : end] for w, end in zip(batch, ends, strict=True)]

    def _in_pieces(self, samples: Array) -> Array:
        parts = []
        for start in range(0, len(samples), self.max_batch):
            piece = samples[start : start + self.max_batch]
            begin = time.perf_counter()
            parts.append(self._answer(piece))
            self._observe(len(piece), time.perf_counter() - begin)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _settle(batch: list[_Waiting], outcomes: list[Any]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        # Whoever cancels meanwhile wants no answer. (Two classes until Python has made them one.)
        with suppress(asyncio.InvalidStateError, InvalidStateError):
            if isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)
