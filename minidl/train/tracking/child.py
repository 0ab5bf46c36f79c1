"""The process that talks to MLflow for a training: ``python -m minidl.train.tracking.child``.

Orders come as lines of JSON on standard input, from a `Tracker`; what is to be known goes back on
standard output, and whatever MLflow's libraries print goes to standard error. Signals that are
meant for the training (Ctrl-C reaches all processes of a terminal) are left to it: this process
ends when its input does, and then waits for nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from minidl.train.journal import Entry
from minidl.train.tracking.description import DatasetInfo, RunDescription
from minidl.train.tracking.sender import Sender
from minidl.train.tracking.settings import TrackingSettings
from minidl.train.tracking.tracker import unpacked

#: Added to the niceness: the training goes before, where the two want one core.
NICE = 5


class Answers:
    """Standard output as the training hears it: lines of JSON, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, **answer: Any) -> None:
        """Send one answer; where nobody listens any more there is nothing left to do."""
        try:
            with self._lock:
                self._stream.write(json.dumps(answer) + "\n")
                self._stream.flush()
        except OSError:
            os._exit(0)


def main() -> None:
    """Do what standard input says, until it ends."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    os.nice(NICE)
    answers = Answers(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    first = sys.stdin.readline()
    if not first:
        sys.exit("the tracking's process is begun by a training: use `minidl train`")
    sender = begin(json.loads(first), answers)
    for line in sys.stdin:
        obey(sender, json.loads(line), answers)
    os._exit(0)  # at once: the sender's thread may be waiting for a server


def begin(order: dict[str, Any], answers: Answers) -> Sender:
    """Make the sender that the first line describes."""
    description = order["description"]
    datasets = [DatasetInfo(**dataset) for dataset in description.pop("datasets")]

    def progress() -> None:
        run = sender.run
        ids = (None, None) if run is None else (run.run_id, run.experiment_id)
        answers.send(run=ids, sent=sender.sent, trouble=sender.trouble)

    sender = Sender(
        TrackingSettings(**order["settings"]),
        RunDescription(**description, datasets=datasets),
        entries=[Entry(**entry) for entry in order["entries"]],
        record=None if order["record"] is None else Path(order["record"]),
        adopt=order["adopt"],
        waits=tuple(order["waits"]),
        sample_every=order["sample_every"],
        process=order["process"],
        on_message=lambda text: answers.send(say=text),
        on_progress=progress,
    )
    sender.start()
    return sender


def obey(sender: Sender, order: dict[str, Any], answers: Answers) -> None:
    """Do what one line says."""
    if "log" in order:
        metrics, step, time = order["log"]
        sender.log(metrics, step=step, time=time)
    elif "artifact" in order:
        path, place = order["artifact"]
        sender.artifact(Path(path), place)
    elif "model" in order:
        example = order["example"]
        sender.model(
            Path(order["model"]),
            example=None if example is None else unpacked(example),
            points=[Entry(**point) for point in order["points"]],
        )
    elif "finish" in order:
        # Not here, where the end of the input is waited for: a training may be killed meanwhile.
        threading.Thread(target=finish, args=(sender, order, answers), daemon=True).start()


def finish(sender: Sender, order: dict[str, Any], answers: Answers) -> None:
    """Send what is left, and say how it went."""
    report = sender.finish(order["finish"], deadline=order["deadline"])
    answers.send(report=asdict(report))


if __name__ == "__main__":
    main()
