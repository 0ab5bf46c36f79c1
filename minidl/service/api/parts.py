"""What the routes of one service have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, Request

from minidl.service.api.instruments import ServiceInstruments
from minidl.service.api.limits import Limits, OpenStreams
from minidl.service.records import Quota
from minidl.service.settings import ServiceSettings
from minidl.service.store import Store
from minidl.service.submission import SubmissionRules

if TYPE_CHECKING:
    from minidl.service.api.models import Models
    from minidl.service.api.points import Journals
    from minidl.service.api.security import Throttle
    from minidl.service.api.watching import EventFeed, FileWatch

T = TypeVar("T")

#: Store calls, and reads of files, at the same time.
CALLS = 32
#: Configs that are checked at the same time: that is work for the processor.
CHECKS = 2


class SchedulerStatus(Protocol):
    """What the API asks of the scheduler in the same process."""

    @property
    def alive(self) -> bool:
        """Whether its loop runs."""

    @property
    def leads(self) -> bool:
        """Whether it starts jobs; where not, another service on the same database does."""

    def poke(self) -> None:
        """Look at once whether there is something to do."""


@dataclass(kw_only=True)
class Parts:
    """What the routes work with."""

    store: Store
    settings: ServiceSettings
    rules: SubmissionRules
    limits: Limits
    instruments: ServiceInstruments
    throttle: Throttle
    streams: OpenStreams
    events: EventFeed
    files: FileWatch
    journals: Journals
    models: Models
    scheduler: SchedulerStatus | None = None
    calls: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(CALLS))
    checks: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(CHECKS))

    @property
    def quota(self) -> Quota:
        """How many jobs may wait."""
        settings = self.settings
        return Quota(per_owner=settings.max_queued, total=settings.max_queued_total)

    async def call(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Call what waits (for the database, for a disk) in a thread."""
        return await anyio.to_thread.run_sync(partial(function, *args, **named), limiter=self.calls)

    async def check(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Call what works for a while, in one of few threads."""
        return await anyio.to_thread.run_sync(
            partial(function, *args, **named), limiter=self.checks
        )

    def changed(self) -> None:
        """Tell whoever waits for changes that there is one."""
        self.events.poke()
        if self.scheduler is not None:
            self.scheduler.poke()


async def parts_of(request: Request) -> Parts:
    """Return the parts of the service that a request came to."""
    parts: Parts = request.app.state.parts
    return parts


PartsOf: TypeAlias = Annotated[Parts, Depends(parts_of)]
