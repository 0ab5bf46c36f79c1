"""A batch split over threads, in each of which BLAS runs on one.

BLAS takes several threads for a product, and nothing else does. So what stands around products
(copying patches, Winograd's transforms, pooling, norms) is split here by images or rows: a few
*groups* of the batch, which threads take one after the other. How a batch is split follows from
its shape alone, and sums over a batch are sums over its groups, added in order: so the bits do not
hang on how many threads there are.

Kernels release the interpreter's lock, as NumPy and BLAS do, so plain threads will do. How many
there are is `minidl.get_num_threads`. They never stand beside those of BLAS (which would take the
cores from each other, spinning), nor beside those of another split: what comes meanwhile, from a
prefetching thread or from inside a group, runs on the thread that it is on.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from threading import Lock
from typing import NamedTuple

from minidl import threads
from minidl.autograd.primitive import Array

#: Groups of a batch: as many threads can share the work of one kernel.
GROUPS = 4

#: Numbers that a kernel touches from which a split pays: it takes some 40 µs, a number up to 1 ns.
WORTHWHILE = 1 << 18


class Split(NamedTuple):
    """How the work on a batch is split."""

    groups: list[slice]
    #: Threads that will take groups, numbered from 0: each may have memory of its own.
    seats: int


def split(count: int, elements: int, least: int = 1) -> Split:
    """Split ``count`` images or rows into groups of ``least`` or more.

    ``elements`` are the numbers that the work touches, once for each pass: with few of them one
    thread takes all groups.
    """
    number = max(1, min(GROUPS, count // max(1, least)))
    bounds = [count * n // number for n in range(number + 1)]
    groups = [slice(*ends) for ends in itertools.pairwise(bounds)]
    seats = min(number, threads.get_num_threads()) if elements >= WORTHWHILE else 1
    return Split(groups, seats)


def each(work: Callable[[int, int], None], how: Split) -> None:
    """Call ``work(number, seat)`` for the number of each group, side by side where there are seats.

    All have ended when it returns; the first error is raised. Threads see the caller's context
    variables, such as `use_kernels` and NumPy's error states.
    """
    if how.seats == 1 or not _busy.acquire(blocking=False):
        for number in range(len(how.groups)):
            work(number, 0)
        return
    try:
        with threads.blas_on_one_thread():
            _side_by_side(work, how)
    finally:
        _busy.release()


def over(count: int, elements: int, work: Callable[[slice], None], least: int = 1) -> None:
    """Split ``count`` images or rows and call ``work`` for each group; see `split` and `each`."""
    how = split(count, elements, least)
    each(lambda number, _: work(how.groups[number]), how)


def blocks(group: slice, step: int) -> Iterator[slice]:
    """Yield a group ``step`` images or rows at a time, so many as stay in cache."""
    for start in range(group.start, group.stop, step):
        yield slice(start, min(group.stop, start + step))


def added(sums: Array) -> Array:
    """Return the sum of the groups' sums, which lie along the first axis and are used up."""
    whole: Array = sums[0]
    for more in sums[1:]:
        whole += more
    return whole


def _side_by_side(work: Callable[[int, int], None], how: Split) -> None:
    waiting = iter(range(len(how.groups)))  # next() of it is one step of the interpreter

    def take(seat: int) -> None:
        for number in waiting:
            work(number, seat)

    pool = _pool(threads.get_num_threads() - 1)
    others: list[Future[None]] = []
    try:
        for seat in range(1, how.seats):
            others.append(pool.submit(copy_context().run, take, seat))
        take(0)
    finally:
        wait(others)  # they write to the caller's memory, whatever has gone wrong here
    for other in others:
        other.result()


_busy = Lock()


@functools.lru_cache(maxsize=1)
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="minidl-kernel")


def _forget() -> None:
    """Make threads anew in a child process, which has none of its parent's."""
    global _busy
    _busy = Lock()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
