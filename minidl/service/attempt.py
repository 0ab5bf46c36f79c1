"""The process of one attempt: ``python -m minidl.service.attempt SPEC.json``.

It holds the job's lock from before it exists until it has ended (an executor on the same machine
hands the lock over, another leaves it to this process to take it), so two attempts of one job
cannot be at work together. It writes down that it has started, trains or works on a sweep, writes
down how that ended, and only then exits, with a status that says the same:

=====  ============================================================================
0      done
1      failed; another attempt may do better
2      the user's error (config, overrides, data): another attempt would end likewise
3      refused: another process is at work on the job, or this attempt was made before
75     told to stop, with a checkpoint written (EX_TEMPFAIL of sysexits.h)
=====  ============================================================================
"""

from __future__ import annotations

import argparse
import faulthandler
import fcntl
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from minidl.service.executors.executor import AttemptFiles, AttemptSpec, End, write_record
from minidl.train.interruption import Interrupted, Interruption
from minidl.train.tracking.mlflow_uri import redacted

FAILED, USERS_ERROR, REFUSED, TEMPORARY = 1, 2, 3, 75
#: How long a lock is asked for again: a service may be looking whether it is held.
GLANCE_SECONDS = 0.5


class NotAloneError(RuntimeError):
    """Another process is at work on the job, or this attempt was made, or written off, before."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the attempt is to do, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minidl.service.attempt", description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--lock-descriptor", type=int, help="the job's lock, held by who starts it")
    options = parser.parse_args(arguments)
    # Listening from here on: a SIGTERM between the parts must not end what can be ended truthfully.
    with Interruption(patient=True) as interruption:
        spec = AttemptSpec.read(options.spec)
        try:
            descriptor = hold_lock(spec.files, options.lock_descriptor)
        except NotAloneError as error:
            print(error, file=sys.stderr)
            return REFUSED
        return _attempt(spec, descriptor, interruption)


def hold_lock(files: AttemptFiles, descriptor: int | None) -> int:
    """Make sure that this process holds the job's lock, and that the attempt may still be made.

    Raises
    ------
    NotAloneError
        It cannot, or may not: nothing has been touched.
    """
    if descriptor is None:
        descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.set_inheritable(descriptor, False)  # what this process starts does not keep the job locked
    try:
        # Of a descriptor that was inherited with the lock this asks what is so already.
        _flock(descriptor)
        same = os.path.samestat(os.fstat(descriptor), files.lock.stat())
    except OSError as error:
        raise NotAloneError(f"{files.lock} is held by another process: {error}") from error
    if not same:
        raise NotAloneError(f"{files.lock} is another file than the lock that was handed over")
    for record in (files.started, files.end):
        if record.exists():
            raise NotAloneError(f"{record} exists: this attempt was made, or written off, before")
    return descriptor


def _flock(descriptor: int) -> None:
    limit = time.monotonic() + GLANCE_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)


def _attempt(spec: AttemptSpec, descriptor: int, interruption: Interruption) -> int:
    files = spec.files
    _die_before_the_service()
    outcome = End(FAILED)
    try:
        _log_to(files.log)
        faulthandler.enable()
        begun = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}
        write_record(files.started, begun)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begun["started"]))  # type: ignore[arg-type]
        print(f"attempt {spec.number} of job {spec.job_id}, {stamp} UTC, pid {begun['pid']}")
        outcome = _work(spec, descriptor, interruption)
    except BaseException as mistake:
        outcome = End(130 if isinstance(mistake, KeyboardInterrupt) else FAILED, _reason(mistake))
        with suppress(OSError):
            print(redacted(traceback.format_exc()), flush=True)
    _end(files, outcome)
    return exit_status(outcome)


def exit_status(end: End) -> int:
    """Return the status of a process whose work ended so: as a shell, where a signal ended it."""
    assert end.exit_status is not None
    return end.exit_status if end.exit_status >= 0 else 128 - end.exit_status


def _work(spec: AttemptSpec, descriptor: int, interruption: Interruption) -> End:
    """Do the work, and say how it ended."""

    def work() -> End:
        from minidl.service import attempt_work, ranks

        interruption.check()
        if spec.kind == "sweep":
            return attempt_work.sweep(spec, descriptor)
        if spec.ranks > 1:
            return _said(ranks.train(spec, interruption))
        return attempt_work.train(spec)

    return judged(work)


def judged(work: Callable[[], End], *, tells: bool = True) -> End:
    """Do what an attempt is to do, and say how it ended; with ``tells`` also to the log.

    A mistake of minidl's own is shown in any case.

    Raises
    ------
    FailedElsewhere
        Another rank says why.
    """
    from minidl.train.checkpoint import CheckpointError
    from minidl.train.config import ConfigError
    from minidl.train.run_directory import RunInUseError
    from minidl.train.together import FailedElsewhere
    from minidl.train.trainer import TrainingError

    try:
        return work()
    except FailedElsewhere:
        raise
    except Interrupted as signal:
        return End(signal.exit_status)
    except KeyboardInterrupt:
        return End(130)
    except (ConfigError, CheckpointError) as error:
        end = End(USERS_ERROR, redacted(str(error)))
    except RunInUseError as error:  # by somebody outside the service: it will come to an end
        end = End(TEMPORARY, redacted(str(error)))
    except (TrainingError, OSError) as error:
        end = End(FAILED, redacted(str(error)))
    except MemoryError:
        end = End(FAILED, "out of memory")
    except BaseException as mistake:
        with suppress(OSError):
            print(redacted(traceback.format_exc()), flush=True)
        return End(FAILED, _reason(mistake))
    return _said(end) if tells else end


def _said(end: End) -> End:
    if end.error is not None:
        with suppress(OSError):
            print(f"attempt failed: {end.error}", flush=True)
    return end


def _reason(error: BaseException) -> str:
    return redacted(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _end(files: AttemptFiles, outcome: End) -> None:
    """Write down how it ended; on the disk before the process ends."""
    record = {
        "exit_status": outcome.exit_status,
        "error": outcome.error,
        "ended": time.time(),
        "tracking": outcome.tracking,
    }
    try:
        sys.stdout.flush()
        write_record(files.end, record)
    except OSError as trouble:  # the exit status says most of it to whoever started the process
        with suppress(OSError):
            print(f"how the attempt ended cannot be written: {trouble}", file=sys.stderr)


def _log_to(log: Path) -> None:
    """Append what this process says from here on to the job's log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    set_up_streams()


def set_up_streams() -> None:
    """Have each line reach the log at once, whatever it is made of."""
    for written in (sys.stdout, sys.stderr):
        written.reconfigure(  # type: ignore[union-attr]
            line_buffering=True, encoding="utf-8", errors="backslashreplace"
        )


def _die_before_the_service() -> None:
    """Where memory runs out, Linux is to end a training, which is taken up again, first."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    with Interruption(patient=True):
        status = main()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        # At once: a second SIGTERM, while the interpreter ends, would make another end of this one.
        os._exit(status)
