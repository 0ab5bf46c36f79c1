"""``minidl train CONFIG [key=value …]``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.ranks import joined

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
AsJson = Annotated[bool, typer.Option("--json", help="Say what happens as JSON, an event a line.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the run directory at the end, no more.")
]


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, show the plan, create nothing.")
    ] = False,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast-dev-run", help="Try it all on three batches of each part; leaves nothing."
        ),
    ] = False,
    overfit: Annotated[
        int | None,
        typer.Option(
            "--overfit-batches",
            min=1,
            help="Train on so many batches only, always the same, and validate on them too.",
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Profile 20 steps and make no run; `minidl profile` has more options."
        ),
    ] = False,
) -> None:
    """Train what CONFIG describes, into a new run directory."""
    with joined() as world, failures(), ExitStack() as stack:
        if as_json and quiet:
            fail("--json and --quiet exclude each other: choose one", 2, alike=True)
        if profile and (as_json or quiet):
            fail("--profile prints tables: leave --json and --quiet out", 2, alike=True)
        if profile and world.size > 1:
            fail("--profile is for one process: start it without mpiexec", 2, alike=True)
        if profile:
            from minidl.cli.profile import profile as show_profile

            show_profile(config, overrides)
            return
        from minidl.train.config import load_config
        from minidl.train.limits import Limits, fast_dev_run
        from minidl.train.plan import describe_plan
        from minidl.train.reporter import reporter_for
        from minidl.train.together import shared_config, together
        from minidl.train.trainer import Trainer

        changes = overrides or []
        checked = shared_config(world, lambda: load_config(config, changes))
        limits = None if overfit is None else Limits(overfit, overfit=True)
        if fast:
            checked = fast_dev_run(checked, stack.enter_context(tempfile.TemporaryDirectory()))
            limits = limits or Limits(3)
        if dry_run:
            with together(world):
                if world.rank == 0:
                    print(describe_plan(checked, limits))
            raise typer.Exit
        reporter = reporter_for(json=as_json, quiet=quiet)
        run_to_its_end(Trainer(checked, overrides=changes, reporter=reporter, limits=limits))


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
