"""``minidl logs JOB``."""

from __future__ import annotations

from typing import Annotated

import typer

from minidl.cli.asking import JobId, TokenFile, Url, asking, note, write


def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it grows, until the job has ended.")
    ] = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Print what a job has printed: its log, of all attempts."""
    with asking(url, token_file) as service:
        from minidl.service.client import jobs

        found = jobs.find_job(service, job)
        if found["state"] == "queued" and found.get("attempts") == 0:
            place = found.get("queue_position")
            where = f", place {place} in the queue" if place else ""
            note(f"{found['id']} is queued{where}: there is no log yet")
        read = jobs.follow_log if follow else jobs.log
        for piece in read(service, found["id"]):
            write(piece)
