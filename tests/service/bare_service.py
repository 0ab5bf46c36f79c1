"""Services without their API, a store and a scheduler each, in processes that a test may kill.

Loading the code takes a service a second, and a test that kills fifty of them would wait for little
else. So one process loads it, and makes services by forking: ``python bare_service.py`` reads a
service's settings from a line of standard input, as JSON, and answers with the pid. It ends with
its input; a service ends on SIGTERM, as `minidl service` does, or when it is killed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.service.executors.local import LocalExecutor
from minidl.service.scheduler import Scheduler
from minidl.service.settings import ServiceSettings
from minidl.service.store import Store


class Services:
    """The test's side: starts services, and kills them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pids: list[int] = []

    def start(self, **settings: Any) -> int:
        """Start a service; return its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        self.pids.append(int(self._process.stdout.readline()))
        return self.pids[-1]

    def kill(self, pid: int, signum: signal.Signals = signal.SIGKILL) -> None:
        """Send a service a signal that ends it, and wait for that."""
        os.kill(pid, signum)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.005)
        self.pids.remove(pid)

    def close(self) -> None:
        for pid in list(self.pids):
            with suppress(ProcessLookupError):
                self.kill(pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=120)
        self._process.stdout.close()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # services that have ended are no zombies
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(serve(**json.loads(line)))
        print(pid, flush=True)


def serve(*, data: str, database: str, concurrency: int, grace: float = 20.0) -> int:
    """Be a service until SIGTERM."""
    place = Path(data)
    log = os.open(place / "service.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = ServiceSettings(
        data=place, database=database, concurrency=concurrency, threads=1, grace=grace
    )
    while True:  # the database may be away just now
        try:
            store = Store.open(database, data=place)
            break
        except Exception as error:
            logging.info("%s", error)
            time.sleep(0.1)
    with store:
        Scheduler(store, {"local": LocalExecutor()}, settings).run(stop)
    return 0


if __name__ == "__main__":
    main()
