"""What MLflow is told of a run: at its beginning, and what is handed over at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from minidl.autograd.primitive import Array
from minidl.train import environment
from minidl.train.build import Experiment
from minidl.train.config import Config
from minidl.train.config.sections import TrackingSection
from minidl.train.inference import answers_samples
from minidl.train.journal import Entry, read_journal
from minidl.train.metrics.direction import higher_is_better
from minidl.train.run_directory import RunDirectory
from minidl.train.tracking import (
    DatasetInfo,
    RunDescription,
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
        require_mlflow(config.tracking.uri)
    except ModuleNotFoundError as error:
        raise config.problem(("tracking",), str(error)) from error
    if config.tracking.alias is not None and config.tracking.registered_model is None:
        raise config.problem(
            ("tracking", "alias"),
            "`alias` names a version of a registered model, and there is none",
            "say which with `registered_model`",
        )
    if config.tracking.registered_model is not None and not config.tracking.log_model:
        raise config.problem(
            ("tracking", "registered_model"),
            "`registered_model` wants a logged model, and `log_model` is false",
        )
    try:
        mlflow_uri.resolve_uri(config.tracking.uri)
    except ValueError as error:
        raise config.problem(("tracking", "uri"), str(error)) from error


def start_tracking(
    config: Config, experiment: Experiment, run: RunDirectory, *, say: Callable[[str], None]
) -> Tracker | None:
    """Begin to track a run, or go on with one that is resumed; None where there is no ``tracking``.

    What MLflow is to be told is written to the run directory in any case, for ``minidl sync``.
    Of a resumed run the whole journal is sent again, where MLflow lacks it; it must therefore be
    on disk, as far as it is to stay, before this is called.
    """
    description = _describe(config, experiment, run)
    try:
        description.write(description_path(run))
        if not example_path(run).exists():
            np.save(example_path(run), experiment.data.test.dataset.inputs[:2], allow_pickle=False)
    except OSError as error:  # a full disk is no reason not to go on
        say(f"what MLflow is to be told of this run cannot be kept for `minidl sync`: {error}")
    section = config.tracking
    if section is None:
        return None
    return Tracker(
        settings_of(section),
        description,
        entries=read_journal(run.journal) if run.journal.exists() else (),
        record=record_path(run),
        # `mlflow run` makes a run, names it here, and expects its program to use it.
        adopt=os.environ.get("MLFLOW_RUN_ID"),
        on_message=say,
    )


def settings_of(section: TrackingSection) -> TrackingSettings:
    """Return a config's ``tracking`` section as the tracker takes it."""
    return TrackingSettings(
        section.uri,
        section.experiment,
        system_metrics=section.system_metrics,
        log_model=section.log_model,
        parent_run_id=section.parent_run_id,
        registered_model=section.registered_model,
        alias=section.alias,
    )


def record_path(run: RunDirectory) -> Path:
    """Return the file that says where MLflow keeps the run."""
    return run.root / "tracking.json"


def description_path(run: RunDirectory) -> Path:
    """Return the file that says what MLflow is to be told of the run."""
    return run.root / "description.json"


def _describe(config: Config, experiment: Experiment, run: RunDirectory) -> RunDescription:
    """Return what was written of the run when it began, or what is to be written now.

    A resumed run may have another config (more epochs) and another machine. Its params are the
    ones it began with, which MLflow would not change anyway; its tags tell of now.
    """
    path = description_path(run)
    bare = describe_config(config, run)
    here = environment.describe()
    if commit := here.get("git.commit"):
        # The name under which MLflow's pages show it.
        here["mlflow.source.git.commit"] = commit.removesuffix("+changes")
    bare = replace(bare, tags={**here, **bare.tags})
    if path.exists():
        old = RunDescription.read(path)
        return replace(old, tags=bare.tags, uri=bare.uri)
    return replace(bare, datasets=_datasets(config, experiment), started=time.time())


def describe_config(config: Config, run: RunDirectory) -> RunDescription:
    """Return what the config alone tells of a run: no data, no machine, no time."""
    section = config.tracking
    params, uri = config.flat(), None
    tags = {"config.digest": config.digest(), "run.directory": str(run.root.absolute())}
    if section is not None:
        # A password in the address of the server is not to be read by its users.
        params["tracking.uri"] = mlflow_uri.redacted(section.uri)
        uri = mlflow_uri.redacted(mlflow_uri.resolve_uri(section.uri))
        tags |= section.tags
        if section.description:
            tags["mlflow.note.content"] = section.description
    name = (section and section.run_name) or run.root.absolute().name
    return RunDescription(run.uid, name, params=params, tags=tags, uri=uri)


def _datasets(config: Config, experiment: Experiment) -> list[DatasetInfo]:
    data = experiment.data
    parts = {"training": data.train, "validation": data.val, "test": data.test}
    return [
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


def hand_over(
    tracker: Tracker, config: Config, experiment: Experiment, run: RunDirectory, *, best_epoch: int
) -> None:
    """Send the files of a run that has ended: plots, journal, config, the best model."""
    for path, artifact_path in artifacts(config, run):
        tracker.artifact(path, artifact_path)
    if run.weights.exists() and answers_samples(config):
        tracker.model(
            run.model,
            example=example_of(run),
            points=best_entries(read_journal(run.journal), config, best_epoch),
        )


def best_entries(entries: list[Entry], config: Config, epoch: int | None) -> list[Entry]:
    """Return the entries that say how good the best model is: those of its validation.

    ``epoch`` is the one it was found in; None where that was not noted, and all are looked at.
    """
    monitor = config.trainer.monitor
    found = [
        entry
        for entry in entries
        if (epoch is None or entry.epoch == epoch)
        and any(name.startswith("val/") for name in entry.metrics)
    ]
    compared = [entry for entry in found if monitor in entry.metrics]
    if not compared:  # a metric of the training is watched: the last validation is the nearest
        return found[-1:]
    choose = max if higher_is_better(monitor) else min
    return [choose(compared, key=lambda entry: entry.metrics[monitor])]


def example_path(run: RunDirectory) -> Path:
    """Return the file with two raw samples, which show what the model takes."""
    return run.model / "example.npy"


def example_of(run: RunDirectory) -> Array | None:
    """Return the two raw samples, None where there are none that can be read."""
    try:
        samples: Array = np.load(example_path(run), allow_pickle=False)
    except (OSError, ValueError):
        return None
    return samples


def artifacts(config: Config, run: RunDirectory) -> list[tuple[Path, str]]:
    """Return the files that MLflow keeps of a run, each with the directory it keeps it in."""
    files = [(path, "plots") for path in sorted(run.plots.glob("*"))]
    files += [(run.journal, "run"), (run.root / "clock.jsonl", "run")]
    if not answers_samples(config):  # a generator, say: MLflow has no way to ask it
        files += [(run.weights, "model"), (run.model / "config.yaml", "model")]
    section = config.tracking
    if section is None or mlflow_uri.redacted(section.uri) == section.uri:  # else: a password
        files += [(run.source, "run"), (run.config, "run")]
    return [(path, place) for path, place in files if path.is_file()]
