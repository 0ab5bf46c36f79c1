"""``minidl submit CONFIG [key=value …]``."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from minidl.cli.asking import (
    AsJson,
    TokenFile,
    Url,
    asking,
    labels_of,
    needing_the_client,
    note,
    print_json,
    seconds_in,
    write,
)
from minidl.cli.failure import fail, failures
from minidl.cli.train import Overrides

if TYPE_CHECKING:
    from minidl.service.client.config_text import ConfigText
    from minidl.service.client.connection import Connection


def submit(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    overrides: Overrides = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the log, and end as the job ends.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What to call the job.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="To find it by; repeatable.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=-100, max=100, help="Higher ones start first; 0 is usual.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Running time after which it is ended: 90s, 15m, 2h."),
    ] = None,
    max_retries: Annotated[
        int | None, typer.Option(min=0, help="How often it is tried again after a failure.")
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that train together (data-parallel); 1 is usual."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The same key again gives the same job, not another."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Have the service check it, and submit nothing.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the job's id, no more.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Queue CONFIG as a job of a service (`minidl service`).

    Files that CONFIG includes are put into it, with the changes given. Paths in it, data.root say,
    are those of the service's machine.
    """
    if quiet and as_json:
        fail("--json and --quiet exclude each other: choose one", 2)
    options: dict[str, Any] = {
        "name": name,
        "labels": labels_of(label),
        "priority": priority,
        "timeout": seconds_in(timeout, "--timeout"),
        "max_retries": max_retries,
        "ranks": ranks,
    }
    key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        fail(f"--idempotency-key {key!r}: a key is up to 200 ASCII characters without blanks", 2)
    with failures(), needing_the_client():
        from minidl.service.client.config_text import config_text

        text = config_text(config, overrides or [])
        with asking(url, token_file) as service:
            if check:
                _check(service, config, text, options, as_json=as_json)
                return
            job_id = _submit(service, text, key, options, as_json=as_json, quiet=quiet)
            if follow:
                _follow(service, job_id, as_json=as_json, quiet=quiet)


def _submit(
    service: Connection,
    text: ConfigText,
    key: str,
    options: dict[str, Any],
    *,
    as_json: bool,
    quiet: bool,
) -> str:
    from minidl.service.client import jobs
    from minidl.service.client.tables import facts

    with _told_by_lines(text):
        job, new = jobs.submit(service, text.text, key=key, **options)
    if as_json:
        print_json(job)
    elif quiet:
        print(job["id"], flush=True)
    else:
        again = "" if new else "; submitted before under this key"
        print(f"{job['id']} {facts(job)['state']}{again}", flush=True)
    return str(job["id"])


def _check(
    service: Connection, path: Path, text: ConfigText, options: dict[str, Any], *, as_json: bool
) -> None:
    from minidl.service.client import jobs
    from minidl.train.config import ConfigError

    try:
        with _told_by_lines(text):
            kind = jobs.check(service, text.text, **options)
    except ConfigError as error:
        if not as_json:
            raise
        print(json.dumps([problem.as_data() for problem in error.problems], indent=1))
        raise typer.Exit(2) from None
    print("[]" if as_json else f"{path}: the service would take it, as a {kind}")


def _follow(service: Connection, job_id: str, *, as_json: bool, quiet: bool) -> NoReturn:
    """Show the log to the job's end, and exit as the job did."""
    from minidl.service.client import jobs
    from minidl.service.client.refusals import ServiceError
    from minidl.service.client.tables import facts, outcome

    later = f"the job goes on; `minidl logs -f {job_id}` shows it, `minidl cancel {job_id}` ends it"
    try:
        for piece in jobs.follow_log(service, job_id):
            if not (as_json or quiet):
                write(piece)
        job = service.get(f"/v1/jobs/{job_id}")
        status = jobs.exit_status(job, jobs.attempts(service, job_id))
    except KeyboardInterrupt:
        note(later)
        raise typer.Exit(130) from None
    except ServiceError as error:
        gone = error.status == 404  # deleted meanwhile
        fail(str(error) if gone else f"{error}\n{later}", error.exit_status)
    if as_json:
        print_json(job)
    elif not quiet:
        print("  ".join(filter(None, [job_id, facts(job)["state"], outcome(job)])))
    elif status:
        note(f"{job_id} {facts(job)['state']}: {outcome(job)}")
    raise typer.Exit(status)


@contextmanager
def _told_by_lines(text: ConfigText) -> Iterator[None]:
    """Turn what the service says of the config into what is said of the user's files."""
    from minidl.service.client.refusals import ServiceError

    try:
        yield
    except ServiceError as error:
        if error.problems:
            raise text.error(error.problems) from None
        raise
