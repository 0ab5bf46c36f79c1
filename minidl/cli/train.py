"""``minidl train CONFIG [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from minidl.cli.failure import fail, failures

if TYPE_CHECKING:
    from minidl.train.trainer import Trainer

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
    as_json: Annotated[
        bool, typer.Option("--json", help="Say what happens as JSON, an event a line.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the run directory at the end, no more.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Profile 20 steps and make no run; `minidl profile` has more options."
        ),
    ] = False,
) -> None:
    """Train what CONFIG describes, into a new run directory."""
    if as_json and quiet:
        fail("--json and --quiet exclude each other: choose one", 2)
    if profile and (as_json or quiet):
        fail("--profile prints tables: leave --json and --quiet out", 2)
    if profile:
        from minidl.cli.profile import profile as show_profile

        show_profile(config, overrides)
        return
    with failures():
        from minidl.train.config import load_config
        from minidl.train.reporter import reporter_for
        from minidl.train.trainer import Trainer

        changes = overrides or []
        reporter = reporter_for(json=as_json, quiet=quiet)
        run_to_its_end(Trainer(load_config(config, changes), overrides=changes, reporter=reporter))


def run_to_its_end(trainer: Trainer) -> NoReturn:
    """Train, and exit with the status that tells how it ended."""
    from minidl.train.run_directory import RunInUseError
    from minidl.train.trainer import TrainingError

    try:
        result = trainer.run()
    except (TrainingError, RunInUseError) as error:
        fail(str(error), 1)
    except OSError as error:  # a full disk, a directory taken away
        fail(f"the run failed: {error}", 1)
    raise typer.Exit(result.exit_status)
