"""How much may be asked of the service, by anyone, at once."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from anyio import CancelScope, current_time
from fastapi import HTTPException
from starlette.types import Scope

from minidl.service.records import TokenRecord

#: Whoever holds so many streams open has to wait this long for another.
STREAM_SECONDS = 10


def _most_streams() -> int:
    """Return how many streams the process has file descriptors for, leaving half of them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2000 if soft == resource.RLIM_INFINITY else max(8, min(2000, soft // 2))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one service.

    Attributes
    ----------
    submission_bytes, picture_bytes, other_bytes
        Of a body: of one with a config, with samples for a model, of any other.
    pixels
        Of a picture.
    streams, streams_per_user
        Open at the same time.
    log_bytes
        Of a log, in one answer.
    points
        Of curves, in one answer.
    files
        In a list of artifacts.
    heartbeat
        Seconds of silence after which a stream says that it lives.
    failures
        Wrong tokens from one address in a minute.
    """

    submission_bytes: int = 4 * 2**20
    picture_bytes: int = 16 * 2**20
    other_bytes: int = 64 * 2**10
    pixels: int = 16_000_000
    streams: int = field(default_factory=_most_streams)
    streams_per_user: int = 250
    log_bytes: int = 4 * 2**20
    points: int = 5000
    files: int = 10_000
    heartbeat: float = 15.0
    failures: int = 10

    def of_body(self, scope: Scope) -> int:
        """Return the bytes that a request's body may have."""
        path = scope["path"]
        if path in ("/v1/jobs", "/v1/validate"):
            return self.submission_bytes
        return self.picture_bytes if path.endswith("/predict") else self.other_bytes


class OpenStreams:
    """Counts the streams that are open, refuses more than there may be, and ends some."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.by_user: Counter[str] = Counter()
        self._by_token: dict[str, set[CancelScope]] = {}

    @property
    def open(self) -> int:
        """All that are open now."""
        return self.by_user.total()

    def take(self, user: str) -> None:
        """Count one more.

        Raises
        ------
        HTTPException
            429: there are as many as there may be.
        """
        own, limits = self.by_user[user], self.limits
        if own >= limits.streams_per_user or self.open >= limits.streams:
            few = own >= limits.streams_per_user
            whose, most = (user, limits.streams_per_user) if few else ("all users", limits.streams)
            raise HTTPException(
                429,
                f"{most} streams of {whose} are open already: close one",
                {"Retry-After": str(STREAM_SECONDS)},
            )
        self.by_user[user] += 1

    def give_back(self, user: str) -> None:
        """Count one less."""
        self.by_user[user] -= 1
        if not self.by_user[user]:
            del self.by_user[user]

    @contextmanager
    def held(self, record: TokenRecord) -> Iterator[None]:
        """Be a stream that was counted; it ends, at the latest, with its token."""
        with CancelScope() as scope:
            if record.expires_at is not None:
                scope.deadline = current_time() + record.expires_at - time.time()
            scopes = self._by_token.setdefault(record.id, set())
            scopes.add(scope)
            try:
                yield
            finally:
                scopes.discard(scope)
                if not scopes:
                    self._by_token.pop(record.id, None)
                self.give_back(record.user)

    def end_those_of(self, token_id: str) -> None:
        """End the streams of a token that holds no more."""
        for scope in list(self._by_token.get(token_id, ())):
            scope.cancel()
