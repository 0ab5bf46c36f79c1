"""Evaluate the model of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minidl.train.build import Experiment, build
from minidl.train.checkpoint import CheckpointError, read_arrays
from minidl.train.config import Config, load_config
from minidl.train.metrics import Evaluation, evaluate
from minidl.train.run_directory import RunDirectory


def evaluate_run(
    directory: Path,
    overrides: Sequence[str] = (),
    *,
    part: str = "test",
    worst: int = 0,
    reliability: bool = False,
) -> tuple[Evaluation, Experiment]:
    """Evaluate the best model of a run.

    Parameters
    ----------
    directory
        A run directory.
    overrides
        Changes to the run's config, such as ``data.root=…`` where the data have moved.
    part
        ``"test"`` or ``"val"``.
    worst, reliability
        What a report needs beside metrics, see `minidl.train.metrics.evaluate`.

    Raises
    ------
    CheckpointError
        The directory is no run, or its model is missing, damaged, or of another shape.
    ConfigError
        The run's config, so changed, cannot be built, or has no such part.
    """
    run = RunDirectory(directory)
    if not run.config.is_file():
        raise CheckpointError(f"{directory}: not a run directory (there is no config.yaml)")
    # What the run monitored matters no more, and may be a metric that the changes take away.
    config: Config = load_config(run.config, ["trainer.monitor=train/loss", *overrides])
    experiment = build(config)
    arrays, _ = read_arrays(run.weights)
    try:
        experiment.model.load_state_dict(arrays)
    except ValueError as error:
        raise CheckpointError(f"{run.weights}: {error}") from error
    loader = {"test": experiment.data.test, "val": experiment.data.val}.get(part)
    if loader is None:
        raise config.problem(
            ("data", "val_fraction"),
            f"there are no {part!r} samples; wanted 'test', or 'val' where some are held out",
        )
    found = evaluate(experiment, loader, part=part, worst=worst, reliability=reliability)
    return found, experiment
