"""``minidl runs ls [ROOT]``, ``minidl runs show RUN`` and ``minidl runs compare RUN RUN …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail

runs = typer.Typer(help="Look at runs: list, show, compare.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="JSON, one object a line, for machines.")]


@runs.callback()
def options() -> None:
    """Look at runs: list, show, compare."""


@runs.command("ls")
def list_runs(
    root: Annotated[Path, typer.Argument(metavar="[ROOT]", help="Where runs lie.")] = Path("runs"),
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="Order by a column, a metric or a path of the config; -KEY: largest first.",
        ),
    ] = "began",
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="Only these: optimizer.lr=1e-3, model.type=Res*, state=finished, "
            "'test/accuracy>0.98'. Several must all hold.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="One more column: a metric or a path of the config."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs in ROOT (by default, runs)."""
    from minidl.train.reports import overview
    from minidl.train.reports.records import RunNotFoundError, read_runs
    from minidl.train.strict_json import strict_json

    try:
        found = read_runs(root)
        everything = len(found)
        extra = column or []
        overview.check_keys(found, extra)
        found = overview.in_order(overview.select(found, conditions or []), sort)
    except (RunNotFoundError, overview.UnknownKeyError) as error:
        fail(str(error), 2)
    if as_json:
        for run in found:
            print(strict_json(overview.as_data(run)))
    elif found:
        from minidl.train.reports.terminal import print_list

        print_list(found, extra=extra)
    else:
        print(f"{root}: no run" + (f" of {everything} is so" if everything else " yet"))


@runs.command("show")
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    as_json: AsJson = False,
) -> None:
    """Show a run: config, curves, metrics, files."""
    from minidl.train.reports.overview import as_data
    from minidl.train.reports.records import RunNotFoundError, read_run
    from minidl.train.strict_json import strict_json

    try:
        record = read_run(run)
    except RunNotFoundError as error:
        fail(str(error), 2)
    if as_json:
        print(strict_json(as_data(record)))
    else:
        from minidl.train.reports.terminal import print_run

        print_run(record)


@runs.command("compare")
def compare(
    run: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories.")],
) -> None:
    """Show what differs between runs, and their curves on one scale."""
    from minidl.train.reports.records import RunNotFoundError, read_run

    if len(run) < 2:
        fail(f"to compare wants two runs or more, got {run[0]}", 2)
    try:
        records = [read_run(path) for path in run]
    except RunNotFoundError as error:
        fail(str(error), 2)
    from minidl.train.reports.terminal import print_comparison

    print_comparison(records)
