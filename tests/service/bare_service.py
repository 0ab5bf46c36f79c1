"""A service without its API: a store and a scheduler, in a process that tests may kill.

``python bare_service.py DATA URL CONCURRENCY``; SIGTERM shuts it down as `minidl service` would.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from minidl.service.executors.local import LocalExecutor
from minidl.service.scheduler import Scheduler
from minidl.service.settings import ServiceSettings
from minidl.service.store import Store


def main() -> None:
    data, url, concurrency = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    settings = ServiceSettings(
        data=data, database=url, concurrency=concurrency, threads=1, grace=20.0
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Store.open(url, data=data) as store:
        Scheduler(store, {"local": LocalExecutor()}, settings).run(stop)


if __name__ == "__main__":
    main()
