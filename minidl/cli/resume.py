"""``minidl resume RUN [key=value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.ranks import joined
from minidl.cli.train import AsJson, Overrides, Quiet, run_to_its_end


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of the run.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was interrupted, as if it had not been.

    Of its config only where things are and how long it trains can be changed: data.root,
    trainer.epochs, trainer.max_steps, trainer.max_time, trainer.early_stop, tracking.
    """
    with joined() as world, failures():
        if as_json and quiet:
            fail("--json and --quiet exclude each other: choose one", 2, alike=True)
        from minidl.train.reporter import reporter_for
        from minidl.train.run_directory import RunDirectory
        from minidl.train.together import together
        from minidl.train.trainer import Trainer

        changes, finished = overrides or [], False
        with together(world):
            if world.rank == 0 and RunDirectory.open(run).status() == "FINISHED" and not changes:
                print(f"{run} has finished already; trainer.epochs=N makes it longer")
                finished = True
        if world.broadcast(finished):
            raise typer.Exit(0)
        try:
            reporter = reporter_for(json=as_json, quiet=quiet)
            trainer = Trainer.resume(run, changes, reporter=reporter)
        except ValueError as error:
            fail(str(error), 2)
        run_to_its_end(trainer)
