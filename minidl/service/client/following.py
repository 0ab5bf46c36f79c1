"""Reading a stream of the service to its end, through broken connections and restarts.

Each event has an id that says where to go on (a byte of the log, a number of an event), and a new
connection asks for what comes after the last one seen: nothing is shown twice, nothing is left
out. The stream is over when the service sends the event ``end``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx2
from httpx2 import EventSource, ServerSentEvent

from minidl.service.client.connection import Connection
from minidl.service.client.refusals import UNAVAILABLE, ServiceError

#: Seconds for which a service that went away is looked for: it may be updated meanwhile.
FOLLOW_PATIENCE = 300.0
MAX_EVENT = 16 * 2**20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


def follow(
    connection: Connection,
    path: str,
    *,
    after: str = "",
    patience: float = FOLLOW_PATIENCE,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ServerSentEvent]:
    """Yield the events of a stream, up to its end.

    Parameters
    ----------
    after
        The id of an event: those after it are wanted. By default all.

    Raises
    ------
    ServiceError
        The service refuses, or has not answered for ``patience`` seconds.
    """
    last, pause = after, _FIRST_PAUSE
    while True:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last:
            headers["Last-Event-ID"] = last
        try:
            with closing(connection.stream(path, headers=headers, patience=patience)) as response:
                for event in EventSource(response, max_event_size=MAX_EVENT):
                    pause, last = _FIRST_PAUSE, event.id or last
                    if event.event == "end":
                        return
                    yield event
        except httpx2.SSEError as error:
            raise ServiceError(f"{connection.address.url}{path}: {error}", UNAVAILABLE) from error
        except httpx2.TransportError:
            pass  # what was read counts; the rest comes over the next connection
        sleep(pause)  # also where streams end at once without a word: no storm of connections
        pause = min(2 * pause, _LONGEST_PAUSE)
