"""The command ``minidl``: one small file a verb.

Verbs import what they need when they are called, so that ``minidl --help`` answers at once. What
a user can cause ends in a message and an exit status, never in a traceback: 2 for a config or
argument that cannot be used, 1 for a run that failed, 130 and 75 for Ctrl-C and SIGTERM, 69 for
a service that does not answer.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from minidl import __version__
from minidl.cli.cancel import cancel
from minidl.cli.config import config
from minidl.cli.data import data
from minidl.cli.evaluate import evaluate
from minidl.cli.explain import explain
from minidl.cli.export import export
from minidl.cli.job import job
from minidl.cli.jobs import jobs
from minidl.cli.login import login
from minidl.cli.logs import logs
from minidl.cli.lr_find import lr_find
from minidl.cli.plot_schedule import plot_schedule
from minidl.cli.predict import predict
from minidl.cli.profile import profile
from minidl.cli.ranks import refuse_ranks
from minidl.cli.report import report
from minidl.cli.resume import resume
from minidl.cli.retry import retry
from minidl.cli.runs import runs
from minidl.cli.serve import serve
from minidl.cli.service import service
from minidl.cli.submit import submit
from minidl.cli.sweep import sweep
from minidl.cli.sync import sync
from minidl.cli.token import token
from minidl.cli.train import train
from minidl.cli.validate import validate
from minidl.cli.warmup import warmup

app = typer.Typer(
    name="minidl",
    help="Train, evaluate and use small neural networks, configured by YAML files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train)
app.command("sweep")(sweep)
app.command("resume")(resume)
app.command("validate")(validate)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.command("export")(export)
app.command("serve")(serve)
app.command("service")(service)
app.command("report")(report)
app.command("explain")(explain)
app.command("plot-schedule")(plot_schedule)
app.command("sync")(sync)
app.command("lr-find")(lr_find)
app.command("profile")(profile)
app.command("warmup")(warmup)
app.add_typer(data, name="data")
app.add_typer(runs, name="runs")
app.add_typer(config, name="config")
# Verbs that ask a running service.
app.command("login")(login)
app.command("submit")(submit)
app.command("jobs")(jobs)
app.command("logs")(logs)
app.command("cancel")(cancel)
app.command("retry")(retry)
app.add_typer(job, name="job")
app.add_typer(token, name="token")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"minidl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train, evaluate and use small neural networks, configured by YAML files."""
    if context.invoked_subcommand is not None:
        refuse_ranks(context.invoked_subcommand)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where the terminal's or the pipe's encoding lacks a character, show a ? in its place.
            stream.reconfigure(errors="replace")
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
