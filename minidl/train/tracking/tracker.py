"""Tracking of a run in MLflow, beside the training and never in its way.

MLflow takes seconds to import and milliseconds to send a point, all of it Python: in a thread it
would share the interpreter with the training. So it lives in a process of its own (``child``),
which is given orders as lines of JSON on its standard input and answers on its standard output. A
thread here writes the orders, another reads the answers; the training only appends to a queue.

The process ends with the training, however that ends: its standard input is then at an end. If it
dies itself, the training goes on; that is told once, and ``minidl sync`` sends what is missing.

Importing this file imports no MLflow.
"""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl.train.journal import Entry
from minidl.train.tracking import mlflow_uri
from minidl.train.tracking.description import RunDescription
from minidl.train.tracking.settings import (
    Status,
    TrackingReport,
    TrackingSettings,
    what_is_missing,
)

FINISH_SECONDS = 60.0
#: Beyond that: for a process that has just been started, on a machine that is busy.
START_SECONDS = 10.0

Order = dict[str, Any]


class Tracker:
    """One run in MLflow. The constructor returns at once; the work is done by another process.

    Parameters
    ----------
    settings
        The store and the experiment. A relative SQLite path means the present directory's.
    description
        What is recorded about the run when it is opened. Params and tags longer than MLflow
        takes are cut, which is told once.
    entries
        The journal of a run that is resumed: sent first, where MLflow lacks it.
    record
        The file that holds where MLflow keeps the run: read to continue it, and written as soon
        as there is one. A run whose record was lost is found by the description's ``uid``.
    adopt
        The id of a run made for this one to use.
    on_message
        Receives the sentences meant for the user; called from a thread.

    Attributes
    ----------
    run_id : str or None
        The run's id in MLflow; None until it is known.
    sent : int
        Points that MLflow has, as far as is known here; a point is one value of one metric.
    trouble : str
        Why MLflow cannot be reached at present; empty while all is well.

    Raises
    ------
    ValueError
        ``settings.uri`` names no store that MLflow can write to.
    """

    #: Seconds between two tries at a store that does not answer: the first, and the longest.
    waits = (1.0, 60.0)
    #: Seconds between two samples of the machine's load, where those are wanted.
    sample_every = 10.0

    def __init__(
        self,
        settings: TrackingSettings,
        description: RunDescription,
        *,
        entries: Sequence[Entry] = (),
        record: Path | None = None,
        adopt: str | None = None,
        on_message: Callable[[str], None],
    ) -> None:
        self._uri = mlflow_uri.resolve_uri(settings.uri)
        self._settings = settings
        self._record = None if record is None else record.absolute()
        self._on_message = on_message
        self.run_id: str | None = None
        self.sent = 0
        self.trouble = ""
        self._experiment_id: str | None = None
        self._logged = sum(len(entry.metrics) for entry in entries)
        self._uploads = 0
        self._report: TrackingReport | None = None
        self._answered: TrackingReport | None = None
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._silent = threading.Event()  # nothing more is to be heard from the process
        self._process = self._start()
        if self._process is None:
            self._silent.set()
            return
        self._order(
            settings=asdict(settings),
            description=asdict(description),
            entries=[asdict(entry) for entry in entries],
            record=None if self._record is None else str(self._record),
            adopt=adopt,
            waits=self.waits,
            sample_every=self.sample_every,
            process=os.getpid(),
        )
        # Daemons: an interpreter that exits without finish() does not wait for a server.
        for work in (self._write, self._read):
            threading.Thread(target=work, name="minidl-tracking", daemon=True).start()

    # What the training calls: none of it waits, none of it raises.

    def log(self, metrics: Mapping[str, float], *, step: int, time: float) -> None:
        """Note the values of one step, taken at ``time`` (seconds since 1970)."""
        self._logged += len(metrics)
        self._order(log=[dict(metrics), step, time])

    def artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file or a directory, as it is when its turn comes, under ``artifact_path``."""
        self._uploads += 1
        self._order(artifact=[str(Path(path).absolute()), artifact_path])

    def model(
        self,
        directory: str | Path,
        *,
        example: Any,
        points: Sequence[Entry] = (),
    ) -> None:
        """Log the model as one LoggedModel that ``mlflow models serve`` can serve.

        Parameters
        ----------
        directory
            Holds ``config.yaml`` and ``model.safetensors``.
        example
            A few raw samples as the dataset holds them: images are uint8 ``(n, C, H, W)``.
        points
            The journal's entries that say how good this model is; they are linked to it.
        """
        if self._settings.log_model:
            self._uploads += 1
            self._order(
                model=str(Path(directory).absolute()),
                example=None if example is None else packed(example),
                points=[asdict(point) for point in points],
            )

    def finish(self, status: Status, *, deadline: float = FINISH_SECONDS) -> TrackingReport:
        """Send what is left, give the run its last status, and say how it went.

        Waits ``deadline`` seconds at most, and for a server that leaves a request unanswered no
        longer than 5 s. A second call returns the same report.
        """
        if self._report is None:
            self._order(finish=status, deadline=deadline)
            in_time = self._silent.wait(deadline + START_SECONDS)
            self._report = self._answered or self._without_an_answer(in_time, deadline)
            self._end()
        return self._report

    def _order(self, **order: Any) -> None:
        self._orders.put(order)

    # The process.

    def _start(self) -> subprocess.Popen[bytes] | None:
        environment = os.environ.copy()
        # The same minidl, wherever this one was imported from.
        home = str(Path(minidl.__file__).resolve().parent.parent)
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([home, *([known] if known else [])])
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "minidl.train.tracking.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            self.trouble = f"its process cannot be started: {error.strerror or error}"
            return None

    def _write(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died, which the reader tells
            while (order := self._orders.get()) is not None:
                self._process.stdin.write(json.dumps(order, default=float).encode() + b"\n")
                if self._orders.empty():
                    self._process.stdin.flush()
        with suppress(OSError):
            self._process.stdin.close()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                self._hear(json.loads(line))
        status = self._process.wait()
        if self._answered is None:
            self.trouble = f"its process ended with status {status}"
            if self._report is None:
                self._say(
                    f"the process that tracks this run in MLflow ended with status {status}; the "
                    "training goes on, and its journal (metrics.jsonl) has everything"
                )
        self._silent.set()

    def _hear(self, answer: dict[str, Any]) -> None:
        if "say" in answer:
            self._say(answer["say"])
        elif "report" in answer:
            self._answered = TrackingReport(**answer["report"])
            self._silent.set()
        else:
            self.run_id, self._experiment_id = answer["run"]
            self.sent, self.trouble = answer["sent"], answer["trouble"]

    def _without_an_answer(self, in_time: bool, deadline: float) -> TrackingReport:
        if not in_time:
            self.trouble = f"not done {deadline:g} s after the end of the run"
        missing = self._logged - self.sent
        known = self.run_id is not None
        message = what_is_missing(
            self._uri,
            self._record,
            known=known,
            points=missing,
            uploads=self._uploads,
            trouble=self.trouble,
        )
        self._say(message)
        return TrackingReport(
            run_id=self.run_id,
            experiment_id=self._experiment_id,
            model_id=None,
            uri=self._uri,
            status="partial" if known else "unavailable",
            message=message,
            points_sent=self.sent,
            points_missing=missing,
        )

    def _end(self) -> None:
        """Let the process go: it ends with its input, and is not waited for long."""
        self._orders.put(None)
        if self._process is None:
            return
        try:
            self._process.wait(1.0 if self._answered else 0.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, message: str) -> None:
        with suppress(Exception):  # a broken terminal is no reason to stop either
            self._on_message(message)


def packed(array: Any) -> str:
    """Return an array as text, which `unpacked` reads."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(text: str) -> Any:
    """Return the array that `packed` wrote."""
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)
