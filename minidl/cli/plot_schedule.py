"""``minidl plot-schedule CONFIG [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import failures
from minidl.cli.train import Overrides


def plot_schedule(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("schedule.png"),
) -> None:
    """Draw the learning rate over the steps of CONFIG, and train nothing."""
    with failures():
        from minidl.train.build import build
        from minidl.train.config import load_config
        from minidl.train.reports.plots import plot_schedule as draw

        experiment = build(load_config(config, overrides or []))
        rates = experiment.rates()
        draw(rates, output, steps_per_epoch=experiment.steps_per_epoch)
        print(f"{output}: {len(rates):,} steps")
