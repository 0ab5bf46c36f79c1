"""A training of several ranks: the attempt's process has ``mpiexec`` start them, and waits.

Each rank is a process of its own (`minidl.service.rank`), which trains as ``minidl train`` does
under ``mpiexec`` and writes down how it ended, in ``attempts/<n>.rank-<r>.json``. What must be done
once is done here: the lock, the log, the decision whether the run is gone on with, and the record
of how the attempt ended, which is the first rank's word, where it was able to say one.

A rank that is killed takes the others with it: ``mpiexec`` ends them at once and exits with the
signal's number. So the attempt was interrupted, and the next one goes on from the checkpoint.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from socket import gethostname
from typing import Any

from minidl.service.executors.child import end_with_this_process
from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    read_record,
    thread_environment,
    write_record,
)
from minidl.train.interruption import Interrupted, Interruption

FAILED, TEMPORARY = 1, 75
#: Seconds in which a signal is passed on.
POLL_SECONDS = 0.1
#: The ranks of an attempt are processes of this machine, whatever batch system it is part of.
OF_THIS_MACHINE = {"HYDRA_LAUNCHER": "fork", "HYDRA_RMK": "user"}


def mpiexec() -> str | None:
    """Return the launcher: that beside this Python, from the package mpich, or that in PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def why_no_ranks() -> str | None:
    """Say why this Python can start no ranks; None where it can."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is missing there (pip install 'minidl[mpi]')"
    if mpiexec() is None:
        return "there is no mpiexec, neither beside its Python nor in PATH"
    return None


def train(spec: AttemptSpec, interruption: Interruption) -> End:
    """Begin, or go on with, the job's training, in all its ranks.

    Raises
    ------
    ConfigError
        A change to the config is wrong.
    OSError
        The ranks cannot be started.
    """
    from minidl.service.attempt_work import Task, begin_anew, prepare

    task = prepare(spec)
    if isinstance(task, End):
        return task
    end = _run(spec, task, interruption)
    if isinstance(task, Task) and task.resumes and _is_torn(spec):
        end = _run(spec, begin_anew(spec, end.error or "its checkpoint"), interruption)
    return end


def _run(spec: AttemptSpec, task: Any, interruption: Interruption) -> End:
    """Start the ranks, pass on what they are to hear, and say how they ended."""
    if (reason := why_no_ranks()) is not None:
        return End(FAILED, f"{spec.ranks} ranks cannot be started on {gethostname()}: {reason}")
    for rank in range(spec.ranks):
        spec.files.rank(rank).unlink(missing_ok=True)
    # The spec with it: what lies in the job's directory may be that of another machine.
    write_record(spec.files.task, {"spec": asdict(spec), "task": asdict(task)})
    module = [sys.executable, "-P", "-m", "minidl.service.rank", str(spec.files.task)]
    process = subprocess.Popen(
        [str(mpiexec()), "-n", str(spec.ranks), *module],
        stdin=subprocess.DEVNULL,
        env={
            **os.environ,
            **thread_environment(max(1, spec.threads // spec.ranks)),
            **OF_THIS_MACHINE,
        },
        # What is sent to the attempt's group would reach it beside what is passed on to it.
        start_new_session=True,
        preexec_fn=end_with_this_process(),
    )
    told = False
    try:
        while (status := _wait(process)) is None:
            if not told and (heard := _heard(interruption)) is not None:
                process.send_signal(heard)
                told = True
    except BaseException:
        process.kill()
        process.wait()
        raise
    return _end(spec, status, told=told)


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _heard(interruption: Interruption) -> signal.Signals | None:
    try:
        interruption.check()
    except Interrupted as asked:
        return asked.signum
    return None


def _records(spec: AttemptSpec) -> list[dict[str, Any]]:
    """What ranks have said of their ends, the first rank first."""
    found = (read_record(spec.files.rank(rank)) for rank in range(spec.ranks))
    return [record for record in found if record is not None]


def _is_torn(spec: AttemptSpec) -> bool:
    return any(record.get("torn") for record in _records(spec))


def _end(spec: AttemptSpec, status: int, *, told: bool) -> End:
    killed = signal_in(status)
    for record in _records(spec):
        end = End(record["exit_status"], record["error"], tracking=record["tracking"])
        if killed is None or end.exit_status != FAILED:  # which may come of another's death
            return end
    if told:  # before they were listening
        return End(TEMPORARY)
    if killed is not None:
        memory = " (out of memory?)" if killed is signal.SIGKILL else ""
        return End(-killed, f"one of {spec.ranks} ranks was killed by {killed.name}{memory}")
    return End(status or FAILED, f"the ranks ended with exit status {status}; the log may say why")


def signal_in(status: int) -> signal.Signals | None:
    """Return the signal that ended a rank, or ``mpiexec`` itself, by the status of ``mpiexec``.

    Hydra (MPICH) gives the signal's number, others 128 more. What attempts' processes exit with
    themselves is no signal.

    Examples
    --------
    >>> signal_in(9), signal_in(139), signal_in(75), signal_in(2)
    (<Signals.SIGKILL: 9>, <Signals.SIGSEGV: 11>, None, None)
    """
    if 0 <= status <= 3:
        return None
    number = -status if status < 0 else status - 128 if status > 128 else status
    try:
        return signal.Signals(number)
    except ValueError:
        return None
