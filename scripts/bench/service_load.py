"""The steps of `service.py`: what is asked of the service, and what must come of it."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil

from minidl.service.settings import JobFiles

CONFIG = """\
seed: 7
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.7}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 16}
    - {type: ReLU}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 100000}
"""


@dataclass
class Running:
    """A service: where it is, who asks, and its process."""

    url: str
    token: str
    process: psutil.Process
    data: Path

    def client(self, **how: Any) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            trust_env=False,
            timeout=how.pop("timeout", 120),
            **how,
        )

    @property
    def megabytes(self) -> float:
        return self.process.memory_info().rss / 1e6

    @property
    def cpu_seconds(self) -> float:
        """Of the service's own process, which say more than times where others work here too."""
        return sum(self.process.cpu_times()[:2])

    def trainings(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)


@dataclass
class Report:
    """What was seen, and what must not have been."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def row(self, what: str, seen: str) -> None:
        self.rows.append((what, seen))
        print(f"{what}: {seen}", file=sys.stderr, flush=True)

    def latencies(self, what: str, seconds: Sequence[float], cpu: float | None = None) -> None:
        half, most = percentile(seconds, 50), percentile(seconds, 99)
        self.figures |= {f"{what} p50": half, f"{what} p99": most}
        used = "" if cpu is None else f", {1e3 * cpu / len(seconds):.1f} ms of processor"
        times = f"p50 {1e3 * half:,.0f} ms, p99 {1e3 * most:,.0f} ms"
        self.row(what, f"{times}{used} ({len(seconds):,} times)")

    def must_be(self, what: str, found: int, wanted: int) -> None:
        self.figures[what] = found
        if found != wanted:
            self.faults.append(f"{what}: {found:,}, and {wanted:,} would be right")


def percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


# ---- submissions ---------------------------------------------------------------------------------


def submit_all(running: Running, report: Report, *, count: int, clients: int) -> None:
    """Submit from many clients at once, with repetitions, and count what came of it."""
    chance = random.Random(0)
    keys = [f"bench-{number}" for number in range(count)]
    twice = chance.sample(keys, count // 5)
    hung_up = set(chance.sample(sorted(set(keys) - set(twice)), count // 10))
    work = [*keys, *twice]
    chance.shuffle(work)
    seconds: list[float] = []
    jobs: dict[str, set[str]] = defaultdict(set)
    lock, position = threading.Lock(), iter(work)

    def submit(client: httpx2.Client, key: str, **how: Any) -> httpx2.Response:
        body = {"config": CONFIG, "name": key, "labels": {"bench": "yes"}}
        return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key}, **how)

    def work_off() -> None:
        with running.client() as client:
            while True:
                with lock:
                    key = next(position, None)
                if key is None:
                    return
                if key in hung_up:
                    with suppress(httpx2.TimeoutException):
                        submit(client, key, timeout=httpx2.Timeout(120, read=0.002))
                before = time.perf_counter()
                answer = submit(client, key)
                took = time.perf_counter() - before
                answer.raise_for_status()
                with lock:
                    seconds.append(took)
                    jobs[key].add(answer.json()["id"])

    before, cpu = time.perf_counter(), running.cpu_seconds
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(work_off) for _ in range(clients)]:
            done.result()
    took, cpu = time.perf_counter() - before, running.cpu_seconds - cpu
    there = listed(running, {"label": "bench=yes"})
    told = {job_id for found in jobs.values() for job_id in found}
    report.row(
        f"{count:,} submissions by {clients} clients, {len(twice)} of them twice, "
        f"{len(hung_up)} hung up on",
        f"{len(work) / took:,.0f} a second",
    )
    report.latencies("submit", seconds, cpu)
    report.must_be("lost", len(told - set(there)) + sum(key not in jobs for key in keys), 0)
    report.must_be("double", sum(len(found) - 1 for found in jobs.values()), 0)
    report.must_be("jobs that nobody was told of", len(set(there) - told), 0)
    report.must_be("jobs of those submissions", len(set(there)), count)
    report.row("lost, double", f"{report.figures['lost']:.0f}, {report.figures['double']:.0f}")


def listed(running: Running, query: dict[str, Any]) -> list[str]:
    """Return the ids of all jobs that a query finds."""
    found: list[str] = []
    cursor = None
    with running.client() as client:
        while True:
            page = client.get(
                "/v1/jobs", params={**query, "limit": 200, **({"cursor": cursor} if cursor else {})}
            ).json()
            found += [job["id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
            if not cursor:
                return found


# ---- lists ---------------------------------------------------------------------------------------


def list_all(running: Running, report: Report, *, rounds: int, followed: str) -> None:
    """Time what the page and the command line ask for, four clients at a time."""
    everything = listed(running, {})
    deep = everything[len(everything) * 9 // 10]
    pages: dict[str, tuple[str, dict[str, Any]]] = {
        "list, first page of 50": ("/v1/jobs", {"limit": 50}),
        "list, nine tenths down": ("/v1/jobs", {"limit": 50, "cursor": deep}),
        "list, those that wait": ("/v1/jobs", {"limit": 50, "state": "queued"}),
        "list, by a label": ("/v1/jobs", {"limit": 50, "label": "team=t3"}),
        "list, by a part of the name": ("/v1/jobs", {"limit": 50, "q": "ler 77"}),
        "one job": (f"/v1/jobs/{followed}", {}),
    }
    report.row("jobs in the table", f"{len(everything):,}")
    for name, (path, query) in pages.items():

        def ask(_: int, path: str = path, query: dict[str, Any] = query) -> list[float]:
            found = []
            with running.client() as client:
                for _ in range(rounds):
                    before = time.perf_counter()
                    client.get(path, params=query).raise_for_status()
                    found.append(time.perf_counter() - before)
            return found

        cpu = running.cpu_seconds
        with ThreadPoolExecutor(4) as pool:
            seconds = [took for found in pool.map(ask, range(4)) for took in found]
        report.latencies(name, seconds, running.cpu_seconds - cpu)


# ---- followers -----------------------------------------------------------------------------------


async def follow_all(
    running: Running, report: Report, *, job: str, followers: int, seconds: float
) -> None:
    """Read a log as it grows, many times at once, and compare it with the file."""
    path = JobFiles(running.data, job).log
    sizes, times = [0], [time.monotonic()]
    got: list[list[tuple[float, int, str]]] = [[] for _ in range(followers)]

    async def watch() -> None:
        while True:
            size = os.path.getsize(path)
            if size > sizes[-1]:
                sizes.append(size)
                times.append(time.monotonic())
            await asyncio.sleep(0.005)

    async def read(client: httpx2.AsyncClient, found: list[tuple[float, int, str]]) -> None:
        async with client.sse(f"/v1/jobs/{job}/log/stream", timeout=None) as source:
            source.response.raise_for_status()
            async for event in source:
                found.append((time.monotonic(), int(event.id), event.data))

    before = running.cpu_seconds
    async with httpx2.AsyncClient(
        base_url=running.url,
        headers={"Authorization": f"Bearer {running.token}"},
        trust_env=False,
        limits=httpx2.Limits(max_connections=None),
    ) as client:
        tasks = [asyncio.create_task(watch())]
        tasks += [asyncio.create_task(read(client, found)) for found in got]
        await asyncio.sleep(seconds)
        broken = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    used = (running.cpu_seconds - before) / seconds
    written = path.read_bytes()
    whole = 0
    lags = []
    for found in got:
        end = found[-1][1] if found else 0
        text = "".join(data for _, _, data in found)
        whole += bool(found) and text == written[:end].decode().replace("\r", "\n")
        for at, offset, _ in found[1:]:  # the first holds what was there before
            lags.append(at - times[min(bisect_left(sizes, offset), len(times) - 1)])
    report.must_be("followers that lost their connection", len(broken), 0)
    report.must_be("followers whose log was whole", whole, followers)
    report.row(
        f"{followers} followers of a log for {seconds:.0f} s",
        f"{whole} got all of it; the service used {100 * used:.0f} % of a core",
    )
    if lags:
        report.latencies("from the log's file to a follower", lags)


# ---- memory --------------------------------------------------------------------------------------


def soak(running: Running, report: Report, *, minutes: float, followed: str) -> None:
    """Go on with everything slowly, and watch the memory."""
    end = time.monotonic() + 60 * minutes
    counts: dict[str, int] = defaultdict(int)

    def repeat(name: str, pause: float, do: Callable[[httpx2.Client], object]) -> None:
        with running.client() as client:
            while time.monotonic() < end:
                do(client)
                counts[name] += 1
                time.sleep(pause)

    def submit(client: httpx2.Client) -> None:
        job = client.post("/v1/jobs", json={"config": CONFIG, "priority": -2}).json()["id"]
        client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        client.delete(f"/v1/jobs/{job}").raise_for_status()

    def look(client: httpx2.Client) -> None:
        for page in ("", f"/{followed}", f"/{followed}/metrics", f"/{followed}/artifacts"):
            client.get(f"/v1/jobs{page}").raise_for_status()

    def follow(client: httpx2.Client) -> None:
        with client.sse(f"/v1/jobs/{followed}/log/stream") as source:
            for _, _ in zip(range(3), source, strict=False):
                pass

    samples: list[tuple[float, float]] = []
    tasks = [("submit", 0.1, submit), ("look", 0.1, look), ("follow", 0.5, follow)]
    with ThreadPoolExecutor(len(tasks)) as pool:
        running_tasks = [pool.submit(repeat, *task) for task in tasks]
        while time.monotonic() < end:
            samples.append((time.monotonic(), running.megabytes))
            time.sleep(0.5)
        for task in running_tasks:
            task.result()
    steady = samples[len(samples) // 5 :]
    slope = statistics.linear_regression(*zip(*steady, strict=True)).slope * 60
    report.figures |= {"MB a minute": slope, "MB at the end": steady[-1][1]}
    did = ", ".join(f"{count:,} x {name}" for name, count in counts.items())
    report.row(
        f"memory in {minutes:g} min of use ({did})",
        f"{steady[0][1]:.0f} MB after a fifth, {steady[-1][1]:.0f} MB at the end, "
        f"{slope:+.2f} MB a minute",
    )
