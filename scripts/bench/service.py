"""What does the training service bear? Many submitters, a long table, many followers, a long day.

A real `minidl service` on this machine, in a process of its own, is asked over HTTP:

1. the table is filled with jobs (``--jobs``), straight through the store;
2. ``--submissions`` jobs are submitted by ``--clients`` at once, each under an Idempotency-Key. A
   fifth of them is sent twice, at about the same time; of another tenth the client hangs up before
   the answer, and sends it again. Afterwards each key must have one job, and each job one key;
3. jobs are listed: the first page, pages far down, by state, by name, and single jobs;
4. ``--followers`` read the log of a training while it is written. Each must get every byte of it;
5. for ``--soak-minutes``, all of this goes on slowly, and the memory of the service is watched.

The training is paused but in step 4, and its figures hold this program's own work too: both share
the machine. Prints a Markdown table; exits with 1 where a job was lost or doubled, or a log was
not whole.

    pip install 'minidl[service]'
    python scripts/bench/service.py
    python scripts/bench/service.py --db postgresql://user@host/empty_database
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from service_load import CONFIG, Report, Running, follow_all, list_all, soak, submit_all

from minidl.service.records import NewJob
from minidl.service.settings import ServiceSettings
from minidl.service.states import JobKind, Role
from minidl.service.store import Store
from minidl.service.store import jobs as store_jobs

START_SECONDS = 60


@contextmanager
def service(data: Path, database: str | None) -> Iterator[Running]:
    """Run a service until it is no longer wanted."""
    settings = ServiceSettings(data=data, database=database)
    with Store.open(settings.database_url, data=data) as store:
        token = store.create_token(user="bench", role=Role.ADMIN, actor="bench")[1]
    command = [sys.executable, "-m", "minidl", "service", "--data", str(data), "--port", "0"]
    command += ["--concurrency", "1", *(["--db", database] if database else [])]
    said = data.with_suffix(".log")
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        end = time.monotonic() + START_SECONDS
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said.read_text())):
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"the service did not start:\n{said.read_text()}")
            time.sleep(0.1)
        yield Running(found[0], token, psutil.Process(process.pid), data)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def paused(running: Running) -> Iterator[None]:
    """Stop the trainings for a while: what is measured is the service."""
    stopped = running.trainings()
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def begin_training(running: Running) -> str:
    """Submit the job whose log is followed, and wait until it has said something."""
    with running.client() as client:
        job = client.post("/v1/jobs", json={"config": CONFIG, "name": "followed", "priority": 100})
        job.raise_for_status()
        job_id: str = job.json()["id"]
        end = time.monotonic() + START_SECONDS
        while not client.get(f"/v1/jobs/{job_id}/log").content:
            if time.monotonic() > end:
                sys.exit(f"the training does not begin: {client.get(f'/v1/jobs/{job_id}').text}")
            time.sleep(0.2)
    return job_id


def fill(running: Running, database: str | None, count: int, like: str) -> None:
    """Put jobs into the table: one in ten waits, the others are cancelled."""
    settings = ServiceSettings(data=running.data, database=database)
    with Store.open(settings.database_url, data=running.data) as store:
        job = store.job(like)
        for begin in range(0, count, 200):  # a transaction each would take an hour on a slow disk
            with store.database.write() as transaction:
                for number in range(begin, min(begin + 200, count)):
                    new = NewJob(
                        kind=JobKind.TRAINING,
                        config_text=job.config_text,
                        config=job.config,
                        name=f"filler {number}",
                        labels={"team": f"t{number % 7}"},
                        priority=-1,
                    )
                    actor = f"user{number % 20}"
                    made, _ = store_jobs.submit(transaction, new, actor=actor, quota=None)
                    if number % 10:
                        store_jobs.cancel(transaction, made.id, actor=actor)


def measure(arguments: argparse.Namespace, folder: Path) -> Report:
    """Take the steps of this file's head in their order."""
    report = Report()
    with service(folder / "data", arguments.db) as running:
        report.row("memory at the start", f"{running.megabytes:.0f} MB")
        followed = begin_training(running)
        with paused(running):
            fill(running, arguments.db, arguments.jobs, followed)
            submit_all(running, report, count=arguments.submissions, clients=arguments.clients)
            report.row("memory after the submissions", f"{running.megabytes:.0f} MB")
            list_all(running, report, rounds=arguments.rounds, followed=followed)
        asyncio.run(
            follow_all(
                running,
                report,
                job=followed,
                followers=arguments.followers,
                seconds=arguments.seconds,
            )
        )
        report.row("memory after the followers", f"{running.megabytes:.0f} MB")
        if arguments.soak_minutes:
            soak(running, report, minutes=arguments.soak_minutes, followed=followed)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", help="postgresql://…, an empty database; else SQLite")
    parser.add_argument("--jobs", type=int, default=10_000, help="in the table")
    parser.add_argument("--submissions", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=100, help="of each list, four times")
    parser.add_argument("--followers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20, help="of following")
    parser.add_argument("--soak-minutes", type=float, default=5)
    parser.add_argument("--json", action="store_true", help="figures instead of a table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report = measure(arguments, Path(name))
    if arguments.json:
        print(json.dumps(report.figures))
    else:
        print("| what | seen |\n| --- | --- |")
        for what, seen in report.rows:
            print(f"| {what} | {seen} |")
    if report.faults:
        sys.exit("\n".join(report.faults))


if __name__ == "__main__":
    main()
