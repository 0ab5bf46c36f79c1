"""Whether a run will have the metric that its config monitors, or that a sweep is about.

It is asked twice: when a config is read, with what is known then (a metric of one class is let
through), and when a run is built, with the data's classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minidl.train.config.problems import clip, did_you_mean
from minidl.train.config.sections import TrainerSection

if TYPE_CHECKING:
    from minidl.train.config.nodes import KeyPath, Source
    from minidl.train.config.schema import Registry
    from minidl.train.metrics import Metric
    from minidl.train.tasks import Task

NAMES_LISTED = 12


def check_monitor(source: Source, data: Mapping[str, Any], classes: Registry) -> None:
    """Report a ``monitor``, or a sweep's ``metric``, that a config cannot have.

    Parameters
    ----------
    data
        The config as plain data; where it is wrong otherwise, nothing is said here.
    """
    trainer, dataset, sweep = data.get("trainer", {}), data.get("data"), data.get("sweep")
    if not isinstance(trainer, dict) or not isinstance(dataset, dict):
        return
    watched: dict[KeyPath, Any] = {
        ("trainer", "monitor"): trainer.get("monitor", TrainerSection().monitor)
    }
    if isinstance(sweep, dict) and sweep.get("metric") is not None:
        watched["sweep", "metric"] = sweep["metric"]
    made = _metrics(data, classes)
    if made is None:
        return
    from minidl.train.metrics.metric import monitored

    task, metrics = made
    names = monitored(metrics, classifies=task.classifies)
    of_one_class = {f"val/{m.stem}/" for m in metrics if getattr(m, "average", "") == "none"}
    fraction = dataset.get("val_fraction", 0.1)
    for path, name in watched.items():
        if not isinstance(name, str):
            continue
        key = str(path[-1])
        if name not in names and not name.startswith(tuple(of_one_class)):
            wrong = not_there(key, name, names, fitting(task, classes))
            source.report(source.trail(path)[-1].place, *wrong)
        elif name.startswith("val/") and fraction == 0 and fraction is not False:
            written = path if key in data.get(str(path[0]), {}) else ("data", "val_fraction")
            other = name.replace("val", "train", 1)
            source.report(
                source.trail(written)[-1].place,
                f"`{key}` is {name}, but `val_fraction` of 0 leaves no validation samples",
                f"set `{key}` in `{path[0]}` to {other if other in names else 'train/loss'},"
                " or `val_fraction` in `data` above 0",
            )


def fitting(task: Task | type[Task], classes: Registry) -> dict[str, type[Metric]]:
    """Return the metrics that a task can have, by name."""
    known = classes.get("metrics", {}).items()
    return {name: cls for name, cls in known if issubclass(cls, task.metrics or ())}


def not_there(
    key: str, monitor: str, names: Sequence[str], others: Mapping[str, type[Metric]]
) -> tuple[str, str]:
    """Say that there is no such metric among ``names``, and what to do.

    Parameters
    ----------
    key
        What asks for it: ``monitor``.
    others
        Metrics that the config could have.
    """
    message = f"`{key}` is {clip(monitor)}, and this config gives no such metric"
    if missing := _entry(monitor, others):
        return message, f"add {missing} to `metrics`"
    shown = ", ".join(names) if len(names) <= NAMES_LISTED else f"{', '.join(names[:11])}, …"
    return message, did_you_mean(monitor, names) or f"there are: {shown}"


def _metrics(data: Mapping[str, Any], classes: Registry) -> tuple[type[Task], list[Metric]] | None:
    """Return a config's task and its metrics; None where the data are too wrong."""
    from minidl.train import tasks

    task, given = data.get("task"), data.get("metrics", [])
    numbers = data["data"].get("task") == "regression"
    kind: Any = tasks.Regression if numbers else tasks.Classification
    if task is not None:
        kind = _class_of(task, "task", classes)
    made = []
    for entry in given if isinstance(given, list) else ():
        cls = _class_of(entry, "metrics", classes)
        try:
            arguments = {key: value for key, value in dict(entry).items() if key != "type"}
            made.append(cls(**arguments))
        except (TypeError, ValueError):
            return None
    return None if kind is None else (kind, tasks.all_metrics(kind, made))


def _class_of(entry: Any, section: str, classes: Registry) -> Any:
    name = entry.get("type") if isinstance(entry, dict) else None
    return classes.get(section, {}).get(name) if isinstance(name, str) else None


def _entry(monitor: str, others: Mapping[str, type[Metric]]) -> str | None:
    """Return the entry of ``metrics`` that would give what is monitored, if there is one."""
    part, _, name = monitor.partition("/")
    if part != "val":
        return None
    if "TopKAccuracy" in others and (best := re.fullmatch(r"top(\d+)_accuracy", name)):
        return f"{{type: TopKAccuracy, k: {best[1]}}}"
    stem, _, one = name.partition("/")
    for kind, cls in others.items():
        made: Any = cls()
        if not one and name == made.name:
            return f"{{type: {kind}}}"
        for average in getattr(cls, "averages", ()):
            made = cls(average)  # type: ignore[call-arg]
            if name == made.name if average != "none" else one and stem == made.stem:
                return f"{{type: {kind}, average: {average}}}"
    return None
