"""``minidl report RUN [key=value …]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    compare: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Set another run beside it; can be given again."),
    ] = None,
) -> None:
    """Write all there is to a run as one HTML file, its best model evaluated once more."""
    with failures():
        from minidl.train.reports.page import write_report
        from minidl.train.reports.page.write import ReportError
        from minidl.train.reports.records import RunNotFoundError

        try:
            told = write_report(run, output, compared=compare or [], overrides=overrides or [])
        except RunNotFoundError as error:
            fail(str(error), 2)
        except ReportError as error:
            fail(str(error), 1)
        print(output)
        if told.not_examined:
            print(f"without the test samples: {told.not_examined}", file=sys.stderr)
