"""How runs end in MLflow whose own process could not say so.

A training tells MLflow itself how it ended. One that was killed outright cannot, nor one that ended
while MLflow was away: its run would be shown as running for ever. Where its job goes on with
another attempt, that one takes the run up. Where it does not, the service tells MLflow instead, by
``minidl sync``: it sends what MLflow lacks of the run, and how it ended.

That is done in processes of their own, one after the other (MLflow is large, and may be slow), as
often as it takes; a file in the job's directory says what is still to be done, to a later service
too.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from minidl.service.executors.executor import AttemptSpec, End, write_record
from minidl.service.executors.local import PRIVATE
from minidl.train.run_directory import RunDirectory

log = logging.getLogger("minidl.service.mlflow")

#: In a job's directory, as long as MLflow is to be told.
MARK = "mlflow-end.json"
#: Seconds between two tries, doubled each time, and the longest that one may take.
FIRST_WAIT, LONGEST_WAIT, LONGEST_TRY = 5.0, 600.0, 600.0


class MlflowEnds:
    """Tells MLflow how runs ended, in the background.

    ``done`` has the jobs for which that is done, until somebody takes them out: MLflow may have
    heard of such a run for the first time.
    """

    def __init__(self, data: Path) -> None:
        self.done: deque[str] = deque()
        self._jobs = data / "jobs"
        self._changed = threading.Condition()
        self._due: dict[str, tuple[float, float]] = {}  # by job: when to try, and the next wait
        self._present: tuple[str, subprocess.Popen[bytes]] | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def note(self, spec: AttemptSpec, end: End) -> None:
        """Write down that MLflow is to be told of a run, if it is: before the job's end is."""
        if is_wanted(spec, end):
            with suppress(OSError):
                write_record(self._mark(spec.job_id), {"number": spec.number})

    def begin(self, job_id: str) -> None:
        """Tell MLflow of a job's run, where that was written down."""
        if self._mark(job_id).exists():
            self._add(job_id)

    def recover(self, active: set[str]) -> None:
        """Go on with what a former service has left, but for jobs with a living attempt."""
        for mark in self._jobs.glob(f"*/{MARK}"):
            if mark.parent.name not in active:
                self._add(mark.parent.name)

    def forget(self, job_id: str) -> None:
        """Do not tell of a job's run (any more): another attempt takes it up."""
        with suppress(OSError):
            self._mark(job_id).unlink()
        with self._changed:
            self._due.pop(job_id, None)
            present = self._present
        if present is not None and present[0] == job_id:
            present[1].kill()
            present[1].wait()

    def close(self) -> None:
        """Stop; what is left is for the next service."""
        with self._changed:
            self._closed = True
            present = self._present
            self._changed.notify()
        if present is not None:
            present[1].kill()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _mark(self, job_id: str) -> Path:
        return self._jobs / job_id / MARK

    def _add(self, job_id: str) -> None:
        with self._changed:
            self._due.setdefault(job_id, (time.monotonic(), FIRST_WAIT))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="minidl-mlflow-ends", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    # ---- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (job_id := self._next()) is not None:
            done = self._tell(job_id)
            with self._changed:
                self._present = None
                if job_id not in self._due:  # forgotten meanwhile
                    continue
                if done:
                    del self._due[job_id]
                    self.done.append(job_id)
                else:
                    wait = self._due[job_id][1]
                    self._due[job_id] = (time.monotonic() + wait, min(2 * wait, LONGEST_WAIT))

    def _next(self) -> str | None:
        """Wait for the next job whose time has come; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                first = min(self._due, key=lambda job_id: self._due[job_id][0], default=None)
                if first is not None and self._due[first][0] <= now:
                    return first
                self._changed.wait(None if first is None else self._due[first][0] - now)
        return None

    def _tell(self, job_id: str) -> bool:
        """Run the process for one job; return whether it need not be tried again."""
        mark, directory = self._mark(job_id), self._jobs / job_id
        if not mark.exists():
            return True
        environment = {name: text for name, text in os.environ.items() if name not in PRIVATE}
        try:
            with (directory / "log.txt").open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "minidl.service.mlflow_ends", str(directory)],
                    cwd=directory,
                    env={**environment, "OPENBLAS_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            with self._changed:
                self._present = (job_id, process)
                if self._closed or job_id not in self._due:  # forgotten in this moment
                    process.kill()
            status = process.wait(timeout=LONGEST_TRY)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = -1
        except OSError as error:
            log.warning("job %s: MLflow cannot be told how it ended: %s", job_id, error)
            return False
        if status != 0:
            return False
        with suppress(OSError):
            mark.unlink()
        return True


def is_wanted(spec: AttemptSpec, end: End) -> bool:
    """Whether MLflow may not know how the run of a job's last attempt ended."""
    if spec.config.get("tracking") is None or end.tracking == "complete":
        return False
    if spec.kind == "sweep":  # which tells what it has to tell, unless it is killed
        killed = end.exit_status is None or end.exit_status < 0
        return killed and (Path(spec.directory) / "run").exists()
    return RunDirectory(Path(spec.directory) / "run").about.exists()


# ---- the process --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell MLflow how a job's run ended: ``python -m minidl.service.mlflow_ends DIRECTORY``."""
    from minidl.train.tracking.sync import SyncError, sync_run

    (argument,) = sys.argv[1:] if arguments is None else arguments
    run = Path(argument) / "run"
    is_sweep = not (run / "config.yaml").exists()
    trials = sorted(path.parent for path in run.glob("trial-*/run.json")) if is_sweep else [run]
    status = 0
    for each in trials:
        try:
            report = sync_run(each)
        except SyncError as error:
            print(f"MLflow has not got all of {each.name}, it is tried again: {error}")
            status = 1
            continue
        if report.changed:
            print(f"MLflow was told what it lacked of {each.name}, and that it was {report.status}")
    if is_sweep and status == 0:
        status = _end_parent(Path(argument))
    return status


def _end_parent(directory: Path) -> int:
    """End the run of a sweep itself, above those of its trials."""
    from minidl.service.attempt_work import plan_of
    from minidl.sweep.parent import ParentRun
    from minidl.sweep.study import SweepStudy

    specs = [path for path in (directory / "attempts").glob("*.json") if path.stem.isdigit()]
    spec = AttemptSpec.read(max(specs, key=lambda path: int(path.stem)))
    said: list[str] = []
    plan = plan_of(spec)
    study = SweepStudy(plan)
    try:
        parent = ParentRun(plan, study.uid, reopen=False, say=said.append)
        parent.end("KILLED", {}, len(study.trials()))
    finally:
        study.close()
    for message in said:
        print(message)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
