"""The process of one trial: a training like any other, whose end is tied to its worker's.

It is told what to train in one line of JSON on standard input, which then stays open for as long
as the worker lives: at its end the training does what it does on SIGTERM, it writes a checkpoint
and exits with 75. So a worker that is killed leaves no training behind, and no work is lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from minidl.train.interruption import Interruption

STDIN = 0


def main() -> int:
    """Train what standard input says, and return the exit status."""
    job = json.loads(_first_line())
    # Raw reads: a daemon thread inside sys.stdin would hold its lock when the interpreter ends.
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    with Interruption(patient=True):  # whoever tells the worker to stop may tell its trials too
        return run(job)


def run(job: dict[str, Any]) -> int:
    """Begin, or go on with, a training.

    Parameters
    ----------
    job
        ``config``: a resolved config as plain data; ``changes``: the trial's values, for the
        record; ``resume``: the run directory to go on with, or None.
    """
    from minidl.train.checkpoint import CheckpointError
    from minidl.train.config import ConfigError
    from minidl.train.trainer import TrainingError

    try:
        return _train(job)
    except (ConfigError, CheckpointError) as error:
        return _say(error, 2)
    except (TrainingError, OSError) as error:
        return _say(error, 1)
    except MemoryError:
        return _say("out of memory", 1)


def _train(job: dict[str, Any]) -> int:
    from minidl.train.checkpoint import CheckpointError
    from minidl.train.config import ConfigError, config_from_data
    from minidl.train.reporter import reporter_for
    from minidl.train.trainer import Trainer

    if job["resume"] is not None:
        directory = Path(job["resume"])
        try:
            return Trainer.resume(directory, reporter=reporter_for()).run().exit_status
        except (CheckpointError, ConfigError) as error:  # killed before it was whole, or damaged
            print(f"{error}; the trial begins anew", flush=True)
            shutil.rmtree(directory)
    config = config_from_data(job["config"])
    trainer = Trainer(config, overrides=job["changes"], reporter=reporter_for())
    return trainer.run().exit_status


def _say(what: object, status: int) -> int:
    """Print what went wrong as the last thing: the worker takes the reason from there."""
    sys.stdout.flush()
    print(f"{REASON}{' '.join(str(what).split())}", flush=True)
    return status


#: Begins the line of a trial's log that says why it failed.
REASON = "trial failed: "


def reason_in(log: Path) -> str:
    """Return why a trial failed, as its log says: the reason given, or the last line."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "there is no log"
    given = [line.removeprefix(REASON) for line in lines if line.startswith(REASON)]
    said = [line.strip() for line in lines if line.strip()]
    return given[-1] if given else said[-1] if said else "it said nothing"


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        some = os.read(STDIN, 65536)
        if not some:
            sys.exit("a trial is begun by its worker; use `minidl train`")
        line += some
    return line


def _end_with_the_worker() -> None:
    while os.read(STDIN, 65536):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
