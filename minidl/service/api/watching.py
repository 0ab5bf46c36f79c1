"""Following the store and files, for all streams together.

A stream costs no thread and no query of its own. One task asks the store for new events while
anyone follows, and keeps the last of them for all; one looks whether files have grown that are
followed. Followers wait until they are woken, and read on from where each stands.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from minidl.service.records import Event, Job
from minidl.service.store import NotFoundError, Store, StoreError

T = TypeVar("T")

log = logging.getLogger("minidl.service")

#: Seconds between two looks at the store, and at files.
EVENTS_EVERY, FILES_EVERY = 0.5, 0.25
#: Events that are kept for followers.
KEPT = 2000
#: Pieces of a file that are kept for followers.
PIECES = 8


class Call(Protocol):
    """Runs a function in a thread."""

    def __call__(self, function: Callable[..., Any], *args: Any, **named: Any) -> Awaitable[Any]:
        """Return its result."""


class Bell:
    """Wakes all who wait, once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake those who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What the next ring will set."""
        return self._event


@dataclass(frozen=True)
class Happening:
    """An event, and its job as it stood soon after; None where there is none (any more)."""

    event: Event
    job: Job | None


class EventFeed:
    """The newest events, read once for all followers.

    Parameters
    ----------
    observe
        Told of each event, once.
    """

    def __init__(
        self, store: Store, call: Call, observe: Callable[[Happening], None] = lambda new: None
    ) -> None:
        self.store, self.call, self.observe = store, call, observe
        self.followers = 0
        self.bell = Bell()
        self.seen = 0
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._wanted = asyncio.Event()
        self._beginning = asyncio.Lock()
        self._away = False

    def poke(self) -> None:
        """Look at once: something has changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Follow the store until cancelled; it may be away for a while."""
        while True:
            if not self.followers:
                await self._wanted.wait()
            self._wanted.clear()
            if self.followers:
                try:
                    await self._look()
                    self._away = False
                except StoreError as error:
                    if not self._away:  # once, however long it takes
                        log.warning("events cannot be read now: %s", error)
                    self._away = True
            try:
                await asyncio.wait_for(self._wanted.wait(), EVENTS_EVERY)
            except TimeoutError:
                continue

    async def follow(self) -> None:
        """Begin to follow."""
        async with self._beginning:
            if not self.followers:
                # Nobody has read on meanwhile: what is kept ends somewhere in the past.
                self._kept.clear()
                self.seen = await self.call(self.store.last_event)
            self.followers += 1
        self.poke()

    def leave(self) -> None:
        """Follow no more."""
        self.followers -= 1

    async def after(self, last: int, *, job_id: str | None = None) -> Sequence[Happening]:
        """Return the events after one; none where one is to wait for the bell."""
        if self._kept and last >= self._kept[0].event.id - 1:
            found = [item for item in self._kept if item.event.id > last]
            return [item for item in found if job_id in (None, item.event.job_id)]
        if last >= self.seen:
            return ()
        events = await self.call(self.store.events, job_id=job_id, after=last, limit=500)
        happenings: list[Happening] = await self.call(self._with_jobs, events)
        return happenings

    async def _look(self) -> None:
        while True:
            events = await self.call(self.store.events, after=self.seen, limit=500)
            if not events:
                return
            happenings = await self.call(self._with_jobs, events)
            self._kept.extend(happenings)
            self.seen = events[-1].id
            for happening in happenings:
                self.observe(happening)
            self.bell.ring()

    def _with_jobs(self, events: Sequence[Event]) -> list[Happening]:
        jobs: dict[str | None, Job | None] = {None: None}
        for event in events:
            if event.job_id not in jobs:
                try:
                    jobs[event.job_id] = self.store.job(str(event.job_id))
                except NotFoundError:
                    jobs[event.job_id] = None
        return [Happening(event, jobs[event.job_id]) for event in events]


Look = tuple[int, int]


def look_at(path: Path) -> Look | None:
    """Return what tells whether a file has changed: its identity and size; None: there is none."""
    try:
        facts = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return facts.st_ino, facts.st_size


def _looks_at(paths: Sequence[Path]) -> list[Look | None]:
    return [look_at(path) for path in paths]


class FollowedFile:
    """A file that grows, and pieces of it that its followers share.

    ``changed`` counts what has happened to its job since it is followed, ``begun`` how often it was
    cut off, or another took its place: what was read of it before is then nothing to go on from.
    """

    def __init__(self, path: Path, job_id: str) -> None:
        self.path, self.job_id = path, job_id
        self.changed = self.begun = 0
        self.bell = Bell()
        self._look: Look | None = None
        self._identity = self._size = 0
        self._pieces: OrderedDict[Any, Any] = OrderedDict()
        self._reading = asyncio.Lock()

    async def shared(self, key: Any, read: Callable[[], Awaitable[T]]) -> T:
        """Return what ``read`` does; it is called once for all who ask with the same key.

        Keys begin with what has happened so far, so that none outlives it.
        """
        key = (self.begun, self._look, self.changed, key)
        async with self._reading:
            if key not in self._pieces:
                self._pieces[key] = await read()
                while len(self._pieces) > PIECES:
                    self._pieces.popitem(last=False)
            found: T = self._pieces[key]
            return found

    def look(self, look: Look | None) -> None:
        """Take a new look, and wake the followers where it differs."""
        if look == self._look:
            return
        self._look = look
        if look is not None:
            if self._identity and (look[0] != self._identity or look[1] < self._size):
                self.begun += 1
            self._identity, self._size = look
        self.bell.ring()


class FileWatch:
    """All files that are followed, looked at by one task."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._files: dict[Path, FollowedFile] = {}
        self._followers: Counter[Path] = Counter()
        self._wanted = asyncio.Event()

    def follow(self, path: Path, *, job_id: str) -> FollowedFile:
        """Begin to follow a file of a job, which need not be there yet."""
        self._followers[path] += 1
        self._wanted.set()
        return self._files.setdefault(path, FollowedFile(path, job_id))

    def leave(self, path: Path) -> None:
        """Follow a file no more."""
        self._followers[path] -= 1
        if not self._followers[path]:
            del self._followers[path], self._files[path]

    def job_changed(self, happening: Happening) -> None:
        """Wake those who follow files of a job that something happened to."""
        for file in self._files.values():
            if file.job_id == happening.event.job_id:
                file.changed += 1
                file.bell.ring()

    async def run(self) -> None:
        """Look at files until cancelled."""
        while True:
            if not self._files:
                self._wanted.clear()
                await self._wanted.wait()
            paths = list(self._files)
            looks = await self.call(_looks_at, paths)
            for path, look in zip(paths, looks, strict=True):
                file = self._files.get(path)
                if file is not None:
                    file.look(look)
            await asyncio.sleep(FILES_EVERY)
