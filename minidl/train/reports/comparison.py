"""What differs between runs: their configs, and what they came to."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.train.reports.overview import duration, moment, shown
from minidl.train.reports.records import RunRecord

#: Where it was written is no difference between two trainings.
_PLACE = ("trainer.name", "trainer.run_root", "tracking.run_name")


def config_differences(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the dotted paths whose values differ, with the value of each run ("" for none)."""
    paths = dict.fromkeys(path for run in runs for path in run.flat)
    found = {path: [run.flat.get(path, "") for run in runs] for path in paths}
    return {
        path: values
        for path, values in found.items()
        if len(set(values)) > 1 and path not in _PLACE
    }


def outcomes(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return what the runs came to: test metrics, the best of the monitored one, speed, time."""
    tested = dict.fromkeys(name for run in runs for name in run.metrics if name.startswith("test/"))
    found = {name: [shown(name, run.metrics.get(name)) for run in runs] for name in tested}
    for monitor in dict.fromkeys(run.monitor for run in runs):
        values = [run.best if run.best and run.best.metric == monitor else None for run in runs]
        found[f"best {monitor}"] = [
            f"{shown(monitor, best.value)} (epoch {best.epoch})" if best else "" for best in values
        ]
    found["state"] = [run.state for run in runs]
    found["epochs"] = [shown("epochs", run.epochs) for run in runs]
    found["steps"] = ["" if run.steps is None else f"{run.steps:,}" for run in runs]
    found["samples/s"] = [f"{run.samples_per_s:,.0f}" if run.samples_per_s else "" for run in runs]
    found["time"] = [duration(run.seconds) for run in runs]
    found["began"] = [moment(run.began) for run in runs]
    return {name: values for name, values in found.items() if any(values)}


def curves(runs: Sequence[RunRecord]) -> list[str]:
    """Return the metrics that are worth a curve: those with two points or more in any run."""
    found: set[str] = set()
    for run in runs:
        counts: dict[str, int] = {}
        for entry in run.entries:
            for name in entry.metrics:
                counts[name] = counts.get(name, 0) + 1
        found |= {name for name, count in counts.items() if count > 1}
    first = ["train/loss", "val/loss", "train/accuracy", "val/accuracy"]
    last = ["lr", "throughput/samples_per_s"]
    others = sorted(found.difference(first, last))
    return [name for name in [*first, *others, *last] if name in found]
