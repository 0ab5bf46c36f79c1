"""``minidl lr-find CONFIG [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides


def lr_find(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    lowest: Annotated[float, typer.Option("--min", help="The rate to begin with.")] = 1e-7,
    highest: Annotated[float, typer.Option("--max", help="The rate to end with.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Steps from one to the other, at least 20.")] = 100,
    output: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("lr_find.png"),
) -> None:
    """Try learning rates on the first batches of CONFIG, and say which suit; makes no run."""
    with failures():
        from minidl.train.build import build
        from minidl.train.config import load_config
        from minidl.train.lr_finder import find_learning_rate
        from minidl.train.reports.lr_plot import plot_finding
        from minidl.train.reports.plots import plots_available

        if not plots_available():
            fail("lr-find draws a picture: matplotlib is wanted (pip install 'minidl[plot]')", 2)
        loaded = load_config(config, overrides or [])
        experiment = build(loaded)
        try:
            finding = find_learning_rate(
                experiment, settings=loaded.trainer, lowest=lowest, highest=highest, steps=steps
            )
        except ValueError as error:
            fail(str(error), 2)
        try:
            plot_finding(finding, output)
        except OSError as error:
            fail(f"{output} cannot be written: {error}", 1)
        ended = f"diverged at {finding.rates[-1]:.2g}" if finding.diverged else "did not diverge"
        print(f"{output}: {len(finding.rates)} of {steps} steps, {ended}")
        if finding.suggestion is None or finding.tenth_of_minimum is None:
            fail("the loss never fell: try other bounds, or look for a mistake in the config", 1)
        print(f"  steepest fall        optimizer.lr={finding.suggestion:.2g}")
        print(f"  a tenth of lowest    optimizer.lr={finding.tenth_of_minimum:.2g}")
