"""``minidl validate CONFIG [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import failures
from minidl.cli.train import Overrides


def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
) -> None:
    """Check CONFIG, the data it reads and the shapes of its model, and create nothing."""
    with failures():
        from minidl.train.build import build
        from minidl.train.config import load_config

        checked = load_config(config, overrides or [])
        experiment = build(checked)
        print(experiment.model)
        print(
            f"{config} is valid: {len(experiment.data.train.dataset):,} training samples, "
            f"{experiment.total_steps:,} steps in {checked.trainer.epochs} epochs"
        )
