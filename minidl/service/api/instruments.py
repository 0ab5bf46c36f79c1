"""Figures for Prometheus: of jobs and streams, beside those of requests and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from minidl.service.api.watching import Happening
from minidl.service.states import TERMINAL, JobState
from minidl.serving.instruments import Instruments

WAITS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)


class ServiceInstruments(Instruments):
    """The figures of one service."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Gauge("minidl_jobs", "Jobs by state.", ["state"], registry=self.registry)
        self.wait = Histogram(
            "minidl_job_wait_seconds",
            "Time from a job's submission to the start of its first attempt.",
            buckets=WAITS,
            registry=self.registry,
        )
        self.submitted = Counter(
            "minidl_submissions", "Submissions taken.", ["kind"], registry=self.registry
        )
        self.ended = Counter(
            "minidl_jobs_ended", "Jobs that ended, by state.", ["state"], registry=self.registry
        )
        self.refusals = Counter(
            "minidl_refusals",
            "Requests refused, by what was wrong.",
            ["why"],
            registry=self.registry,
        )
        self.streams = Gauge("minidl_open_streams", "Streams open now.", registry=self.registry)
        self.scheduler = Gauge(
            "minidl_scheduler_leads",
            "1 where this process starts jobs, 0 where another one does.",
            registry=self.registry,
        )

    def watch(self, waiting: Callable[[], int]) -> None:
        """Leave the gauge of waiting samples alone: it is of all models together."""

    def set_jobs(self, counts: Mapping[JobState, int]) -> None:
        """Note how many jobs are in each state."""
        for state, count in counts.items():
            self.jobs.labels(str(state)).set(count)

    def observe(self, happening: Happening) -> None:
        """Note what happened to a job."""
        event, job = happening.event, happening.job
        state = str(event.data.get("state", ""))
        if event.kind == "attempt_started" and job is not None and event.data.get("number") == 1:
            self.wait.observe(max(0.0, event.at - job.created_at))
        if event.kind in ("attempt_ended", "cancel_asked") and state in TERMINAL:
            self.ended.labels(state).inc()
