"""Batches made ahead, in a thread, while the step before is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Prefetch(Iterator[T]):
    """Iterates over ``source``, which runs in a thread of its own, up to ``depth`` items ahead.

    What ``source`` raises is raised here, in its turn. The thread ends when the iterator is
    exhausted, closed, or no longer referred to.
    """

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._items: queue.Queue[Any] = queue.Queue(depth)
        self._stop = threading.Event()
        # The thread refers to queue and event, not to this object, so that dropping it ends it.
        self._thread = threading.Thread(
            target=_fill,
            args=(source, self._items, self._stop),
            name="minidl-prefetch",
            daemon=True,
        )
        self._thread.start()

    def __next__(self) -> T:
        if self._stop.is_set():
            raise StopIteration
        kind, value = self._items.get()
        if kind == "item":
            return value  # type: ignore[no-any-return]
        self.close()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        while True:  # make room for a thread that waits to put something in
            try:
                self._items.get_nowait()
            except queue.Empty:
                break
        self._thread.join(timeout=10.0)

    def __del__(self) -> None:
        self._stop.set()


def _fill(source: Iterator[Any], items: queue.Queue[Any], stop: threading.Event) -> None:
    def put(entry: Any) -> bool:
        while not stop.is_set():
            try:
                items.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in source:
            if not put(("item", item)):
                return
    except BaseException as error:
        put(("error", error))
    else:
        put(("end", None))
