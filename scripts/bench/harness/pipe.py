"""The other end of `peers.worker`: a system's process, asked one thing at a time."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any


class RefusedError(Exception):
    """The system answered with an error, died, or took too long; the text says which."""


class Pipe:
    """A running worker.

    Parameters
    ----------
    command, env
        What is started.
    patience
        Seconds to wait for an answer before the process is killed.
    """

    def __init__(
        self, command: Sequence[str], *, env: dict[str, str], patience: float = 300.0
    ) -> None:
        self.patience = patience
        # What it prints, for the day it dies; closed by `close`.
        self.said = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said
        )
        self._rest = b""

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, *, patience: float | None = None, **what: Any) -> dict[str, Any]:
        """Send an order and return the answer.

        Raises
        ------
        RefusedError
            There is no answer, or it is an error.
        """
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise RefusedError(self._last_words()) from None
        answer = self._answer(self.patience if patience is None else patience)
        if "error" in answer:
            raise RefusedError(str(answer["error"]))
        return answer

    def _answer(self, patience: float) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        until = time.monotonic() + patience
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self.process.kill()
                    self.process.wait()
                    raise RefusedError(f"no answer after {patience:.0f} s; the process was killed")
                got = os.read(stdout.fileno(), 1 << 16)
                if not got:
                    raise RefusedError(self._last_words())
                self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _last_words(self) -> str:
        status = self.process.wait()
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with status {status}: {lines[-1] if lines else 'no word'}"

    def close(self) -> None:
        """End the process, however it is."""
        if self.process.poll() is None:
            try:
                assert self.process.stdin is not None
                self.process.stdin.write(b'{"do": "quit"}\n')
                self.process.stdin.close()
                self.process.wait(5)
            except (OSError, ValueError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
