"""``minidl sweep CONFIG [key=value,value …]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures

Varied = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE[,VALUE]...]...",
        help="Values to try: optimizer.lr=1e-4,1e-3, or 'optimizer.lr={low: 1e-5, high: 1e-1, "
        "log: true}'; with one value, a change to the config.",
    ),
]


def sweep(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Varied = None,
    trials: Annotated[
        int | None, typer.Option("--trials", "-n", min=1, help="Trials in all.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Trials at a time on this machine.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds after which no trial is begun; those that run go on."),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="Name of the study: the same name goes on with it, or joins it."),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="sqlite:///FILE or postgresql://…: where the study is kept.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all values, list the trials, begin none.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say what happens as JSON, an event a line.")
    ] = False,
) -> None:
    """Train CONFIG many times with other values, and find the best.

    The same command again goes on with a sweep that was interrupted or killed. The same command on
    another machine, with a storage that both reach, works on the same study.
    """
    with failures():
        from importlib.util import find_spec

        if find_spec("optuna") is None:
            fail("sweeps need Optuna: pip install 'minidl[sweep]'", 2)
        from minidl.sweep.plan import make_plan
        from minidl.sweep.reporter import JsonSweepReporter, SweepReporter
        from minidl.sweep.run import SweepError, run_sweep

        plan = make_plan(
            config, overrides or [], trials=trials, jobs=jobs, study=study, storage=storage
        )
        if dry_run:
            print(plan.describe())
            return
        reporter = JsonSweepReporter() if as_json else SweepReporter()
        try:
            result = run_sweep(plan, reporter=reporter, timeout=timeout)
        except SweepError as error:
            fail(str(error), 1)
        raise typer.Exit(result.exit_status)
