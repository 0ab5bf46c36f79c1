"""A connection to PostgreSQL that can be cut at the moment that matters: around a COMMIT.

A client that loses its connection then cannot know whether its transaction was committed. The
proxy makes both cases happen: the COMMIT never arrives, or it does and its answer never comes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Literal

from sqlalchemy import make_url

Cut = Literal["before", "after"]


class CuttingProxy:
    """Passes on what a client and a PostgreSQL server say, until it is told to cut.

    Attributes
    ----------
    cut
        Which COMMIT to cut: ``before`` it arrives, or ``after``, so that its answer is lost. None:
        none. The first one that is cut resets it.
    """

    def __init__(self, url: str) -> None:
        server = make_url(url)
        self._server = (str(server.host), int(server.port or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        changed = server.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.url = changed.render_as_string(hide_password=False)
        self.cut: Cut | None = None
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            for pair in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pass_on, args=(*pair, pair[0] is client))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while said := source.recv(65536):
                # … and not the one of READ COMMITTED, which each transaction begins with.
                cut = self.cut if from_client and b"COMMIT\0" in said else None
                if cut is None:
                    target.sendall(said)
                    continue
                self.cut = None
                source.shutdown(socket.SHUT_RD)
                if cut == "after":
                    source.shutdown(socket.SHUT_WR)  # the other thread now sends into the void
                    target.sendall(said)
                break
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_WR)
