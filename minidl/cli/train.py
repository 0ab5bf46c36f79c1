"""``minidl train CONFIG [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Changes to the config: optimizer.lr=3e-4, model.layers.0.out_channels=64, "
        "~trainer.early_stop.",
    ),
]


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
) -> None:
    """Train what CONFIG describes, into a new run directory."""
    with failures():
        from minidl.train.config import load_config
        from minidl.train.trainer import Trainer, TrainingError

        changes = overrides or []
        trainer = Trainer(load_config(config, changes), overrides=changes)
        try:
            result = trainer.run()
        except TrainingError as error:
            fail(str(error), 1)
        except OSError as error:  # a full disk, a directory taken away
            fail(f"the run failed: {error}", 1)
        raise typer.Exit(result.exit_status)
