"""``minidl validate CONFIG [key=value …]``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import failures
from minidl.cli.train import Overrides


def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of what is wrong, for programs.")
    ] = False,
) -> None:
    """Check CONFIG, the data it reads and the shapes of its model, and create nothing."""
    with failures():
        from minidl.train.build import build
        from minidl.train.config import ConfigError, load_config

        try:
            experiment = build(load_config(config, overrides or []))
        except ConfigError as error:
            if not as_json:
                raise
            print(json.dumps([problem.as_data() for problem in error.problems], indent=1))
            raise typer.Exit(2) from None
        if as_json:
            print("[]")
            return
        print(experiment.model)
        print(
            f"{config} is valid: {len(experiment.data.train.dataset):,} training samples, "
            f"{experiment.length()}"
        )
