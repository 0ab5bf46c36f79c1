"""``minidl profile CONFIG [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides


def profile(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to profile.")] = 20,
    warm_up: Annotated[int, typer.Option(min=0, help="Steps to take before.")] = 5,
    output: Annotated[
        Path, typer.Option(help="The directory for tables.txt and trace.json.")
    ] = Path("profile"),
) -> None:
    """Take some training steps of CONFIG and show where their time goes; makes no run."""
    with failures():
        from minidl.train.config import load_config
        from minidl.train.profile import profile_training

        try:
            found = profile_training(
                load_config(config, overrides or []), steps=steps, warm_up=warm_up
            )
        except ArithmeticError as error:
            fail(str(error), 1)
        print(found.text())
        try:
            tables, trace = found.write(output)
        except OSError as error:
            fail(f"{output} cannot be written: {error}", 1)
        print(f"\n{tables}\n{trace}: open it in chrome://tracing or https://ui.perfetto.dev")
