"""Jobs, attempts, files and tokens as text, in the tables that `minidl runs` has.

What the service sends is shown as it is: a field that is not there leaves its cell empty, so that
this side may be older or newer than the service.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from minidl.train.reports import overview
from minidl.train.reports.sparkline import resample, sparkline
from minidl.train.reports.terminal import Page, file_size

Data = Mapping[str, Any]

TERMINAL_STATES = frozenset({"succeeded", "failed", "timed_out", "cancelled"})


def print_jobs(jobs: Sequence[Data], page: Page | None = None) -> None:
    """Print a line for each job."""
    page = Page() if page is None else page
    cells: dict[str, Callable[[Data], str]] = {
        "job": lambda job: str(job.get("id", "")),
        "name": lambda job: str(job.get("name") or ""),
        "state": lambda job: str(job.get("state", "")),
        "owner": lambda job: str(job.get("owner", "")),
        "done": done,
        "time": lambda job: overview.duration(_run_seconds(job)),
        "submitted": lambda job: moment(job.get("created_at")),
        "ranks": lambda job: str(job.get("ranks") or 1),
        "": outcome,
    }
    if all((job.get("ranks") or 1) == 1 for job in jobs):
        del cells["ranks"]
    page.table(list(cells), [[cell(job) for cell in cells.values()] for job in jobs])


def print_job(
    job: Data, attempts: Sequence[Data], points: Sequence[Data], page: Page | None = None
) -> None:
    """Print all there is to a job."""
    page = Page() if page is None else page
    page.line(str(job.get("id", "")), "bold")
    page.pairs(facts(job))
    if job.get("error"):
        page.heading("error")
        page.line(str(job["error"]), "red")
    if attempts:
        page.heading("attempts")
        print_attempts(attempts, page)
    _print_curves(points, page)
    if metrics := (job.get("result") or {}).get("metrics"):
        page.heading("metrics")
        page.pairs({name: overview.shown(name, number(value)) for name, value in metrics.items()})


def facts(job: Data) -> dict[str, str]:
    """Return what is known of a job, a name and a text each; what is not known is not there."""
    mlflow, place = job.get("mlflow") or {}, job.get("queue_position")
    found = {
        "state": str(job.get("state", "")) + (f" (place {place} in the queue)" if place else ""),
        "name": str(job.get("name") or ""),
        "kind": str(job.get("kind") or ""),
        "owner": str(job.get("owner") or ""),
        "labels": ", ".join(f"{k}={v}" for k, v in (job.get("labels") or {}).items()),
        "priority": str(job.get("priority") or ""),
        "submitted": moment(job.get("created_at"), seconds=True),
        "started": moment(job.get("started_at"), seconds=True),
        "ended": moment(job.get("ended_at"), seconds=True),
        "files": f"removed {moment(job['files_removed_at'])}"
        if job.get("files_removed_at")
        else "",
        "time": overview.duration(_run_seconds(job)),
        "timeout": overview.duration(job.get("timeout")),
        "retries": f"{job.get('retries_used') or 0} of {job['max_retries']} used"
        if job.get("max_retries")
        else "",
        "done": done(job),
        "ranks": str(job["ranks"]) if (job.get("ranks") or 1) > 1 else "",
        "best": _best(job.get("result") or {}),
        "MLflow": str(mlflow.get("url") or mlflow.get("command") or mlflow.get("run_id") or ""),
    }
    return {name: text for name, text in found.items() if text}


def _run_seconds(job: Data) -> float | None:
    """Return how long a job has run; its sum is told when an attempt has ended."""
    began = when(job.get("started_at"))
    if job.get("state") in ("running", "cancelling") and job.get("attempts") == 1 and began:
        return max(time.time() - began, 0.0)
    return job.get("run_seconds") or None


def _best(result: Data) -> str:
    best, monitor = result.get("best"), result.get("monitor")
    if isinstance(best, Mapping):  # of a sweep
        found = " ".join(f"{k}={v}" for k, v in (best.get("parameters") or {}).items())
        value = best.get("value")
        shown = f"{value:.6g}" if isinstance(value, float) else value
        return f"{shown} in trial {best.get('number')}: {found}"
    return f"{monitor} {overview.shown(monitor, number(best))}" if monitor and best else ""


def print_attempts(attempts: Sequence[Data], page: Page | None = None) -> None:
    """Print a line for each attempt."""
    page = Page() if page is None else page
    headings = ["attempt", "state", "began", "time", "steps", "status", "why"]
    page.table(headings, [_attempt(attempt) for attempt in attempts])


def _attempt(attempt: Data) -> list[str]:
    began, ended = when(attempt.get("started_at")), when(attempt.get("ended_at"))
    first, last = attempt.get("first_step"), attempt.get("last_step")
    status = attempt.get("exit_status")
    why = [str(attempt[key]) for key in ("cause", "error") if attempt.get(key)]
    return [
        str(attempt.get("number", "")),
        str(attempt.get("state", "")),
        moment(attempt.get("started_at"), seconds=True),
        overview.duration(ended - began if began is not None and ended is not None else None),
        "" if last is None else f"{first or 0:,} to {last:,}",
        "" if status is None else str(status),
        first_line(": ".join(why)),
    ]


def print_files(files: Iterable[Data], page: Page | None = None) -> None:
    """Print the files of a run, with their sizes."""
    page = Page() if page is None else page
    page.table(
        ["file", "size", "changed"],
        [
            [str(one["path"]), file_size(int(one.get("size") or 0)), moment(one.get("modified"))]
            for one in files
        ],
    )


def print_events(events: Iterable[Data], page: Page | None = None) -> None:
    """Print what happened to a job, a line an event."""
    page = Page() if page is None else page
    rows = []
    for event in events:
        data = " ".join(f"{k}={v}" for k, v in (event.get("data") or {}).items())
        at = moment(event.get("at"), seconds=True)
        rows.append([at, str(event.get("kind", "")), str(event.get("actor") or ""), data])
    page.table(["when", "what", "by", ""], rows)


def print_tokens(tokens: Iterable[Data], page: Page | None = None) -> None:
    """Print a line for each token; the service knows no token's text."""
    page = Page() if page is None else page
    headings = ["token", "user", "role", "label", "made", "expires", "last used", "revoked"]
    times = ("created_at", "expires_at", "last_used_at", "revoked_at")
    rows = []
    for token in tokens:
        names = [str(token.get(key) or "") for key in ("id", "user", "role", "label")]
        rows.append([*names, *(moment(token.get(key)) for key in times)])
    page.table(headings, rows)


def done(job: Data) -> str:
    """Return how far a job has come: ``3/8 epochs``, ``30/500 steps``, ``5/16 trials``."""
    progress = job.get("progress") or {}
    known = [measure for measure in _MEASURES if progress.get(measure[0]) is not None]
    for reached, planned, what in known:
        if progress.get(planned):
            return f"{progress[reached]:,}/{progress[planned]:,} {what}"
    return f"{progress[known[0][0]]:,} {known[0][2]}" if known else ""


_MEASURES = (
    ("finished", "trials", "trials"),
    ("epoch", "epochs", "epochs"),
    ("step", "total_steps", "steps"),
)


def outcome(job: Data) -> str:
    """Return in a few words what came of a job, or where it stands."""
    state = job.get("state")
    if job.get("error"):
        return first_line(str(job["error"]))
    if state == "queued" and job.get("queue_position"):
        return f"place {job['queue_position']} in the queue"
    if isinstance((job.get("result") or {}).get("best"), Mapping):
        return first_line(f"best {_best(job['result'])}")
    known = {**((job.get("progress") or {}).get("metrics") or {})}
    known |= (job.get("result") or {}).get("metrics") or {}
    for name in ("test/accuracy", "val/accuracy", "train/accuracy", "test/loss", "train/loss"):
        if name in known:
            return f"{name} {overview.shown(name, number(known[name]))}"
    return ""


def when(text: Any) -> float | None:
    """Return the seconds since 1970 of an RFC 3339 text."""
    if isinstance(text, (int, float)):
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None


def moment(text: Any, *, seconds: bool = False) -> str:
    """Write an RFC 3339 time as this machine's clock has it."""
    at = when(text)
    if at is None:
        return ""
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    return datetime.fromtimestamp(at).strftime(form)


def number(value: Any) -> Any:
    """Return a metric's value; what is not finite travels as text."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def first_line(text: str, most: int = 100) -> str:
    """Return the first line of a text, cut where it is long."""
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= most else f"{line[:most]}…"


def _print_curves(points: Sequence[Data], page: Page) -> None:
    curves: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        for name, value in (point.get("metrics") or {}).items():
            if isinstance(value := number(value), (int, float)):
                curves.setdefault(name, []).append((int(point.get("step") or 0), float(value)))
    drawn = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not drawn:
        return
    page.heading("curves")
    end = max(step for curve in drawn.values() for step, _ in curve) or 1
    width = 40 if page.wide is None else min(max(page.wide - 70, 10), 60)
    rows = []
    for name, curve in drawn.items():
        steps, values = [step for step, _ in curve], [value for _, value in curve]
        line = page.blocks(sparkline(resample(steps, values, end=end, width=width)))
        finite = [value for value in values if math.isfinite(value)] or [math.nan]
        ends = [values[0], values[-1], min(finite), max(finite)]
        rows.append([name, line, *(overview.shown(name, value) for value in ends)])
    page.table(["metric", "", "first", "last", "least", "most"], rows)
