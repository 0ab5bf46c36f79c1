"""``minidl sync RUN…``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minidl.cli.failure import fail

if TYPE_CHECKING:
    from minidl.train.tracking.sync import SyncReport


def sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Another store or server than the one in the run's config."
        ),
    ] = None,
) -> None:
    """Send MLflow what it lacks of runs that have ended, after an outage or to another store."""
    from minidl.train.tracking.sync import SyncError, sync_run

    failed = 0
    for run in runs:
        try:
            report = sync_run(run, uri=uri)
        except SyncError as error:
            typer.echo(str(error), err=True)
            failed += 1
            continue
        failed += bool(report.refused)
        typer.echo(f"{run}: {_told(report)}")
        for refused in report.refused:
            typer.echo(f"{run}: {refused}", err=True)
    if failed:
        fail(f"{failed} of {len(runs)} could not be sent as a whole", 1)


def _told(report: SyncReport) -> str:
    from minidl.train.tracking.mlflow_uri import redacted

    where = f"run {report.run_id} at {redacted(report.uri)}"
    if not report.changed:
        return f"nothing was missing; {where} is {report.status}"
    sent = [
        f"{count:,} {name if count == 1 else name + 's'}"
        for count, name in (
            (report.points, "point"),
            (report.files, "file"),
            (report.models, "model"),
        )
        if count
    ]
    new = "made" if report.new_run else "completed"
    return f"{new} {where}, {report.status}; sent {', '.join(sent) or 'its end'}"
