"""``minidl job show|config|events|artifacts|download|resume|delete JOB``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from minidl.cli.asking import (
    AsJson,
    JobId,
    JobIds,
    TokenFile,
    Url,
    asking,
    note,
    print_json,
    show_state,
)
from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides

job = typer.Typer(help="Look at a job of a service, fetch its files, go on with it.")


@job.callback(no_args_is_help=True)
def options() -> None:
    """Look at a job of a service, fetch its files, go on with it."""


@job.command("show")
def show(
    job: JobId, as_json: AsJson = False, url: Url = None, token_file: TokenFile = None
) -> None:
    """Show a job: state, attempts, curves, metrics."""
    with asking(url, token_file) as service:
        from minidl.service.client import jobs

        found = jobs.find_job(service, job)
        attempts = jobs.attempts(service, found["id"])
        if as_json:
            print_json({**found, "history": attempts})
            return
        from minidl.service.client.tables import print_job

        print_job(found, attempts, jobs.points(service, found["id"]))


@job.command("config")
def config(
    job: JobId,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORM",
            help="yaml: with all defaults; source: as submitted; json; flat: a path a line.",
        ),
    ] = "yaml",
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Print a job's config."""
    if form not in ("yaml", "source", "json", "flat"):
        fail(f"--format {form}: there are yaml, source, json and flat", 2)
    with asking(url, token_file) as service:
        from minidl.service.client.jobs import find_job

        path = f"/v1/jobs/{find_job(service, job)['id']}/config"
        print(service.request("GET", path, params={"format": form}).text.rstrip("\n"))


@job.command("events")
def events(
    job: JobId, as_json: AsJson = False, url: Url = None, token_file: TokenFile = None
) -> None:
    """Print what happened to a job, and who asked for it."""
    with asking(url, token_file) as service:
        from minidl.service.client.jobs import find_job
        from minidl.service.client.tables import print_events

        found = service.get(f"/v1/jobs/{find_job(service, job)['id']}/events")["events"]
        if as_json:
            for event in found:
                print_json(event)
        else:
            print_events(found)


@job.command("artifacts")
def artifacts(
    job: JobId, as_json: AsJson = False, url: Url = None, token_file: TokenFile = None
) -> None:
    """List the files of a job's run."""
    with asking(url, token_file) as service:
        from minidl.service.client import jobs
        from minidl.service.client.tables import print_files

        found, complete = jobs.files(service, jobs.find_job(service, job)["id"])
        if as_json:
            for one in found:
                print_json(one)
        elif found:
            print_files(found)
        else:
            print("no files yet")
        if not complete:
            note(f"there are more than these {len(found):,}")


@job.command("download")
def download(
    job: JobId,
    path: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories of the run; else all."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to; by default a directory named as the job's id."),
    ] = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Fetch files of a job's run; all of them make a run directory, as `minidl eval` wants it."""
    with asking(url, token_file) as service:
        from minidl.service.client import jobs
        from minidl.service.client.refusals import ServiceError
        from minidl.train.reports.terminal import file_size

        job_id = jobs.find_job(service, job)["id"]
        wanted = jobs.chosen(jobs.files(service, job_id)[0], path or [])
        directory = Path(job_id) if to is None else to
        total = 0
        for one in wanted:
            try:
                total += jobs.fetch(service, job_id, one["path"], directory)[1]
            except ServiceError as error:
                if error.status != 404 or path:
                    raise  # a checkpoint of a run that goes on may have been replaced meanwhile
                note(f"{one['path']} is gone meanwhile")
            except OSError as error:
                fail(f"{directory / one['path']} cannot be written: {error.strerror}", 1)
        print(f"{directory}: {len(wanted)} files, {file_size(total)}")


@job.command("resume")
def resume(
    job: JobId,
    overrides: Overrides = None,
    as_json: AsJson = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Queue a job that has ended once more, to go on from its checkpoint.

    With trainer.epochs=N a job that has succeeded is trained longer.
    """
    with failures(), asking(url, token_file) as service:
        from minidl.service.client.jobs import find_job
        from minidl.service.client.refusals import ServiceError

        path = f"/v1/jobs/{find_job(service, job)['id']}/resume"
        try:
            answer = service.post(path, {"overrides": overrides or []})
        except ServiceError as error:
            if error.problems:
                raise _wrong_changes(error.problems) from None
            raise
        show_state(answer.json(), as_json=as_json)


def _wrong_changes(problems: list[dict[str, Any]]) -> Exception:
    from minidl.train.config import ConfigError, Problem

    return ConfigError(
        Problem(
            file=str(one.get("file") or "resume"),
            line=None,
            column=None,
            message=str(one.get("message", "")),
            suggestion=one.get("suggestion"),
        )
        for one in problems
    )


@job.command("delete")
def delete(
    job: JobIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Delete jobs that have ended, with all their files."""
    with asking(url, token_file) as service:
        from minidl.service.client.jobs import find_job

        found = [find_job(service, text) for text in job]
        names = ", ".join(f"{one['id']} ({one.get('name') or one['state']})" for one in found)
        if not yes:
            if not sys.stdin.isatty():
                fail(f"this deletes {names} with all files; say --yes", 2)
            typer.confirm(f"delete {names} with all files?", abort=True)
        for one in found:
            service.delete(f"/v1/jobs/{one['id']}")
            print(f"{one['id']} deleted", flush=True)
