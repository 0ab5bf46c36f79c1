"""A power cut at any moment of an attempt: where its end is on disk, its whole run is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tiny_jobs
from power_cut import moments, trace

from minidl.service.executors.executor import AttemptFiles
from minidl.train.resume import newest_checkpoint
from minidl.train.run_directory import RunDirectory

PROGRAM = """
import sys
from pathlib import Path
import tiny_jobs
from minidl.service import attempt
from minidl.service.attempt_work import train
from minidl.service.settings import make_durable_directory
from minidl.train.reports import plots

plots.plots_available = lambda: False
directory = Path(sys.argv[1]) / "jobs" / "job"
make_durable_directory(directory)
spec = tiny_jobs.spec(directory)
spec.write()
attempt._end(spec.files, train(spec))
print("ended", flush=True)
"""
pytestmark = pytest.mark.slow


def test_an_end_that_is_on_disk_has_its_run_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    folder = tmp_path / "folder"
    folder.mkdir()
    traced = trace(PROGRAM, [str(folder)], folder)
    whole = tiny_jobs.fingerprints(folder / "jobs/job/run")
    dice, ends, said = random.Random(0), 0, ""
    for number, disk in enumerate(moments(traced, folder)):
        said = disk.said
        for chance in (None, dice):
            directory = disk.restore(tmp_path / f"cut{number}{chance is dice}", chance=chance)
            end = AttemptFiles(directory / "jobs/job", 1).read_end()
            run = RunDirectory(directory / "jobs/job/run")
            if end is not None:
                ends += 1
                assert end.exit_status == 0
                assert run.status() == "FINISHED"
                assert tiny_jobs.fingerprints(run.root) == whole
            elif run.config.exists():  # gone on with from a whole checkpoint, or from the beginning
                newest_checkpoint(run, lambda message: None)
    assert said.splitlines()[-1] == "ended"
    assert ends > 0
    assert AttemptFiles(directory / "jobs/job", 1).read_end() is not None, "acknowledged, and there"
