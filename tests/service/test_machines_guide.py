"""docs/machines.md is walked: two workers of a sweep, a Ray cluster's jobs, ranks over MPI."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tiny_jobs
from cli_process import command
from databases import PostgreSQLDatabases
from guide_shell import Shell, are_shown, files_of, steps_of
from ray_head import RAY_MARKS, RayHead
from services import RunningService, start_service

from minidl.service.executors.executor import AttemptFiles, read_record
from minidl.service.ranks import mpiexec, why_no_ranks

pytest_plugins = ["databases", "ray_head"]
pytestmark = pytest.mark.slow

GUIDE = (Path(__file__).parents[2] / "docs/machines.md").read_text(encoding="utf-8")
SECONDS = 240.0
needs_ranks = pytest.mark.skipif(why_no_ranks() is not None, reason=str(why_no_ranks()))


def section(title: str) -> str:
    found = GUIDE.partition(f"\n## {title}")[2].partition("\n## ")[0]
    assert found, title
    return found


def machine(folder: Path, **variables: str) -> Shell:
    """A shell in a directory of its own, with the page's config in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files_of(GUIDE).items():
        (folder / name).write_text(text, encoding="utf-8")
    path = tiny_jobs.environment(folder / "hidden")["PYTHONPATH"]  # no plots
    return Shell(folder, {"HOME": str(folder), "PYTHONPATH": path, **variables})


def test_trials(tmp_path: Path, postgresql_databases: PostgreSQLDatabases) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed (extra sweep)")
    name = postgresql_databases.make(template="template1")
    storage = postgresql_databases.url_of(name)
    text = section("Trials")
    steps = {who: steps_of(text, prompt=f"{who}$") for who in "ab"}
    shells = {who: machine(tmp_path / who) for who in "ab"}

    def walk(who: str) -> list[str]:
        ((line, shown),) = steps[who]
        told = line.replace("postgresql://me@db/sweeps", shlex.quote(storage))
        status, printed = shells[who].tell(told)
        print(f"{who}$ {line}", *printed, sep="\n")  # to be put into the page
        assert status == 0
        are_shown(shown, printed, tmp_path / who, line)
        return printed

    try:
        with ThreadPoolExecutor(2) as pool:
            a, b = pool.map(walk, "ab")
    finally:
        for shell in shells.values():
            shell.close()
        postgresql_databases.drop(name)
    begun = [line.split()[1] for line in a + b if re.match(r"trial \d+ begins", line)]
    assert sorted(begun) == ["0", "1", "2", "3"]
    trained = [path.name for path in tmp_path.glob("*/runs/rates/trial-*")]
    assert sorted(trained) == [f"trial-{number:04d}" for number in range(4)]
    tables = [(tmp_path / who / "runs/rates/trials.csv").read_text() for who in "ab"]
    assert [len(table.splitlines()) for table in tables] == [5, 5]


@pytest.fixture
def service(ray_head: RayHead, tmp_path: Path) -> Iterator[RunningService]:
    """The service of the page."""
    ((line, _),) = [step for step in steps_of(GUIDE) if step[0].startswith("minidl service")]
    options = line.replace("http://head:8265", ray_head.address).split()[2:]
    assert options[:2] == ["--data", "data"]
    more = ("--ray-python", sys.executable)
    token = {"RAY_AUTH_TOKEN": ray_head.token}
    running = start_service(tmp_path / "data", *options[2:], *more, **token)
    yield running
    running.stop(seconds=SECONDS)


class TestJobs:
    pytestmark = [*RAY_MARKS, needs_ranks]  # noqa: RUF012

    def test_jobs_of_one_rank_and_of_two(self, service: RunningService, tmp_path: Path) -> None:
        home = {
            "MINIDL_SERVICE_URL": service.url,
            "MINIDL_SERVICE_TOKEN": str(service.token),
            "XDG_CONFIG_HOME": "",
        }
        shell = machine(tmp_path / "here", **home)
        try:
            for line, shown in [*steps_of(section("Jobs")), *steps_of(section("A job of"))]:
                if line.startswith("minidl service"):
                    printed, status = [text.rstrip("\n") for text in service.said], 0
                    shown = [text.replace("8080", "1") for text in shown]
                else:
                    status, printed = shell.tell(line)
                print(f"$ {line}", *printed, sep="\n")
                assert status == 0
                are_shown(shown, printed, tmp_path, line)
                if line.startswith("wide="):
                    _, (job,) = shell.tell("echo $wide")
                    kill_a_rank(service.data / "jobs" / job)
        finally:
            shell.close()


def kill_a_rank(directory: Path) -> None:
    """Kill the last rank of a job's first attempt, once there is a checkpoint."""
    files, end = AttemptFiles(directory, 1), time.monotonic() + SECONDS
    while not (directory / "run" / "checkpoints" / "last.json").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    started = read_record(files.started)
    assert started is not None
    for process in reversed(psutil.Process(started["pid"]).children(recursive=True)):
        with suppress(psutil.Error):
            if "minidl.service.rank" in process.cmdline():
                return process.kill()
    raise AssertionError(f"there is no rank of {directory.name}")


@needs_ranks
def test_ranks(tmp_path: Path) -> None:
    shell = machine(tmp_path, OPENBLAS_NUM_THREADS="1")
    start = [str(mpiexec()), "-n"]
    minidl = shlex.join(command())
    try:
        shell.tell(f'mpiexec() {{ {shlex.join(start)} "$2" {minidl} "${{@:4}}"; }}')
        for line, shown in steps_of(section("Ranks")):
            status, printed = shell.tell(line)
            print(f"$ {line}", *printed, sep="\n")
            assert status == 0
            are_shown(shown, printed, tmp_path, line)
    finally:
        shell.close()
