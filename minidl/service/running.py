"""A running service: its store, its scheduler in a thread, its API, from start to stop.

At SIGTERM or Ctrl-C, streams end and no new connections are taken, while the scheduler has all
attempts write a checkpoint; their jobs go back into the queue, and the next start goes on with
them. A service that is killed outright leaves its attempts running; the next one takes them up.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from minidl.service.executors.executor import Executor
from minidl.service.executors.local import LocalExecutor
from minidl.service.scheduler import Scheduler
from minidl.service.settings import ServiceSettings, make_durable_directory
from minidl.service.store import Store
from minidl.service.store.engine import parse

#: Without a turn for so long, the scheduler is not called alive.
STUCK_SECONDS = 60.0


class SchedulerThread:
    """The scheduler of this process, in a thread of its own."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=scheduler.run, args=(self._stop,), name="minidl-scheduler"
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its loop runs."""
        silence = time.monotonic() - self._scheduler.last_tick
        return self._thread.is_alive() and silence < STUCK_SECONDS

    @property
    def leads(self) -> bool:
        """Whether it starts jobs."""
        return self._scheduler.leading

    def poke(self) -> None:
        """Look at once whether there is something to do."""
        self._scheduler.wake.set()

    def ask_to_stop(self) -> None:
        """Begin to end: a signal handler may call this."""
        self._stop.set()
        self._scheduler.wake.set()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()


@dataclass(frozen=True, kw_only=True)
class Listening:
    """How a service is reached: TLS files, and the names that it answers to (all where empty)."""

    certificate: Path | None = None
    key: Path | None = None
    allowed_hosts: Sequence[str] = ()


def checked(settings: ServiceSettings) -> ServiceSettings:
    """Return the settings with the tracking address as all processes are to have it.

    Raises
    ------
    ValueError
        An address is none, or that of MLflow holds a password, which would reach every run's
        files; or a data root and the service's own directory lie in each other.
    """
    parse(settings.database_url)
    for root in settings.data_roots:
        own = settings.data.resolve()
        if own.is_relative_to(root) or root.is_relative_to(own):
            raise ValueError(
                f"--data-root {root} and --data {settings.data} lie in each other: configs could "
                "read the service's own files"
            )
    page = settings.mlflow_page
    if page is not None and not page.startswith(("http://", "https://")):
        raise ValueError(f"--mlflow-page is the address of a page, as http://HOST:5000, not {page}")
    if settings.mlflow_uri is None:
        return settings
    from minidl.train.tracking.mlflow_uri import redacted, resolve_uri

    if redacted(settings.mlflow_uri) != settings.mlflow_uri:
        raise ValueError(
            "--mlflow-uri holds a password, which would be written into every run; give it as "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (PGPASSWORD for PostgreSQL)"
        )
    return replace(settings, mlflow_uri=resolve_uri(settings.mlflow_uri))


def run(settings: ServiceSettings, listener: socket.socket, how: Listening) -> None:
    """Run a service at an address that is taken already, until SIGTERM or Ctrl-C.

    Raises
    ------
    ValueError
        The address of the database, or of a Ray cluster, is none; or a newer minidl has made the
        database.
    StoreUnavailableError
        The database does not answer.
    """
    from minidl.service.api.app import create_app
    from minidl.serving import server

    _prepare(settings)
    executors = _executors(settings)
    with Store.open(settings.database_url, data=settings.data) as store:
        greet(settings, listener, how, store.ensure_admin())
        scheduler = SchedulerThread(Scheduler(store, executors, settings))
        app = create_app(store, settings, scheduler=scheduler, allowed_hosts=how.allowed_hosts)
        scheduler.start()
        try:
            server.run(
                app,
                listener,
                on_stop=scheduler.ask_to_stop,
                certificate=how.certificate,
                key=how.key,
                log_config=None,
            )
        finally:
            scheduler.ask_to_stop()
            scheduler.join()


def _executors(settings: ServiceSettings) -> dict[str, Executor]:
    # Both: what a former service has placed is watched, wherever new attempts go.
    executors: dict[str, Executor] = {"local": LocalExecutor()}
    if settings.ray_address is not None:
        from minidl.service.executors.ray import ray_executor

        executors["ray"] = ray_executor(
            settings.ray_address, python=settings.ray_python, storage=settings.ray_storage
        )
    return executors


def _prepare(settings: ServiceSettings) -> None:
    """Make the data directory, for this user alone, and send the log to standard error."""
    from minidl.service.api.security import RedactingFormatter

    made = not settings.data.exists()
    make_durable_directory(settings.data)
    if made:
        os.chmod(settings.data, 0o700)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("minidl.service").setLevel(logging.INFO)


def greet(
    settings: ServiceSettings, listener: socket.socket, how: Listening, token: str | None
) -> None:
    """Say where the service listens, where its data lie, and the first token, once."""
    from minidl.serving.server import url_of

    url = url_of(listener)
    if how.certificate is not None:
        url = url.replace("http://", "https://", 1)
    where = "" if settings.database is None else f", jobs in {_without_password(settings.database)}"
    print(f"minidl service: data in {settings.data.absolute()}{where}")
    if token is not None:
        print("the first admin's token, shown this once:")
        print(f"  {token}")
        print(f"  minidl login {url}   # and paste it; `minidl token create` makes others")
    print(f"listening at {url} (Ctrl-C ends it)", flush=True)
    if not is_loopback(listener.getsockname()[0]) and how.certificate is None:
        print(
            "warning: others can reach this service, and tokens go over the network as they are. "
            "Give --tls-cert and --tls-key, or let it listen at 127.0.0.1 behind a reverse proxy "
            "that does TLS.",
            file=sys.stderr,
            flush=True,
        )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _without_password(url: str) -> str:
    return parse(url).render_as_string(hide_password=True)
