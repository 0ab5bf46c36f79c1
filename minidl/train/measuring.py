"""From a config's ``metrics`` to the objects that measure a run.

What does not fit the task or the data's classes is refused at its line, all of it at once; and
what the run monitors must be among what is measured (`minidl.train.config.monitor` has asked
before, without knowing the classes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minidl.train.config import Config, ConfigError
from minidl.train.config.monitor import fitting, not_there
from minidl.train.config.nodes import KeyPath
from minidl.train.config.problems import Problem
from minidl.train.config.schema import registry
from minidl.train.metrics.metric import Metric, monitored
from minidl.train.tasks import Task, all_metrics


def make_metrics(config: Config, task: Task, classes: Sequence[str]) -> list[Metric]:
    """Make all metrics of a run: those asked for, and those that its task always has.

    Raises
    ------
    ConfigError
        One does not fit the task or its classes, two have one name, or what is monitored is not
        measured.
    """
    fit = fitting(task, registry())
    metrics = all_metrics(task, _asked(config, task, classes, fit))
    names = monitored(metrics, classes, classifies=task.classifies)
    watched: dict[KeyPath, str] = {("trainer", "monitor"): config.trainer.monitor}
    if config.sweep is not None and config.sweep.metric is not None:
        watched["sweep", "metric"] = config.sweep.metric
    for path, name in watched.items():
        if name not in names:
            raise config.problem(path, *not_there(str(path[-1]), name, names, fit))
    return metrics


def _asked(
    config: Config, task: Task, classes: Sequence[str], fit: Mapping[str, type[Metric]]
) -> list[Metric]:
    made: list[Metric] = []
    problems: list[Problem] = []
    for i, spec in enumerate(config.metrics):
        hint = None
        try:
            metric: Metric = registry()["metrics"][spec.type](**spec.arguments())
            if spec.type not in fit:
                hint = f"there are: {', '.join(fit)}" if fit else "there is none but the loss"
                raise ValueError(f"{spec.type} is no metric of {type(task).__name__}")
            metric.check(classes)
            if any(metric.names(classes) == other.names(classes) for other in made):
                raise ValueError(f"there are two metrics of the name {metric.name}")
            made.append(metric)
        except (ValueError, TypeError) as error:
            problems += config.problem(("metrics", i), str(error), hint).problems
    if problems:
        raise ConfigError(problems)
    return made
