"""``minidl service``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from minidl.cli.failure import fail, failures


def service(
    data: Annotated[
        Path, typer.Option(help="Directory of the jobs' files, and of the default database.")
    ] = Path("minidl-service"),
    db: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://user@host/database, or sqlite:///FILE; by default SQLite in --data.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8080,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Jobs that run at the same time.", rich_help_panel="Jobs")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of a job; by default the cores divided by --concurrency.",
            rich_help_panel="Jobs",
        ),
    ] = None,
    max_ranks: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Ranks of a job; by default one for each of the cores that all jobs have.",
            rich_help_panel="Jobs",
        ),
    ] = None,
    per_user: Annotated[
        int | None,
        typer.Option(
            min=1, help="Jobs of a user that run at the same time.", rich_help_panel="Jobs"
        ),
    ] = None,
    queue_quota: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs of a user that may wait.", rich_help_panel="Jobs"),
    ] = None,
    queue_quota_total: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs of all users that may wait.", rich_help_panel="Jobs"),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            max=3600,
            help="Seconds in which a job that is stopped writes its checkpoint.",
            rich_help_panel="Jobs",
        ),
    ] = 30.0,
    data_root: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Directory whose files configs may name; repeatable. "
            "${env:MINIDL_DATA} in a config is the first.",
            rich_help_panel="What configs may do",
        ),
    ] = None,
    mlflow_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where runs are tracked, whatever a config says; by default nowhere.",
            rich_help_panel="What configs may do",
        ),
    ] = None,
    mlflow_page: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where people open MLflow, if jobs reach it at an address of their own.",
            rich_help_panel="What configs may do",
        ),
    ] = None,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where jobs run: on this machine, or on a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of the cluster's Jobs API, as http://head:8265; its token is RAY_AUTH_TOKEN.",
            rich_help_panel="Ray",
        ),
    ] = None,
    ray_python: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="What starts Python, with minidl, on the cluster's machines.",
            rich_help_panel="Ray",
        ),
    ] = "python",
    ray_storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Storage (fsspec) for jobs' files, as s3://bucket/jobs; by default the cluster "
            "shares --data at the same path.",
            rich_help_panel="Ray",
        ),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Remove files of jobs that ended so many days ago.",
            rich_help_panel="Retention",
        ),
    ] = None,
    keep_gib: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Remove the oldest files of ended jobs where all take more.",
            rich_help_panel="Retention",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Certificate (PEM) to answer with over TLS.",
            rich_help_panel="Access",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Its key.", rich_help_panel="Access"),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Answer only to requests to this name, as dl.example.org; repeatable.",
            rich_help_panel="Access",
        ),
    ] = None,
) -> None:
    """Run trainings that are submitted over HTTP, until Ctrl-C or SIGTERM.

    At the first start an admin's token is shown, once. Jobs that run when the service ends go on
    from their checkpoints when it starts again.
    """
    with failures():
        try:
            from minidl.service import running
            from minidl.service.settings import ServiceSettings
            from minidl.service.store import StoreError
            from minidl.serving import server
        except ModuleNotFoundError as error:
            fail(f"`service` needs {error.name}: pip install 'minidl[service]'", 2)
        if tls_key is not None and tls_cert is None:
            fail("--tls-key needs --tls-cert", 2)
        if executor == "ray" and ray_address is None:
            fail("--executor ray needs --ray-address", 2)
        settings = ServiceSettings(
            data=data.absolute(),
            database=db,
            host=host,
            port=port,
            concurrency=concurrency,
            threads=threads,
            max_ranks=max_ranks,
            per_user=per_user,
            max_queued=queue_quota,
            max_queued_total=queue_quota_total,
            mlflow_uri=mlflow_uri,
            mlflow_page=mlflow_page,
            data_roots=tuple(path.resolve() for path in data_root or _usual_root()),
            executor=executor,
            ray_address=ray_address,
            ray_python=ray_python,
            ray_storage=ray_storage,
            grace=grace,
            keep_days=keep_days,
            keep_bytes=None if keep_gib is None else int(keep_gib * 2**30),
        )
        how = running.Listening(
            certificate=tls_cert, key=tls_key, allowed_hosts=tuple(allowed_host or ())
        )
        try:
            settings = running.checked(settings)
            with server.listen(host, port) as listener:
                running.run(settings, listener, how)
        except (OSError, ValueError, StoreError) as error:
            fail(str(error), 2)


def _usual_root() -> list[Path]:
    """Return the data directory that this machine's own trainings have, if it is there."""
    told = os.environ.get("MINIDL_DATA")
    return [Path(told)] if told and Path(told).is_dir() else []
