"""What the verbs that ask a running service have in common: options, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minidl.cli.failure import fail

if TYPE_CHECKING:
    from minidl.service.client.connection import Connection

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        show_default=False,
        help="The service's address; else MINIDL_SERVICE_URL, else that of `minidl login`, else "
        "http://127.0.0.1:8080.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        show_default=False,
        help="A file with the token; else MINIDL_SERVICE_TOKEN, else that of `minidl login`.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, an object a line, for programs.")]
JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, or as much of it as no other begins with.")
]
JobIds = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="Jobs' ids, or their beginnings.")
]


@contextmanager
def asking(url: str | None, token_file: Path | None) -> Iterator[Connection]:
    """Connect to the service; what it refuses ends in a message and a status."""
    with needing_the_client():
        from minidl.service.client.connection import Connection
        from minidl.service.client.refusals import ServiceError
        from minidl.service.client.settings import SettingsError, find_address
    try:
        address = find_address(url, token_file=token_file)
        with Connection(address, say=note) as connection:
            yield connection
    except SettingsError as error:
        fail(str(error), 2)
    except ServiceError as error:
        fail(str(error), error.exit_status)


@contextmanager
def needing_the_client() -> Iterator[None]:
    """Say which extra brings what is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"asking a service needs {error.name}: pip install 'minidl[client]'", 2)


def note(text: str) -> None:
    """Say something beside what the command prints."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print an object on a line."""
    from minidl.train.strict_json import strict_json

    print(strict_json(value), flush=True)


def write(text: str) -> None:
    """Write a piece of a log as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def labels_of(texts: list[str] | None) -> dict[str, str]:
    """Return labels given as ``key=value``."""
    found: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not (key and equals):
            fail(f"--label {text}: a label is key=value, as team=vision", 2)
        found[key] = value
    return found


def seconds_in(text: str | None, option: str) -> float | None:
    """Return the seconds that an option gives."""
    if text is None:
        return None
    from minidl.service.client.durations import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        fail(f"{option}: {error}", 2)


def ask_of_each(
    texts: list[str], what: str, *, as_json: bool, url: str | None, token_file: Path | None
) -> None:
    """Post ``what`` to each of the jobs, and show how they stand; the worst status is the end's."""
    worst = 0
    with asking(url, token_file) as service:
        from minidl.service.client.jobs import find_job
        from minidl.service.client.refusals import UNAVAILABLE, ServiceError

        for text in texts:
            try:
                job_id = find_job(service, text)["id"]
                job = service.post(f"/v1/jobs/{job_id}/{what}").json()
            except ServiceError as error:
                if error.exit_status == UNAVAILABLE:
                    raise  # of the others it would be the same
                note(str(error))
                worst = max(worst, error.exit_status)
                continue
            show_state(job, as_json=as_json)
    if worst:
        raise typer.Exit(worst)


def show_state(job: dict[str, Any], *, as_json: bool) -> None:
    """Print a job, or in a line how it stands."""
    if as_json:
        print_json(job)
    else:
        from minidl.service.client.tables import facts

        print(f"{job['id']} {facts(job)['state']}", flush=True)
