"""What MLflow is told of a run: at its beginning, and what is handed over at its end."""

from __future__ import annotations

from collections.abc import Callable

from minidl.train import environment
from minidl.train.build import Experiment
from minidl.train.config import Config
from minidl.train.journal import read_journal
from minidl.train.run_directory import RunDirectory
from minidl.train.tracking import (
    DatasetInfo,
    Tracker,
    TrackingSettings,
    mlflow_uri,
    require_mlflow,
)


def require_tracking(config: Config) -> None:
    """Refuse a config whose tracking cannot work, before anything is made.

    Raises
    ------
    ConfigError
        MLflow is not installed, or the address names no store.
    """
    if config.tracking is None:
        return
    try:
        require_mlflow()
    except ModuleNotFoundError as error:
        raise config.problem(("tracking",), str(error)) from error
    try:
        mlflow_uri.resolve_uri(config.tracking.uri)
    except ValueError as error:
        raise config.problem(("tracking", "uri"), str(error)) from error


def start_tracking(
    config: Config, experiment: Experiment, run: RunDirectory, *, say: Callable[[str], None]
) -> Tracker | None:
    """Begin to track a run; None where the config has no ``tracking``."""
    section = config.tracking
    if section is None:
        return None
    data = experiment.data
    parts = {"training": data.train, "validation": data.val, "test": data.test}
    datasets = [
        DatasetInfo(
            name=loader.dataset.name,
            digest=loader.dataset.digest(),
            source=str(config.data.arguments().get("root", "minidl")),
            context=context,  # type: ignore[arg-type]
            profile={"num_rows": len(loader.dataset), "shape": list(data.sample_shape)},
        )
        for context, loader in parts.items()
        if loader is not None
    ]
    tags = environment.describe() | {"config.digest": config.digest()}
    return Tracker(
        TrackingSettings(
            section.uri, section.experiment, section.system_metrics, section.log_model
        ),
        run_name=section.run_name or run.root.name,
        # A password in the address of the server is not to be read by its users.
        params=config.flat() | {"tracking.uri": mlflow_uri.redacted(section.uri)},
        tags=tags | section.tags | {"run.directory": str(run.root.absolute())},
        datasets=datasets,
        on_message=say,
    )


def hand_over(
    tracker: Tracker, config: Config, experiment: Experiment, run: RunDirectory, *, best_epoch: int
) -> None:
    """Send the files of a run that has ended: plots, journal, config, the best model."""
    for path in sorted(run.plots.iterdir()):
        tracker.artifact(path, "plots")
    tracker.artifact(run.journal, "run")
    section = config.tracking
    if section is not None and mlflow_uri.redacted(section.uri) == section.uri:
        for path in (run.source, run.config):
            tracker.artifact(path, "run")
    if run.weights.exists() and not experiment.task.classifies:
        tracker.artifact(run.weights, "model")  # MLflow's model gives class probabilities
    elif run.weights.exists():
        tracker.model(
            run.model,
            sample_shape=experiment.data.sample_shape,
            example=experiment.data.test.dataset.inputs[:2],
            points=[
                entry
                for entry in read_journal(run.journal)
                if entry.epoch == best_epoch and "val/accuracy" in entry.metrics
            ],
        )
