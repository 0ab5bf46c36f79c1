"""The events as a file that trace viewers open.

The Trace Event Format (the Chromium project's document of that name): an object with a list of
``traceEvents``, times in microseconds. A piece of time is a *complete* event (``"ph": "X"``) with
``ts`` and ``dur``; a viewer stacks those of one thread by their times, so what was nested looks
nested. *Metadata* events (``"ph": "M"``) give process and thread their names.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.profiling.recorder import Event


def write(events: Sequence[Event], begin: int, path: str | os.PathLike[str]) -> None:
    """Write ``events``, with times since ``begin`` (nanoseconds), to ``path``."""
    where = {"pid": os.getpid(), "tid": threading.get_native_id()}
    named = [
        {"name": what, "ph": "M", "ts": 0, **where, "args": {"name": name}}
        for what, name in (("process_name", "minidl"), ("thread_name", "profiled thread"))
    ]
    trace = {
        "traceEvents": [*named, *(_complete(event, begin) | where for event in events)],
        "displayTimeUnit": "ms",
    }
    Path(path).write_text(json.dumps(trace, separators=(",", ":")), encoding="utf-8")


def _complete(event: Event, begin: int) -> dict[str, Any]:
    args: dict[str, Any] = {}
    if event.shapes:
        args["input shapes"] = [list(shape) for shape in event.shapes]
    if event.layer is not None and event.kind != "layer":
        args["layer"] = str(event.layer)
    if event.bytes:
        args["bytes made"] = event.bytes
    name = event.name
    if event.kind == "layer":
        name = str(event.layer)
    elif event.kind == "backward":
        name = f"{event.name} backward"
    return {
        "name": name,
        "cat": event.kind,
        "ph": "X",
        "ts": (event.begin - begin) / 1000,
        "dur": event.whole / 1000,
        "args": args,
    }
