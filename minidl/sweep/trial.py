"""One trial as its worker sees it: a process, a run directory, and a journal that grows.

The worker reads the metric from the run's journal. That is written before anything else, outlives
the process, and is the same for a trial that was interrupted and resumed; so nothing has to be
handed from one process to the other, the training knows nothing of Optuna, and only workers speak
to the storage. A value is seen a poll later than it was measured, which costs a trial that is to
be ended early some steps and no decision: values are reported one by one, in their order.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from minidl.sweep.child import reason_in
from minidl.sweep.plan import Plan
from minidl.sweep.study import Claim
from minidl.train.config import Config
from minidl.train.run_directory import RunDirectory

End = Literal["finished", "stopped", "killed", "failed"]
TEMPORARY = 75  # how a training ends that was told to: it can be taken up again


@dataclass(frozen=True)
class Ending:
    """How a trial's process ended; ``reason`` says what was wrong, if anything."""

    kind: End
    reason: str = ""


class Validations:
    """The metric's values in a journal that is still being written, in their order.

    What the training measures while it trains (``train/loss``) is an average of the last steps; of
    such a metric the last value of each epoch counts.
    """

    def __init__(self, journal: Path, metric: str) -> None:
        self._journal = journal
        self._metric = metric
        self._offset = 0
        self._pending: tuple[int, float] | None = None
        self.values: list[float] = []

    def read(self, *, ended: bool = False) -> list[float]:
        """Read on, and return all values there are."""
        with suppress(FileNotFoundError), self._journal.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._offset:  # a resumed training measured it anew
                self._offset, self._pending, self.values = 0, None, []
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + len(newline)
            for line in whole.splitlines():
                self._take(json.loads(line))
        if ended and self._pending is not None:
            self.values.append(self._pending[1])
            self._pending = None
        return self.values

    def _take(self, entry: dict[str, Any]) -> None:
        if self._metric not in entry["metrics"]:
            return
        value = float(entry["metrics"][self._metric])  # also of "NaN", as the journal has it
        if not self._metric.startswith("train/"):
            self.values.append(value)
            return
        if self._pending is not None and self._pending[0] != entry["epoch"]:
            self.values.append(self._pending[1])
        self._pending = (entry["epoch"], value)


class RunningTrial:
    """A trial's process, started by the constructor.

    Parameters
    ----------
    config
        The variant that is trained.
    environment
        Of the process.
    keep_open
        Descriptors that it inherits, beside that of the trial's lock.
    """

    def __init__(
        self,
        plan: Plan,
        claim: Claim,
        config: Config,
        environment: dict[str, str],
        *,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self.claim = claim
        self.plan = plan
        self.run = RunDirectory(claim.directory)
        self.log = claim.directory.parent / "logs" / f"{claim.directory.name}.log"
        self.began = time.monotonic()
        self.pruned = False
        self.stopped = False
        self.reported = 0
        trainer = config.trainer
        by_epochs = trainer.validate_every == (1, "epochs")
        #: Validations of a whole trial, where that is known.
        self.whole = (by_epochs and trainer.epochs) or math.inf
        self.validations = Validations(self.run.journal, plan.metric)
        self._process: subprocess.Popen[bytes] | None = None
        if not self._is_finished():
            self._start(config, environment, keep_open)

    def _start(
        self, config: Config, environment: dict[str, str], keep_open: tuple[int, ...]
    ) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # -P: a file of the working directory must not stand in for a module of Python's.
                [sys.executable, "-P", "-m", "minidl.sweep.child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                # Not in the terminal's group: a Ctrl-C is the worker's, who tells its trials.
                start_new_session=True,
                pass_fds=(self.claim.lock.descriptor, *keep_open),
            )
        job = {
            "config": config.resolved(),
            "changes": self.plan.changes(self.claim.parameters),
            "resume": str(self.run.root) if self.run.root.exists() else None,
        }
        with suppress(BrokenPipeError):  # it has died at once, which poll() will tell
            self._stdin.write(json.dumps(job).encode() + b"\n")
            self._stdin.flush()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin

    def _is_finished(self) -> bool:
        """Whether the run is there and whole: its worker died before it could say so."""
        return self.summary().get("status") == "FINISHED"

    def summary(self) -> dict[str, Any]:
        """Return what the run says of its end, nothing where it has not ended."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(self.run.summary.read_bytes())
            return found
        return {}

    def stop(self) -> None:
        """Tell the training to write a checkpoint and end."""
        self.stopped = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signum)

    def poll(self) -> Ending | None:
        """Return how the trial ended, None while it has not."""
        if self._process is None:
            return Ending("finished")
        status = self._process.poll()
        if status is None:
            return None
        with suppress(BrokenPipeError):
            self._stdin.close()
        if status == 0 and self._is_finished():
            return Ending("finished")
        if status == TEMPORARY:
            return Ending("stopped")
        if status < 0:
            name = signal.Signals(-status).name
            memory = " (out of memory?)" if name == "SIGKILL" else ""
            return Ending("killed", f"killed by {name}{memory}")
        return Ending("failed", reason_in(self.log))

    def value(self) -> float | None:
        """Return the best value so far; None where there is none."""
        values = [value for value in self.validations.read(ended=True) if value == value]
        if not values:
            return None
        return max(values) if self.plan.maximize else min(values)

    @property
    def seconds(self) -> float:
        """Time since the process was started."""
        return time.monotonic() - self.began
